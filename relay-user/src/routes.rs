//! Which way the kernel would send to a destination: asked for many at once, and remembered until routes change.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rtnetlink::packet_route::route::RouteType;

use crate::error::RouteError;
use crate::netlink::{KernelRoute, Queries, RouteKey};
use crate::next_hops::Via;
use crate::plan;
use crate::vlan::Tags;

/// Answers that are remembered, and those of one question more. Beyond it, all are forgotten: strangers may be answered
/// to, and they can be many.
const REMEMBERED: usize = 1 << 16;

/// Where something is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        // A source that was learned says no scope: it is that of the side that learned it.
        let scope = match plan::scope(self.remote) {
            0 => plan::scope(self.local),
            scope => scope,
        };
        RouteKey { destination: self.remote.ip(), source: Some(self.local.ip()), scope }
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
        let keys: Vec<RouteKey> = targets.iter().flat_map(|target| [target.own(), target.route()]).collect();
        let mut answers = self.answers(&keys).into_iter();
        let mut ways = Vec::with_capacity(targets.len());
        for target in targets {
            let (Some(own), Some(route)) = (answers.next(), answers.next()) else { break };
            ways.push(way(target, own, route));
        }
        ways
    }

    /// How a destination is reached, if the kernel chooses our address.
    pub(crate) fn to(&mut self, destination: IpAddr) -> Result<KernelRoute, RouteError> {
        let answers = self.answers(&[RouteKey { destination, source: None, scope: 0 }]);
        let none = || Err(io::Error::other("the kernel gave no answer"));
        usable(destination, answers.into_iter().next().unwrap_or_else(none))
    }

    /// Asks the kernel to find, or to confirm, the MAC addresses of neighbours. The answers come as changes.
    pub(crate) fn look_for(&mut self, neighbours: &[(u32, IpAddr)]) {
        if let Err(error) = self.queries.look_for(neighbours) {
            let neighbours = neighbours.len();
            tracing::debug!(neighbours, %error, "the kernel does not look for every neighbour");
        }
    }

    /// What the kernel answers, in the order of the keys; it is asked for what is not known.
    fn answers(&mut self, keys: &[RouteKey]) -> Vec<io::Result<KernelRoute>> {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        let known: Vec<Option<KernelRoute>> = keys.iter().map(|key| self.known.get(key).copied()).collect();
        let unknown = keys.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<RouteKey> = unknown.map(|(key, _)| *key).collect();
        let mut answers = self.queries.routes(&unknown).into_iter();
        let mut asked = unknown.into_iter();
        let mut answer = || {
            let answer = answers.next().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()));
            if let (Some(key), Ok(route)) = (asked.next(), &answer) {
                self.known.insert(key, *route);
            }
            answer
        };
        known.into_iter().map(|known| known.map_or_else(&mut answer, Ok)).collect()
    }
}

/// The way to a target, from the route to our own side, which says whether it is ours, and that to the target.
fn way(
    target: &Target,
    own: io::Result<KernelRoute>,
    route: io::Result<KernelRoute>,
) -> Result<Via, RouteError> {
    let (address, destination) = (target.local.ip(), target.remote.ip());
    if !own.is_ok_and(|route| route.kind == RouteType::Local) {
        return Err(RouteError::NotOurs { address });
    }
    let route = usable(destination, route)?;
    Ok(Via { interface: route.interface, address: route.gateway.unwrap_or(destination), tags: target.tags })
}

/// Whether unicast packets can be sent this way.
fn usable(destination: IpAddr, answer: io::Result<KernelRoute>) -> Result<KernelRoute, RouteError> {
    let route = answer.map_err(|source| RouteError::None { destination, source })?;
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
