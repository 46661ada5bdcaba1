//! The part of the data plane that sessions use, as a trait, so that sessions can be tested without a kernel. The
//! implementation that runs is `relay_user::Relay`. It must not know sessions.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use relay_user::{InstallError, LegId, LegSpec, LegStatistics, Plan, Relay, RouteError};

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
    /// Names an installed leg; for people too.
    type Leg: Copy + Debug + Display + PartialEq + Send + Sync;
    /// Why something cannot be done.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Installs all legs and streams of the plan, or nothing. After success they forward.
    fn install(&self, plan: &Plan) -> impl Future<Output = Result<Vec<Self::Leg>, Self::Error>> + Send;

    /// Installs a leg that receives what arrives on `source`. After success it receives.
    fn join(
        &self,
        source: Self::Leg,
        receiver: LegSpec,
    ) -> impl Future<Output = Result<Self::Leg, Self::Error>> + Send;

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

/// Why the relay does not do something.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It cannot install or move a leg.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// It knows no route.
    #[error(transparent)]
    Route(#[from] RouteError),
}

impl DataPlane for Relay {
    type Leg = LegId;
    type Error = RelayError;

    async fn install(&self, plan: &Plan) -> Result<Vec<LegId>, RelayError> {
        Ok(Self::install(self, plan).await?)
    }

    async fn join(&self, source: LegId, receiver: LegSpec) -> Result<LegId, RelayError> {
        let joined = Self::join(self, source, &[receiver]).await?;
        joined.into_iter().next().ok_or(RelayError::Install(InstallError::Gone))
    }

    fn remove(&self, legs: &[LegId]) -> Vec<LegStatistics> {
        Self::remove(self, legs)
    }

    async fn set_remote(&self, leg: LegId, remote: Option<SocketAddr>) -> Result<(), RelayError> {
        Ok(Self::set_remote(self, leg, remote).await?)
    }

    fn statistics(&self, leg: LegId) -> Option<LegStatistics> {
        Self::statistics(self, leg)
    }

    async fn reach(&self, destination: IpAddr) -> Result<Reach, RelayError> {
        let route = self.route(destination).await?;
        Ok(Reach { interface: route.interface, source: route.source })
    }
}
