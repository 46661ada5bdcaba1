//! What the handles and the tasks of the data plane share, and how a destination becomes a next hop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{MapData, PerCpuArray};
use relay_common::limits::NEXT_HOPS;
use tokio::sync::{Notify, broadcast};

use crate::attach::AttachedInterface;
use crate::device_counters::DeviceDrops;
use crate::error::{InstallError, RouteError};
use crate::event::Event;
use crate::kernel::Program;
use crate::netlink::{KernelRoute, Netlink};
use crate::next_hops::{NextHopError, Via};
use crate::state::State;
use crate::tap::Taps;

/// How long an installation waits for a neighbour to answer. A neighbour that is silent for longer does not stop the
/// installation: its packets are dropped and counted until it answers.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(1000);

/// Everything that the tasks and the handles share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) program: Mutex<Program>,
    pub(crate) passed: PerCpuArray<MapData, u64>,
    pub(crate) device_drops: DeviceDrops,
    pub(crate) netlink: Netlink,
    pub(crate) events: broadcast::Sender<Event>,
    /// Rings at each change of a link or a neighbour.
    pub(crate) resolved: Notify,
    pub(crate) interfaces: Vec<AttachedInterface>,
    pub(crate) taps: Taps,
}

impl Shared {
    /// The one lock. A panic elsewhere cannot leave the tables half-written: every change is a single call.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A next hop towards `remote`, acquired for one more user, if possible with its MAC address.
    pub(crate) async fn next_hop(&self, remote: SocketAddr, local: SocketAddr) -> Result<u32, InstallError> {
        let (hop, via) = self.unresolved_next_hop(remote, local).await?;
        self.resolve(hop, via).await;
        Ok(hop)
    }

    /// The same without waiting for the MAC address, and the neighbour that has it.
    pub(crate) async fn unresolved_next_hop(
        &self,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Result<(u32, Via), InstallError> {
        let not_ipv4 = |address: SocketAddr| RouteError::NotIpv4 { destination: address.ip() };
        let (SocketAddr::V4(remote), SocketAddr::V4(local)) = (remote, local) else {
            return Err(not_ipv4(remote).into());
        };
        let (destination, source) = (*remote.ip(), *local.ip());
        let via = self.via(destination, source).await?;
        Ok((self.acquire(via, destination)?, via))
    }

    /// The neighbour that a packet of ours to `destination` is sent through now.
    pub(crate) async fn via(&self, destination: Ipv4Addr, source: Ipv4Addr) -> Result<Via, RouteError> {
        let route = self.kernel_route(destination, Some(source)).await?;
        if route.local {
            return Err(RouteError::Local { destination: destination.into() });
        }
        Ok(Via { interface: route.interface, address: route.gateway.unwrap_or(destination) })
    }

    /// The next hop through a neighbour, for one more user.
    pub(crate) fn acquire(&self, via: Via, destination: Ipv4Addr) -> Result<u32, InstallError> {
        self.state().next_hops.acquire(via).map_err(|error| match error {
            NextHopError::NotAttached { interface, name } => {
                let interface = name.unwrap_or_else(|| format!("interface {interface}"));
                InstallError::Route(RouteError::NotAttached { destination: destination.into(), interface })
            }
            NextHopError::Full => InstallError::NextHopsFull(NEXT_HOPS - 1),
        })
    }

    /// Asks for a neighbour's MAC address unless it is known, and waits a little for the answer.
    async fn resolve(&self, hop: u32, via: Via) {
        let deadline = tokio::time::Instant::now() + NEIGHBOUR_PATIENCE;
        let mut asked = false;
        loop {
            let changed = self.resolved.notified();
            tokio::pin!(changed);
            // Registered before the look at the table, so that no change falls between.
            changed.as_mut().enable();
            if self.state().next_hops.is_resolved(hop) {
                return;
            }
            if !asked {
                asked = true;
                if let Err(error) = self.netlink.look_for(via.interface, via.address).await {
                    tracing::warn!(neighbour = %via.address, %error, "cannot ask for a neighbour");
                }
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                tracing::warn!(neighbour = %via.address, "a neighbour does not answer; its packets are dropped until it does");
                return;
            }
        }
    }

    /// The route that a packet to `to` takes now.
    pub(crate) async fn kernel_route(
        &self,
        to: Ipv4Addr,
        from: Option<Ipv4Addr>,
    ) -> Result<KernelRoute, RouteError> {
        self.netlink
            .route(to, from)
            .await
            .map_err(|source| RouteError::None { destination: IpAddr::V4(to), source })
    }
}
