//! What the handle of the data plane does with legs: install, change, switch, remove, read.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::InstallError;
use crate::leg::{LegId, LegSpec};
use crate::memory::Memory;
use crate::plan::{self, Checked, Plan};
use crate::relay::Relay;
use crate::routes::Target;
use crate::state::Prepared;
use crate::statistics::LegStatistics;

/// A packet that the program began to look at before a record changed has long left after this time.
const ON_THEIR_WAY: Duration = Duration::from_millis(1);

impl Relay {
    /// Installs the legs and streams of a plan, all or none. When it returns, the kernel forwards. The identifiers
    /// are in the order of the plan's legs.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing is installed then.
    pub async fn install(&self, plan: &Plan) -> Result<Vec<LegId>, InstallError> {
        self.check_open()?;
        let Checked { egress, sends } = plan::check(plan)?;
        let target = |(leg, sends): (&LegSpec, bool)| {
            let remote = leg.remote.filter(|remote| sends && remote.port() != 0)?;
            Some(Target { remote, local: leg.local, tags: leg.vlan })
        };
        let targets: Vec<Option<Target>> = plan.legs.iter().zip(sends).map(target).collect();
        let hops = self.shared.next_hops(&targets).await?;
        let prepared = plan.legs.iter().cloned().zip(egress).zip(hops.hops());
        let prepared = prepared.map(|((spec, egress), hop)| Prepared { spec, hop: *hop, egress }).collect();
        let installed = self.shared.install(prepared)?;
        hops.keep();
        Ok(installed)
    }

    /// Removes legs and every stream from or to them; with a shared port, the legs that share it. Returns what was
    /// counted, in the order of `legs`; legs that are not installed count nothing.
    pub fn remove(&self, legs: &[LegId]) -> Vec<LegStatistics> {
        if self.check_open().is_err() {
            return vec![LegStatistics::default(); legs.len()];
        }
        self.shared.remove(legs)
    }

    /// The other side says that it is somewhere else (or, with `None`, nowhere): media follows, and the source policy
    /// starts anew. The leg's statistics go on.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing has changed then.
    pub async fn set_remote(&self, leg: LegId, remote: Option<SocketAddr>) -> Result<(), InstallError> {
        self.check_open()?;
        let (local, sends, tags) = {
            let state = self.shared.state();
            let (local, sends) = state.local(leg).ok_or(InstallError::Gone)?;
            state.may_move(leg)?;
            (local, sends, state.tags(leg))
        };
        if let Some(remote) = remote {
            plan::check_remote(remote)?;
            plan::check_family(local, remote)?;
        }
        let told = remote.filter(|remote| remote.port() != 0);
        let target = told.filter(|_| sends).map(|remote| Target { remote, local, tags });
        let hops = self.shared.next_hops(&[target]).await?;
        let hop = hops.hops().iter().copied().flatten().next();
        let mut state = self.shared.state();
        state.tell_remote(leg, remote);
        state.move_remote(leg, told, hop);
        drop(state);
        hops.keep();
        Ok(())
    }

    /// What leaves by `egress` comes from `ingress` from now on, and no longer from the legs that it came from; those
    /// lead nowhere then, until they are switched to. With [`crate::Continuity::Continue`] the receiver sees one stream:
    /// the first packet of the new source has the next sequence number and a timestamp that fits. Packets that arrive
    /// within the millisecond that this takes are dropped and counted.
    ///
    /// # Errors
    /// One of the legs is not installed or is a shared port, `ingress` feeds another leg already, or `egress` is being
    /// switched by another; nothing has changed then.
    pub async fn switch(&self, egress: LegId, ingress: LegId) -> Result<(), InstallError> {
        self.check_open()?;
        let target = self.shared.state().target_of_new_sender(egress);
        let hops = self.shared.next_hops(&[target]).await?;
        let hop = hops.hops().iter().copied().flatten().next();
        let Some(before) = self.shared.state().disconnect(egress, ingress)? else {
            return Ok(());
        };
        if !before.is_empty() {
            tokio::time::sleep(ON_THEIR_WAY).await;
        }
        if self.shared.state().connect(egress, ingress, &before, target.zip(hop))? {
            hops.keep();
        }
        Ok(())
    }

    /// What was counted for a leg until now.
    pub fn statistics(&self, leg: LegId) -> Option<LegStatistics> {
        self.shared.state().statistics(leg, Instant::now())
    }

    /// Every leg that is installed, with what was asked for.
    pub fn legs(&self) -> Vec<(LegId, LegSpec)> {
        self.shared.state().specs()
    }

    /// How much memory the legs take.
    pub fn memory(&self) -> Memory {
        let (legs, cpus) = self.shared.state().capacity();
        Memory::of(legs, cpus)
    }

    /// Legs that are installed, and legs that still fit.
    pub fn occupancy(&self) -> (usize, usize) {
        self.shared.state().occupancy()
    }

    /// Whether the maps are still ours to write.
    pub(crate) fn check_open(&self) -> Result<(), InstallError> {
        if self.shared.closed.load(Ordering::Acquire) { Err(InstallError::Closed) } else { Ok(()) }
    }
}
