//! Sessions over a data plane: offers, answers, ends. It knows legs and ports; it must not know which protocol made
//! the offer.
//!
//! No future of [`SessionCore`] may be dropped before it is done: legs may be installed behind it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relay_user::{RateLimit, RtcpMode, SourcePolicy};

use super::broadcast::SharedBroadcast;
use super::error::with_causes;
use super::plane::DataPlane;
use super::state::Session;
use super::{
    Description, LocalMedia, Network, PortError, PortGauge, PortPair, PortPool, SessionError, SessionReport,
    Side, choose,
};

/// Names a session. Never reused within the life of a [`SessionCore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What every leg has in common, whatever its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegPolicy {
    /// Who may send to a leg. `Pinned` needs terminals that send from where they receive and are not behind NAT;
    /// `LearnPort` admits the address of the description with any port; `Learn` admits whoever first sends a packet
    /// that looks right, which NAT needs, and which an attacker who guesses a port in time can use.
    pub source: SourcePolicy,
    /// After this silence a learned source may be learned anew; ignored where nothing is learned.
    pub relearn_after: Option<Duration>,
    /// Whether loss, order and jitter of RTP are measured.
    pub quality: bool,
    /// How much each leg may receive.
    pub limit: Option<RateLimit>,
    /// What becomes of RTCP.
    pub rtcp: RtcpMode,
}

/// How sessions are relayed.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The networks that terminals are reached on.
    pub networks: Vec<Network>,
    /// UDP ports for media, on every network.
    pub ports: RangeInclusive<u16>,
    /// How long a pair of ports rests after its session ([`super::DEFAULT_QUARANTINE`]).
    pub quarantine: Duration,
    /// What every leg has in common.
    pub legs: LegPolicy,
    /// Most sessions at a time.
    pub most_sessions: usize,
}

/// All relayed sessions. Cheap to clone.
#[derive(Debug)]
pub struct SessionCore<D: DataPlane>(pub(super) Arc<Inner<D>>);

impl<D: DataPlane> Clone for SessionCore<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(super) struct Inner<D: DataPlane> {
    pub(super) plane: D,
    pub(super) options: SessionOptions,
    pub(super) pool: Mutex<PortPool>,
    pub(super) broadcasts: Mutex<HashMap<SessionId, SharedBroadcast<D::Leg>>>,
    sessions: Mutex<HashMap<SessionId, SharedSession<D>>>,
    next: AtomicU64,
    /// What session numbers are added to, to name the owner of a leg: legs outlive the process, and numbers start anew.
    owners: u64,
}

/// One session; its lock is held across the calls into the data plane, so that changes of one session follow each
/// other.
type SharedSession<D> = Arc<tokio::sync::Mutex<Session<<D as DataPlane>::Leg>>>;

impl<D: DataPlane> SessionCore<D> {
    /// Sessions over this data plane.
    ///
    /// # Errors
    /// [`PortError::NoPairs`] when the range of ports holds no pair.
    pub fn new(plane: D, options: SessionOptions) -> Result<Self, PortError> {
        let addresses = options.networks.iter().map(|network| network.address);
        // Without randomness the pool starts at its first port, which is no weakness, only less variety.
        let start = getrandom::u64().unwrap_or(0);
        let pool = PortPool::new(addresses, options.ports.clone(), options.quarantine, start)?;
        Ok(Self(Arc::new(Inner {
            plane,
            options,
            pool: Mutex::new(pool),
            sessions: Mutex::default(),
            broadcasts: Mutex::default(),
            next: AtomicU64::new(1),
            owners: getrandom::u64().unwrap_or(0),
        })))
    }

    /// A caller's first offer: chooses networks and takes ports. Returns where the callee is to send, medium by
    /// medium, to be written into the offer that goes on. The callee may send from then on (RFC 3264 section 5.1), but
    /// only from the address that was named here, until its answer says more.
    ///
    /// # Errors
    /// [`SessionError`]; no port is held then.
    pub async fn offer(
        &self,
        caller: IpAddr,
        callee: IpAddr,
        offer: &Description,
    ) -> Result<(SessionId, Vec<LocalMedia>), SessionError> {
        let networks = (self.network(caller).await?, self.network(callee).await?);
        let (id, owner) = self.next_id();
        let mut session =
            Session::new((id, owner), (caller, networks.0), (callee, networks.1), Instant::now());
        let local = session.take_offer(Side::Caller, offer, &mut lock(&self.0.pool))?;
        let session = self.keep(id, session)?;
        session.lock().await.expect_media(&self.0.plane, self.0.options.legs).await;
        Ok((id, local))
    }

    /// A later offer, from either side. Returns where the other side is to send. What was agreed stays in force until
    /// the answer; if the offer is refused, nothing more is to be done.
    ///
    /// # Errors
    /// [`SessionError`]; the session is then as it was.
    pub async fn reoffer(
        &self,
        id: SessionId,
        side: Side,
        offer: &Description,
    ) -> Result<Vec<LocalMedia>, SessionError> {
        let session = self.find(id)?;
        let mut session = session.lock().await;
        session.check_alive()?;
        session.take_offer(side, offer, &mut lock(&self.0.pool))
    }

    /// The answer to the last offer; may come again, changed (183 then 200). When this returns, the legs forward.
    /// Returns where the side that offered is to send.
    ///
    /// # Errors
    /// [`SessionError`]; the session is then as it was.
    pub async fn answer(&self, id: SessionId, answer: &Description) -> Result<Vec<LocalMedia>, SessionError> {
        let session = self.find(id)?;
        let mut session = session.lock().await;
        session.check_alive()?;
        session.take_answer(answer, &self.0.plane, self.0.options.legs).await
    }

    /// Ends a session: removes its legs, lets its ports rest, and returns the last counters.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when it has ended already.
    pub async fn end(&self, id: SessionId) -> Result<SessionReport, SessionError> {
        let session = lock(&self.0.sessions).remove(&id).ok_or(SessionError::Unknown { id })?;
        let mut session = session.lock().await;
        let report = session.end(&self.0.plane);
        session.release_ports(&mut lock(&self.0.pool), Instant::now());
        Ok(report)
    }

    /// The counters of a session that runs; `None` if there is no such session.
    pub async fn statistics(&self, id: SessionId) -> Option<SessionReport> {
        let session = self.find(id).ok()?;
        let session = session.lock().await;
        Some(session.report(&self.0.plane))
    }

    /// How long no packet was admitted on any leg, or since the legs exist if there was none yet; as exact as it is
    /// asked often. `None` if there is no such session, nothing is forwarded yet, or all media are on hold, so that
    /// silence means nothing.
    pub async fn idle(&self, id: SessionId) -> Option<Duration> {
        let session = self.find(id).ok()?;
        let session = session.lock().await;
        session.idle(&self.0.plane)
    }

    /// The counters of all sessions, oldest first.
    pub async fn all(&self) -> Vec<SessionReport> {
        let mut ids: Vec<SessionId> = lock(&self.0.sessions).keys().copied().collect();
        ids.sort_unstable();
        let mut reports = Vec::with_capacity(ids.len());
        for id in ids {
            reports.extend(self.statistics(id).await);
        }
        reports
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.sessions).len()
    }

    /// Keeps a port from being given out, because media uses it already. [`SessionCore::release_port`] lets it rest.
    pub fn hold_port(&self, port: SocketAddr) {
        lock(&self.0.pool).hold(port);
    }

    /// Media does not use a port any more: its pair rests.
    pub fn release_port(&self, port: SocketAddr) {
        lock(&self.0.pool).release(PortPair::of(port), Instant::now());
    }

    /// How the media ports are used.
    #[must_use]
    pub fn ports(&self) -> PortGauge {
        lock(&self.0.pool).gauge(Instant::now())
    }

    /// Takes a new session in, unless there are too many.
    fn keep(&self, id: SessionId, mut session: Session<D::Leg>) -> Result<SharedSession<D>, SessionError> {
        let limit = self.0.options.most_sessions;
        let mut sessions = lock(&self.0.sessions);
        if sessions.len() >= limit {
            session.put_ports_back(&mut lock(&self.0.pool));
            return Err(SessionError::TooMany { limit });
        }
        let session = Arc::new(tokio::sync::Mutex::new(session));
        sessions.insert(id, Arc::clone(&session));
        Ok(session)
    }

    /// A new session's number, and the number by which the data plane knows the owner of its legs.
    pub(super) fn next_id(&self) -> (SessionId, u64) {
        let id = SessionId(self.0.next.fetch_add(1, Ordering::Relaxed));
        (id, self.0.owners.wrapping_add(id.0))
    }

    pub(super) async fn network(&self, terminal: IpAddr) -> Result<Network, SessionError> {
        let unreachable = |cause| SessionError::Unreachable { terminal, cause: with_causes(&cause) };
        let reach = self.0.plane.reach(terminal).await.map_err(unreachable)?;
        Ok(choose(&self.0.options.networks, terminal, &reach.interface, reach.source)?.clone())
    }

    fn find(&self, id: SessionId) -> Result<SharedSession<D>, SessionError> {
        lock(&self.0.sessions).get(&id).cloned().ok_or(SessionError::Unknown { id })
    }
}

/// The data behind these locks is whole after every statement, so that a panic elsewhere does not make it unusable.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
