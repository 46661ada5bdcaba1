//! What the handles and the tasks of the data plane share.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, PerCpuArray};
use tokio::sync::{Notify, broadcast};

use crate::af_xdp::Punts;
use crate::backend::{Backend, Ports};
use crate::event::Event;
use crate::fan_out::FanOutSetup;
use crate::framed::Wire;
use crate::leg::LegId;
use crate::netlink::Netlink;
use crate::ours::Ours;
use crate::pins::Pins;
use crate::routes::Routes;
use crate::rtcp::Counts;
use crate::state::State;
use crate::tap::Taps;
use crate::user_path::{KernelPath, Sockets};

/// Everything that the tasks and the handles share. No two of the locks are held at the same time.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) interfaces: Mutex<Ports>,
    /// Where there is a program that punts.
    pub(crate) punts: Option<Mutex<Punts>>,
    pub(crate) ours: Mutex<Ours>,
    pub(crate) routes: Mutex<Routes>,
    pub(crate) backend: Backend,
    /// What the program left to the network stack, where there is a program.
    pub(crate) passed: Option<PerCpuArray<MapData, u64>>,
    /// Where sockets forward.
    pub(crate) sockets: Option<Sockets>,
    /// What relays the rest, where a program forwards.
    pub(crate) kernel_path: Mutex<Option<KernelPath>>,
    pub(crate) netlink: Netlink,
    pub(crate) events: broadcast::Sender<Event>,
    /// Rings at each change of a link or a neighbour.
    pub(crate) resolved: Notify,
    /// What groups need of the kernel, where there is a program.
    pub(crate) fan_out: tokio::sync::Mutex<Option<FanOutSetup>>,
    /// By which packets of connections enter, once there are any.
    pub(crate) wire: tokio::sync::Mutex<Option<Wire>>,
    pub(crate) taps: Taps,
    pub(crate) rtcp: Arc<Counts>,
    /// Rings when a leg was given a next hop that may be out of date.
    pub(crate) reroute: Notify,
    /// What outlives the process; `None` without a state folder.
    pub(crate) pins: Mutex<Option<Pins>>,
    /// Legs that a predecessor installed.
    pub(crate) adopted: HashSet<LegId>,
    /// The data plane was left or stopped.
    pub(crate) closed: AtomicBool,
}

/// A panic elsewhere cannot leave what a lock guards half-written: every change is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// What is installed.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells whoever listens; nobody may.
    pub(crate) fn tell(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let _ = self.events.send(event);
        }
    }

    /// What outlives the process.
    pub(crate) fn pins(&self) -> MutexGuard<'_, Option<Pins>> {
        lock(&self.pins)
    }

    /// The program, and where it runs.
    pub(crate) fn interfaces(&self) -> MutexGuard<'_, Ports> {
        lock(&self.interfaces)
    }

    /// The path of packets that need user space, where a program punts them.
    pub(crate) fn punts(&self) -> Option<MutexGuard<'_, Punts>> {
        self.punts.as_ref().map(lock)
    }

    /// What relays the packets that the program leaves to the network stack.
    pub(crate) fn kernel_path(&self) -> MutexGuard<'_, Option<KernelPath>> {
        lock(&self.kernel_path)
    }

    /// Our addresses.
    pub(crate) fn ours(&self) -> MutexGuard<'_, Ours> {
        lock(&self.ours)
    }

    /// The kernel's routes.
    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        lock(&self.routes)
    }
}
