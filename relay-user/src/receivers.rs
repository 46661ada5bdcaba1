//! What the handle of the data plane does with groups: one leg's packets, many receivers.

use std::sync::Arc;
use std::time::Instant;

use crate::attach::Mode;
use crate::audience::{GroupQuality, ReceiverQuality};
use crate::error::InstallError;
use crate::fan_out::{FanOutSetup, GroupStatistics};
use crate::kernel::wait_for_programs;
use crate::leg::{LegId, LegSpec};
use crate::plan::{self, Plan};
use crate::relay::Relay;
use crate::routes::Target;
use crate::shared::Shared;
use crate::state::Prepared;

impl Relay {
    /// Installs legs that receive what arrives on `source`, all or none, while media runs: each gets a copy of every packet
    /// from now on, with headers of its own, and no packet of another receiver is lost, repeated or moved. They are legs like
    /// others, which send what their remote sides are to receive, and are removed by [`Relay::remove`]. Returns them in the
    /// order of `receivers`.
    ///
    /// RTCP that receivers send ends at the relay, whatever [`LegSpec::rtcp`] says: on their own legs, and on legs of RTCP
    /// one port above that the caller has installed. [`crate::Event`] tells what it asks for.
    ///
    /// The first receiver of all takes longer, because the kernel's part is made then.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing has changed then.
    pub async fn join(&self, source: LegId, receivers: &[LegSpec]) -> Result<Vec<LegId>, InstallError> {
        self.check_open()?;
        let plan = Plan { legs: receivers.to_vec(), streams: Vec::new() };
        plan::check(&plan)?;
        let mut targets = Vec::with_capacity(receivers.len());
        for (at, receiver) in receivers.iter().enumerate() {
            let remote = receiver.remote.filter(|remote| remote.port() != 0);
            let remote = remote.ok_or(InstallError::RemoteNeeded(at))?;
            targets.push(Some(Target { remote, local: receiver.local, tags: receiver.vlan }));
        }
        self.shared.state().may_fan_out(source)?;
        let cpus = prepare(&self.shared).await?;
        let hops = self.shared.next_hops(&targets).await?;
        let prepared = plan.legs.into_iter().zip(hops.hops());
        let prepared = prepared.map(|(spec, hop)| Prepared { spec, hop: *hop, egress: None }).collect();
        let legs = self.shared.install(prepared)?;
        hops.keep();
        self.shared.settle_sockets();
        let joined = self.shared.state().join_group(source, &legs, &cpus, Instant::now());
        if let Err(error) = joined {
            self.shared.remove(&legs);
            return Err(error);
        }
        let wanted = self.shared.state().want_key_frame(source, Instant::now());
        self.shared.tell(wanted);
        Ok(legs)
    }

    /// What arrives on `next` goes to all receivers of `source` from now on, and what arrives on `source` no longer; that leads
    /// nowhere then. Receivers keep their legs, counters and what they said. Those with [`crate::Continuity::Continue`] see one
    /// stream: the first packet of the new source has the next sequence number and a timestamp as much later as time has passed;
    /// give them an SSRC ([`crate::RetagSpec::ssrc`]) that stays, too. No packet of the old source comes after one of the new.
    ///
    /// What was accepted of `source` goes to every receiver; what arrives of either while this works, which is some
    /// milliseconds, is dropped and counted as `no_stream`. The new source is then asked for a picture
    /// ([`crate::Event::KeyFrameWanted`]).
    ///
    /// # Errors
    /// One of the legs is not installed, `source` has no receivers, `next` has some, is one, feeds a leg, or cannot be a source,
    /// or a switch is going on; nothing has changed then.
    pub async fn switch_group(&self, source: LegId, next: LegId) -> Result<(), InstallError> {
        self.check_open()?;
        let shared = Arc::clone(&self.shared);
        // By a task: a caller that does not wait for the end leaves nobody between two sources.
        let task = tokio::spawn(async move {
            if !shared.state().disconnect_group(source, next)? {
                return Ok(());
            }
            if shared.sockets.is_some() {
                shared.settle_sockets();
            } else {
                let turns = shared.punts().map(|punts| punts.turns()).unwrap_or_default();
                let wait = move || {
                    wait_for_programs();
                    turns.iter().for_each(|turns| turns.wait());
                };
                // A failure to wait is a runtime that ends, and all media with it.
                let _ = tokio::task::spawn_blocking(wait).await;
            }
            let wanted = shared.state().connect_group(source, next, Instant::now())?;
            shared.tell(wanted);
            Ok(())
        });
        task.await.map_err(|_| InstallError::Closed)?
    }

    /// The legs that receive what arrives on `source`.
    pub fn receivers(&self, source: LegId) -> Vec<LegId> {
        self.shared.state().receivers(source)
    }

    /// How well a receiver says that it receives; `None` while it has sent no report.
    pub fn receiver_quality(&self, receiver: LegId) -> Option<ReceiverQuality> {
        self.shared.state().receiver_quality(receiver)
    }

    /// How well the receivers of a leg say that they receive it: the worst and the median. `None` where none has reported
    /// within the last minute.
    pub fn group_quality(&self, source: LegId) -> Option<GroupQuality> {
        self.shared.state().group_quality(source, Instant::now())
    }

    /// What is counted for the receivers of a leg together; `None` while it has none.
    pub fn group(&self, source: LegId) -> Option<GroupStatistics> {
        self.shared.state().group(source)
    }
}

/// Has groups go on that a predecessor left; where nobody can make copies, they end.
pub(crate) async fn go_on(shared: &Arc<Shared>) {
    if !shared.state().has_groups() {
        return;
    }
    if let Err(error) = prepare(shared).await {
        tracing::warn!(%error, "the groups of the process before end");
        shared.state().end_groups(Instant::now());
    }
}

/// Says who makes the copies, and makes what the first group needs; returns the CPUs that may make them. By a task, because the
/// threads of the runtime are in the relay's network namespace, and the caller's need not be.
async fn prepare(shared: &Arc<Shared>) -> Result<Vec<u32>, InstallError> {
    if shared.sockets.is_some() {
        // Their workers copy as they are; none of them belongs to a CPU.
        return Ok(vec![0]);
    }
    let prepared = shared.fan_out.lock().await.as_ref().and_then(FanOutSetup::prepared);
    if let Some(cpus) = prepared.filter(|_| shared.state().has_engine()) {
        return Ok(cpus);
    }
    let shared = Arc::clone(shared);
    let task = tokio::spawn(async move {
        let mut setup = shared.fan_out.lock().await;
        let setup = setup.as_mut().ok_or(InstallError::Closed)?;
        let (devices, generic) = {
            let interfaces = shared.interfaces();
            let generic = interfaces.report().into_iter().find(|interface| interface.mode != Mode::Native);
            (interfaces.slots(), generic.map(|interface| interface.name))
        };
        let no_workers = shared.punts().and_then(|punts| punts.problem());
        let (engine, cpus) = setup.choose(&devices, generic, no_workers)?;
        if let Some(pair) = setup.pair() {
            shared.interfaces().count_pair(pair);
        }
        let mut state = shared.state();
        state.use_engine(engine);
        state.tell_devices();
        Ok(cpus)
    });
    task.await.map_err(|_| InstallError::Closed)?
}
