//! Legs and their sockets come and go together.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::{Legs, Workers};
use crate::error::{InstallError, StartError};
use crate::fan_out::{Reader, Records};
use crate::leg::{LegId, LegSpec};
use crate::plane::UserPlane;
use crate::rtcp::{Intake, Transmit};
use crate::shared::Shared;
use crate::sockets::OpenFiles;
use crate::state::Prepared;
use crate::statistics::LegStatistics;
use crate::vlan::Tags;

/// The sockets of the user-space backend. Where the tables are locked too, these are locked first.
pub(crate) struct Sockets {
    workers: Mutex<Workers>,
    /// Tells who has an address.
    plane: UserPlane,
}

impl Sockets {
    /// Starts `workers` workers in the network namespace of the calling thread; each measures in a stretch of its own.
    ///
    /// # Errors
    /// There cannot be a socket for each of `legs` legs, no more files can be opened, or no more threads started.
    pub(crate) fn start(
        legs: u32,
        workers: u32,
        plane: UserPlane,
        rtcp: &Intake,
        groups: &Records,
    ) -> Result<Self, StartError> {
        OpenFiles::reserve(legs)?;
        let decider = |stretch| {
            let plane = UserPlane { stretch, ..plane.clone() };
            Legs::new(plane, rtcp.clone()).copying(Reader::new(groups.clone(), stretch))
        };
        let workers = Workers::start((0..workers).map(decider).collect()).map_err(StartError::Workers)?;
        Ok(Self { workers: Mutex::new(workers), plane })
    }

    /// Closes every socket and ends the workers.
    pub(crate) fn end(&self) {
        self.lock().end();
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the sockets at those of these addresses that no leg has.
    fn close_unused(&self, workers: &mut Workers, locals: &[SocketAddr]) {
        let unused = |local: &SocketAddr| super::legs::leg_at(&self.plane, *local).is_none();
        let unused: Vec<SocketAddr> = locals.iter().copied().filter(unused).collect();
        workers.close(&unused);
    }
}

/// Sends RTCP of the relay's own by the sockets of its legs.
pub(crate) struct BySockets(pub(crate) Weak<Shared>);

impl Transmit for BySockets {
    fn transmit(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let shared = self.0.upgrade().ok_or_else(gone)?;
        let sockets = shared.sockets.as_ref().ok_or_else(gone)?;
        sockets.lock().send(from, to, payload)
    }
}

impl Shared {
    /// Installs legs, with their sockets where sockets forward.
    ///
    /// # Errors
    /// See [`InstallError`]; nothing is installed, and no socket opened, then.
    pub(crate) fn install(&self, prepared: Vec<Prepared>) -> Result<Vec<LegId>, InstallError> {
        let Some(sockets) = &self.sockets else {
            self.check_user_space(&prepared)?;
            return self.state().install(prepared, Instant::now());
        };
        for leg in &prepared {
            check(&leg.spec)?;
        }
        let locals: Vec<SocketAddr> = prepared.iter().map(|leg| leg.spec.local).collect();
        let mut workers = sockets.lock();
        // Before the legs: from their installation on nothing may be lost.
        workers.open(&locals)?;
        let installed = self.state().install(prepared, Instant::now());
        if installed.is_err() {
            sockets.close_unused(&mut workers, &locals);
        }
        installed
    }

    /// Refuses RTCP that would have to be translated where there is no way through user space.
    fn check_user_space(&self, prepared: &[Prepared]) -> Result<(), InstallError> {
        let problem = self.punts().and_then(|punts| punts.problem());
        let Some(problem) = problem.filter(|_| self.kernel_path().is_none()) else { return Ok(()) };
        match self.state().translated_leg(prepared.iter().map(|leg| &leg.spec)) {
            Some(local) => Err(InstallError::NoUserSpace { local, problem }),
            None => Ok(()),
        }
    }

    /// Waits until every worker has the sockets that were opened until now: whoever is told of their legs can send by them.
    pub(crate) fn settle_sockets(&self) {
        if let Some(sockets) = &self.sockets {
            sockets.lock().wait();
        }
    }

    /// Removes legs, and then their sockets.
    pub(crate) fn remove(&self, legs: &[LegId]) -> Vec<LegStatistics> {
        let Some(sockets) = &self.sockets else { return self.state().remove(legs, Instant::now()) };
        let mut workers = sockets.lock();
        // Packets are counted when the kernel has taken them: those that have left are to be in the last statistics.
        workers.wait();
        let mut state = self.state();
        let locals: Vec<SocketAddr> =
            legs.iter().filter_map(|leg| state.local(*leg)).map(|(local, _)| local).collect();
        let last = state.remove(legs, Instant::now());
        drop(state);
        sockets.close_unused(&mut workers, &locals);
        last
    }
}

/// Refuses what sockets cannot do.
fn check(leg: &LegSpec) -> Result<(), InstallError> {
    let needs_xdp = |what| Err(InstallError::NeedsXdp { local: leg.local, what });
    if leg.vlan != Tags::NONE {
        return needs_xdp("VLAN tags of its own");
    }
    Ok(())
}
