//! The part of the data plane that sessions use, as a trait, so that sessions can be tested without a kernel. The
//! implementation that runs is `relay_user::Relay`. It must not know sessions.

use std::fmt::Debug;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use relay_user::{LegStatistics, Plan};

/// How a terminal is reached: the interface, and our address there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The interface that the route leaves by.
    pub interface: String,
    /// The source address that the route prefers.
    pub source: IpAddr,
}

/// What sessions ask of the data plane.
pub trait DataPlane: Send + Sync + 'static {
    /// Names an installed leg.
    type Leg: Copy + Debug + PartialEq + Send + Sync;
    /// Why something cannot be done.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Installs all legs and streams of the plan, or nothing. After success they forward.
    fn install(&self, plan: &Plan) -> impl Future<Output = Result<Vec<Self::Leg>, Self::Error>> + Send;

    /// Removes legs and returns their last counters, in the same order.
    fn remove(&self, legs: &[Self::Leg]) -> Vec<LegStatistics>;

    /// The other side of a leg said a new address.
    fn set_remote(
        &self,
        leg: Self::Leg,
        remote: Option<SocketAddr>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The counters of a leg.
    fn statistics(&self, leg: Self::Leg) -> Option<LegStatistics>;

    /// How an address is reached now.
    fn reach(&self, destination: IpAddr) -> impl Future<Output = Result<Reach, Self::Error>> + Send;
}
