//! Which way the kernel would send to a destination: asked for many at once, and remembered until routes change.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use rtnetlink::packet_route::route::RouteType;

use crate::error::RouteError;
use crate::netlink::{KernelRoute, Queries, RouteKey};
use crate::next_hops::Via;
use crate::plan;
use crate::vlan::Tags;

/// Answers that are remembered. Beyond it, all are forgotten: strangers may be answered to, and they can be many.
const REMEMBERED: usize = 1 << 16;

/// Where something is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tags: Tags,
}

impl Target {
    /// What decides the way: targets that differ in ports alone have the same.
    pub(crate) fn without_ports(&self) -> Self {
        let mut target = *self;
        target.remote.set_port(0);
        target.local.set_port(0);
        target
    }

    fn route(&self) -> RouteKey {
        RouteKey {
            destination: self.remote.ip(),
            source: Some(self.local.ip()),
            scope: plan::scope(self.remote),
        }
    }

    /// The route to our own side, which says whether it is ours.
    fn own(&self) -> RouteKey {
        RouteKey { destination: self.local.ip(), source: None, scope: plan::scope(self.local) }
    }
}

/// The kernel's routes, as far as they were asked for.
pub(crate) struct Routes {
    queries: Queries,
    known: HashMap<RouteKey, KernelRoute>,
    generation: u64,
}

impl Routes {
    /// Knows nothing yet.
    pub(crate) fn new(queries: Queries) -> Self {
        Self { queries, known: HashMap::new(), generation: 0 }
    }

    /// Routes, links or addresses changed: every answer may be wrong now.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.generation += 1;
    }

    /// How often [`Routes::forget`] was called: an answer is as old as this number was before it was given.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The ways to these targets, in their order.
    pub(crate) fn ways(&mut self, targets: &[Target]) -> Vec<Result<Via, RouteError>> {
        let keys = targets.iter().flat_map(|target| [target.own(), target.route()]);
        let refused = match self.ask(keys) {
            Ok(refused) => refused,
            Err(error) => {
                return targets.iter().map(|target| Err(no_answer(target.remote.ip(), &error))).collect();
            }
        };
        targets.iter().map(|target| self.way(target, &refused)).collect()
    }

    /// How a destination is reached, if the kernel chooses our address.
    pub(crate) fn to(&mut self, destination: IpAddr) -> Result<KernelRoute, RouteError> {
        let key = RouteKey { destination, source: None, scope: 0 };
        let refused = self.ask([key].into_iter()).map_err(|error| no_answer(destination, &error))?;
        self.answer(&key, &refused).and_then(|route| usable(destination, route))
    }

    /// Asks the kernel to find, or to confirm, the MAC addresses of neighbours. The answers come as changes.
    pub(crate) fn look_for(&mut self, neighbours: &[(u32, IpAddr)]) {
        if let Err(error) = self.queries.look_for(neighbours) {
            let neighbours = neighbours.len();
            tracing::debug!(neighbours, %error, "the kernel does not look for every neighbour");
        }
    }

    /// Asks for what is not known. Returns what the kernel has against a route.
    fn ask(&mut self, keys: impl Iterator<Item = RouteKey>) -> io::Result<HashMap<RouteKey, io::Error>> {
        let mut unknown: Vec<RouteKey> = Vec::new();
        let mut asked = HashSet::new();
        for key in keys {
            if !self.known.contains_key(&key) && asked.insert(key) {
                unknown.push(key);
            }
        }
        let mut refused = HashMap::new();
        if unknown.is_empty() {
            return Ok(refused);
        }
        if self.known.len() + unknown.len() > REMEMBERED {
            self.known.clear();
        }
        let answers = self.queries.routes(&unknown)?;
        for (key, answer) in unknown.into_iter().zip(answers) {
            match answer {
                Ok(route) => {
                    self.known.insert(key, route);
                }
                Err(error) => {
                    refused.insert(key, error);
                }
            }
        }
        Ok(refused)
    }

    fn answer(
        &self,
        key: &RouteKey,
        refused: &HashMap<RouteKey, io::Error>,
    ) -> Result<KernelRoute, RouteError> {
        if let Some(route) = self.known.get(key) {
            return Ok(*route);
        }
        let source = match refused.get(key).and_then(io::Error::raw_os_error) {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::other("the kernel gave no answer"),
        };
        Err(RouteError::None { destination: key.destination, source })
    }

    fn way(&self, target: &Target, refused: &HashMap<RouteKey, io::Error>) -> Result<Via, RouteError> {
        let (own, destination) = (target.own(), target.remote.ip());
        if self.answer(&own, refused).map_or(true, |route| route.kind != RouteType::Local) {
            return Err(RouteError::NotOurs { address: own.destination });
        }
        let route = self.answer(&target.route(), refused).and_then(|route| usable(destination, route))?;
        let address = route.gateway.unwrap_or(destination);
        Ok(Via { interface: route.interface, address, tags: target.tags })
    }
}

fn no_answer(destination: IpAddr, error: &io::Error) -> RouteError {
    let source = io::Error::other(format!("the kernel could not be asked: {error}"));
    RouteError::None { destination, source }
}

/// Whether unicast packets can be sent this way.
fn usable(destination: IpAddr, route: KernelRoute) -> Result<KernelRoute, RouteError> {
    let none = |number| RouteError::None { destination, source: io::Error::from_raw_os_error(number) };
    match route.kind {
        RouteType::Unicast => Ok(route),
        RouteType::Local => Err(RouteError::Local { destination }),
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => {
            Err(RouteError::NotUnicast { destination })
        }
        RouteType::Prohibit => Err(none(libc::EACCES)),
        RouteType::BlackHole => Err(none(libc::EINVAL)),
        _ => Err(none(libc::EHOSTUNREACH)),
    }
}
