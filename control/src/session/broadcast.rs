//! Broadcasts: one sender, many receivers that come and go, each with a port, an address and an SSRC of its own. It must not
//! know which protocol asked for them.
//!
//! As with sessions, no future may be dropped before it is done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay_user::{LegSpec, LegStatistics, MediaKind, Plan, RetagSpec, RtcpMode, SourcePolicy};

use super::core::{SessionCore, lock};
use super::error::with_causes;
use super::plane::DataPlane;
use super::{LocalMedia, Network, PortPair, SessionError, SessionId};

/// After this silence another port of the sender is learned, where the configuration says nothing: cameras that start anew send
/// from another.
const RELEARN_AFTER: Duration = Duration::from_secs(2);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The address that it is known by. It may send from any port, because few cameras send from the one that they say.
    pub address: IpAddr,
    /// Clock rate of its RTP timestamps in Hz.
    pub clock_rate: u32,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Where to.
    pub address: SocketAddr,
    /// The SSRC that it is to see.
    pub ssrc: u32,
}

/// What was counted for a broadcast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BroadcastReport {
    /// What came from the sender.
    pub sender: LegStatistics,
    /// What was sent to each receiver, in the order in which they joined.
    pub receivers: Vec<ReceiverReport>,
}

/// What was counted for a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverReport {
    /// Its leg, as the data plane names it.
    pub leg: String,
    /// Its counters.
    pub statistics: LegStatistics,
}

/// A broadcast that runs.
#[derive(Debug)]
pub(super) struct Broadcast<L> {
    ports: PortPair,
    /// RTP and RTCP.
    legs: [L; 2],
    receivers: Vec<(L, PortPair)>,
    ended: bool,
}

/// Its lock is held across the calls into the data plane, so that changes of one broadcast follow each other.
pub(super) type SharedBroadcast<L> = Arc<tokio::sync::Mutex<Broadcast<L>>>;

impl<D: DataPlane> SessionCore<D> {
    /// Opens a broadcast: whoever sends from the sender's address to the ports that come back is taken for it. Returns the leg
    /// as well, by which the data plane reports.
    ///
    /// # Errors
    /// [`SessionError`]; no port is held then.
    pub async fn open(&self, sender: Sender) -> Result<(SessionId, LocalMedia, D::Leg), SessionError> {
        let network = self.network(sender.address).await?;
        let (id, owner) = self.next_id();
        let limit = self.0.options.most_sessions;
        if lock(&self.0.broadcasts).len() >= limit {
            return Err(SessionError::TooMany { limit });
        }
        let ports = lock(&self.0.pool).take(network.address, Instant::now())?;
        let legs = self.sender_legs(&network, ports, sender, owner);
        let installed = self.0.plane.install(&Plan { legs: legs.into(), streams: Vec::new() }).await;
        let legs: [D::Leg; 2] = match installed.map(TryInto::try_into) {
            Ok(Ok(legs)) => legs,
            failed => {
                lock(&self.0.pool).put_back(ports);
                let cause = failed.err().map(|error| with_causes(&error)).unwrap_or_default();
                return Err(SessionError::Install { id, cause });
            }
        };
        let told = network.told_address();
        let local = LocalMedia {
            rtp: SocketAddr::new(told, ports.rtp().port()),
            rtcp: SocketAddr::new(told, ports.rtcp().port()),
            rejected: false,
        };
        let broadcast = Broadcast { ports, legs, receivers: Vec::new(), ended: false };
        lock(&self.0.broadcasts).insert(id, Arc::new(tokio::sync::Mutex::new(broadcast)));
        let [leg, _] = legs;
        Ok((id, local, leg))
    }

    /// The sender says that it sends from here: reports go to the port after this. If it is another address than before, it is
    /// admitted in place of that.
    ///
    /// # Errors
    /// [`SessionError`]; the broadcast is then as it was.
    pub async fn sender_is(&self, id: SessionId, at: SocketAddr, moves: bool) -> Result<(), SessionError> {
        let broadcast = self.find_broadcast(id)?;
        let broadcast = broadcast.lock().await;
        let [rtp, rtcp] = broadcast.legs;
        let failed = |error: D::Error| SessionError::Install { id, cause: with_causes(&error) };
        if moves {
            self.0.plane.set_remote(rtp, Some(SocketAddr::new(at.ip(), 0))).await.map_err(failed)?;
        }
        // The last port has none after it; then nobody is reported to.
        let Some(port) = at.port().checked_add(1) else { return Ok(()) };
        self.0.plane.set_remote(rtcp, Some(SocketAddr::new(at.ip(), port))).await.map_err(failed)
    }

    /// A receiver joins. Returns its leg, and where its packets come from, as it sees it.
    ///
    /// # Errors
    /// [`SessionError`]; no port is held then.
    pub async fn join(
        &self,
        id: SessionId,
        receiver: Receiver,
    ) -> Result<(D::Leg, SocketAddr), SessionError> {
        let network = self.network(receiver.address.ip()).await?;
        let broadcast = self.find_broadcast(id)?;
        let mut broadcast = broadcast.lock().await;
        if broadcast.ended {
            return Err(SessionError::Unknown { id });
        }
        let ports = lock(&self.0.pool).take(network.address, Instant::now())?;
        let spec = LegSpec::new(ports.rtp())
            .remote(receiver.address)
            .source(SourcePolicy::LearnPort)
            .media(MediaKind::Muxed)
            .retag(RetagSpec::default().ssrc(receiver.ssrc))
            .vlan(network.vlan);
        let [source, _] = broadcast.legs;
        match self.0.plane.join(source, spec).await {
            Ok(leg) => {
                broadcast.receivers.push((leg, ports));
                Ok((leg, SocketAddr::new(network.told_address(), ports.rtp().port())))
            }
            Err(error) => {
                lock(&self.0.pool).put_back(ports);
                Err(SessionError::Install { id, cause: with_causes(&error) })
            }
        }
    }

    /// A receiver leaves; `None` where there is no such receiver.
    pub async fn leave(&self, id: SessionId, leg: D::Leg) -> Option<LegStatistics> {
        let broadcast = self.find_broadcast(id).ok()?;
        let mut broadcast = broadcast.lock().await;
        let at = broadcast.receivers.iter().position(|(known, _)| *known == leg)?;
        let (leg, ports) = broadcast.receivers.remove(at);
        let counted = self.0.plane.remove(&[leg]);
        lock(&self.0.pool).release(ports, Instant::now());
        counted.into_iter().next()
    }

    /// Ends a broadcast; its ports rest.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when it has ended already.
    pub async fn close(&self, id: SessionId) -> Result<BroadcastReport, SessionError> {
        let broadcast = lock(&self.0.broadcasts).remove(&id).ok_or(SessionError::Unknown { id })?;
        let mut broadcast = broadcast.lock().await;
        broadcast.ended = true;
        let report = broadcast.report(&self.0.plane);
        let receivers: Vec<D::Leg> = broadcast.receivers.iter().map(|(leg, _)| *leg).collect();
        self.0.plane.remove(&receivers);
        self.0.plane.remove(&broadcast.legs);
        let now = Instant::now();
        let mut pool = lock(&self.0.pool);
        pool.release(broadcast.ports, now);
        for (_, ports) in broadcast.receivers.drain(..) {
            pool.release(ports, now);
        }
        Ok(report)
    }

    /// The counters of a broadcast that runs.
    pub async fn broadcast(&self, id: SessionId) -> Option<BroadcastReport> {
        let broadcast = self.find_broadcast(id).ok()?;
        let broadcast = broadcast.lock().await;
        Some(broadcast.report(&self.0.plane))
    }

    fn sender_legs(&self, network: &Network, ports: PortPair, sender: Sender, owner: u64) -> [LegSpec; 2] {
        let policy = self.0.options.legs;
        let source = match policy.source {
            SourcePolicy::Pinned | SourcePolicy::LearnPort => SourcePolicy::LearnPort,
            SourcePolicy::Learn => SourcePolicy::Learn,
        };
        let rtp = LegSpec {
            remote: Some(SocketAddr::new(sender.address, 0)),
            source,
            clock_rate: Some(sender.clock_rate),
            vlan: network.vlan,
            limit: policy.limit,
            // Without it there is nothing to report to cameras that stop when nobody reports.
            quality: true,
            relearn_after: Some(policy.relearn_after.unwrap_or(RELEARN_AFTER)),
            owner,
            ..LegSpec::new(ports.rtp())
        };
        let rtcp = LegSpec {
            media: MediaKind::Rtcp,
            clock_rate: None,
            quality: false,
            rtcp: RtcpMode::Terminate,
            ..LegSpec { local: ports.rtcp(), ..rtp.clone() }
        };
        [rtp, rtcp]
    }

    fn find_broadcast(&self, id: SessionId) -> Result<SharedBroadcast<D::Leg>, SessionError> {
        lock(&self.0.broadcasts).get(&id).cloned().ok_or(SessionError::Unknown { id })
    }
}

impl<L: Copy + std::fmt::Display> Broadcast<L> {
    fn report<D: DataPlane<Leg = L>>(&self, plane: &D) -> BroadcastReport {
        let [rtp, _] = self.legs;
        let receiver = |(leg, _): &(L, PortPair)| ReceiverReport {
            leg: leg.to_string(),
            statistics: plane.statistics(*leg).unwrap_or_default(),
        };
        BroadcastReport {
            sender: plane.statistics(rtp).unwrap_or_default(),
            receivers: self.receivers.iter().map(receiver).collect(),
        }
    }
}
