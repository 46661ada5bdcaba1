//! What the user-space backend is compared with: a relay as one would write it at first, with a socket for each port, one
//! `recvfrom` and one `sendto` for each packet.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use testbed::Namespace;

use crate::machine;
use crate::wire::{self, Ends, Family};

/// Ready sockets that one `epoll_wait` tells of.
const READY: usize = 64;
/// How often the thread looks whether it is to end, in milliseconds.
const LOOK: i32 = 50;
/// Bytes of the largest datagram.
const LARGEST: usize = 2048;

/// The running relay; it ends when this is dropped.
pub(crate) struct PlainRelay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One direction of a call.
struct Direction {
    receives: UdpSocket,
    sends: UdpSocket,
    to: Ends,
}

impl PlainRelay {
    /// Starts it in the relay's namespace, tied to one processor, with a call for each flow.
    pub(crate) fn start(relay: &Namespace, flows: u32, cpu: u32) -> Result<Self> {
        let directions = relay.run(|| (0..flows).map(Direction::of).collect::<Result<Vec<_>>>())??;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let ready = Ready::of(&directions)?;
        let thread = thread::Builder::new().name("plain-relay".into()).spawn(move || {
            if let Err(error) = machine::pin(cpu).and_then(|()| run(&directions, &ready, &stopping)) {
                eprintln!("bench: the plain relay ended: {error}");
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for PlainRelay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic was printed already.
            let _ = thread.join();
        }
    }
}

impl Direction {
    /// From camera to viewer, which is where the test packets go.
    fn of(flow: u32) -> Result<Self> {
        let (from, to) = (wire::camera_ends(Family::V4, flow), wire::viewer_ends(Family::V4, flow));
        let bind =
            |ends: Ends| UdpSocket::bind(ends.relay).with_context(|| format!("binding {}", ends.relay));
        let (receives, sends) = (bind(from)?, bind(to)?);
        receives.set_nonblocking(true)?;
        Ok(Self { receives, sends, to })
    }
}

/// The sockets that have something to read (epoll).
struct Ready(OwnedFd);

impl Ready {
    fn of(directions: &[Direction]) -> io::Result<Self> {
        // SAFETY: makes a descriptor, which is then owned.
        let ready = unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                -1 => return Err(io::Error::last_os_error()),
                descriptor => Self(OwnedFd::from_raw_fd(descriptor)),
            }
        };
        for (at, direction) in (0..).zip(directions) {
            let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: at };
            let (queue, socket) = (ready.0.as_raw_fd(), direction.receives.as_raw_fd());
            // SAFETY: both descriptors are open, and the kernel copies the event.
            if unsafe { libc::epoll_ctl(queue, libc::EPOLL_CTL_ADD, socket, &raw mut event) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(ready)
    }

    /// Waits, and fills `events`; returns how many there are.
    fn wait(&self, events: &mut [libc::epoll_event; READY]) -> usize {
        let most = i32::try_from(READY).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most as many events as there is room for.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most, LOOK) };
        // An interrupted call is one without events.
        usize::try_from(count).unwrap_or_default()
    }
}

fn run(directions: &[Direction], ready: &Ready, stop: &AtomicBool) -> io::Result<()> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY];
    let mut packet = [0; LARGEST];
    while !stop.load(Ordering::Relaxed) {
        let count = ready.wait(&mut events);
        for event in events.iter().take(count) {
            let at = usize::try_from(event.u64).unwrap_or(usize::MAX);
            let Some(direction) = directions.get(at) else { continue };
            loop {
                match direction.receives.recv_from(&mut packet) {
                    Ok((length, _)) => {
                        let bytes = packet.get(..length).unwrap_or_default();
                        // A full queue loses the packet, as it does in any such relay.
                        let _ = direction.sends.send_to(bytes, direction.to.terminal);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}
