//! How destinations become next hops: the kernel's routes are asked for all at once, the neighbours waited for
//! together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::error::{InstallError, RouteError};
use crate::next_hops::{NeighbourKey, NextHopError, NextHops, Via};
use crate::routes::Target;
use crate::shared::Shared;

/// How long an installation waits for its neighbours to answer. A neighbour that is silent for longer does not stop the
/// installation: its packets are dropped and counted until it answers.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(1000);

/// Targets that are asked for in one go: between two, others have their turn.
const AT_ONCE: usize = 128;

/// Next hops that were acquired, each for one user. Dropped, they are released, unless they were kept.
pub(crate) struct Held<'a> {
    shared: &'a Shared,
    hops: Vec<Option<u32>>,
    generation: u64,
}

impl Held<'_> {
    /// Their users, which the state knows by now, will release them. If routes have changed since the kernel was asked,
    /// they are looked at again.
    pub(crate) fn keep(mut self) {
        self.hops.clear();
        if self.shared.routes().generation() != self.generation {
            self.shared.reroute.notify_one();
        }
    }

    /// Acquires next hops for groups of targets that have these ways.
    fn acquire<'g>(
        &mut self,
        ways: Vec<Result<Via, RouteError>>,
        groups: &mut impl Iterator<Item = &'g [(Target, usize)]>,
    ) -> Result<(), InstallError> {
        let mut state = self.shared.state();
        for (way, group) in ways.into_iter().zip(groups) {
            let way = way?;
            for (target, at) in group {
                let hop = acquire(&mut state.next_hops, way, target.remote.ip())?;
                if let Some(place) = self.hops.get_mut(*at) {
                    *place = Some(hop);
                }
            }
        }
        Ok(())
    }

    /// The next hops, in the order of the targets.
    pub(crate) fn hops(&self) -> &[Option<u32>] {
        &self.hops
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.hops.iter().any(Option::is_some) {
            let mut state = self.shared.state();
            for hop in self.hops.iter().flatten() {
                state.next_hops.release(*hop);
            }
        }
    }
}

impl Shared {
    /// Next hops towards all targets, each for one more user, if possible with their MAC addresses.
    ///
    /// # Errors
    /// The first target that cannot be reached; nothing is acquired then.
    pub(crate) async fn next_hops(&self, targets: &[Option<Target>]) -> Result<Held<'_>, InstallError> {
        let mut held =
            Held { shared: self, hops: vec![None; targets.len()], generation: self.routes().generation() };
        // Targets with the same way are one after the other, so that the kernel is asked once for each way.
        let wanted = targets
            .iter()
            .enumerate()
            .filter_map(|(at, target)| Some((target.as_ref()?.without_ports(), at)));
        let mut wanted: Vec<(Target, usize)> = wanted.collect();
        wanted.sort_unstable();
        let distinct: Vec<Target> =
            wanted.chunk_by(same_way).filter_map(|some| Some(some.first()?.0)).collect();
        let mut groups = wanted.chunk_by(same_way);
        for some in distinct.chunks(AT_ONCE) {
            let ways = self.routes().ways(some);
            held.acquire(ways, &mut groups)?;
            // Others have their turn.
            tokio::task::yield_now().await;
        }
        self.wait_for_neighbours(&held).await?;
        Ok(held)
    }

    /// The same without waiting for MAC addresses: they are asked for.
    pub(crate) fn next_hop_at_once(&self, target: Target) -> Result<Held<'_>, InstallError> {
        let (ways, generation) = {
            let mut routes = self.routes();
            (routes.ways(&[target]), routes.generation())
        };
        let mut held = Held { shared: self, hops: Vec::new(), generation };
        for way in ways {
            let hop = acquire(&mut self.state().next_hops, way?, target.remote.ip())?;
            held.hops.push(Some(hop));
        }
        let neighbours: Vec<NeighbourKey> = self.missing(&held).into_values().collect();
        self.routes().look_for(&neighbours);
        Ok(held)
    }

    /// Asks for the MAC addresses that are missing, and waits a little for the answers, for all at the same time.
    async fn wait_for_neighbours(&self, held: &Held<'_>) -> Result<(), InstallError> {
        let mut missing = self.missing(held);
        if missing.is_empty() {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + NEIGHBOUR_PATIENCE;
        let mut asked = false;
        loop {
            let changed = self.resolved.notified();
            tokio::pin!(changed);
            // Registered before the look at the table, so that no change falls between.
            changed.as_mut().enable();
            {
                let state = self.state();
                missing.retain(|hop, _| !state.next_hops.is_resolved(*hop));
            }
            if missing.is_empty() {
                return Ok(());
            }
            if !asked {
                asked = true;
                let neighbours: Vec<NeighbourKey> = missing.values().copied().collect();
                self.routes().look_for(&neighbours);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                break;
            }
        }
        let state = self.state();
        for (interface, neighbour) in missing.values() {
            if state.next_hops.has_failed((*interface, *neighbour)) {
                let interface = state.next_hops.interface_name(*interface).unwrap_or_default().to_owned();
                return Err(RouteError::Silent { neighbour: *neighbour, interface }.into());
            }
            tracing::warn!(%neighbour, "a neighbour does not answer; its packets are dropped until it does");
        }
        Ok(())
    }

    /// Next hops without a MAC address, and their neighbours.
    fn missing(&self, held: &Held<'_>) -> HashMap<u32, NeighbourKey> {
        let state = self.state();
        let unresolved = held.hops.iter().flatten().filter(|hop| !state.next_hops.is_resolved(**hop));
        unresolved.filter_map(|hop| Some((*hop, state.next_hops.via(*hop)?.neighbour()))).collect()
    }
}

fn same_way(one: &(Target, usize), other: &(Target, usize)) -> bool {
    one.0 == other.0
}

/// A next hop, for one more user.
///
/// # Errors
/// Why packets to `destination` cannot leave that way.
pub(crate) fn acquire(next_hops: &mut NextHops, via: Via, destination: IpAddr) -> Result<u32, InstallError> {
    next_hops.acquire(via).map_err(|error| {
        let refused = match error {
            NextHopError::NotAttached { interface, name } => {
                let interface = name.unwrap_or_else(|| format!("interface {interface}"));
                RouteError::NotAttached { destination, interface }
            }
            NextHopError::Down { name } => RouteError::Down { destination, interface: name },
            NextHopError::TooManyTags => RouteError::TooManyTags { destination },
            NextHopError::Full => return InstallError::NextHopsFull(next_hops.capacity()),
        };
        InstallError::Route(refused)
    })
}
