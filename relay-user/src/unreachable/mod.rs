//! Receivers that answer with ICMP "destination unreachable": ICMP is the network stack's, and raw sockets get a
//! copy. Nothing is sent here, and what is told is a hint: whoever knows the addresses can forge it.

mod message;

use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::shared::Shared;
use message::Quoted;

/// Messages that are read before other tasks have their turn.
const BATCH: usize = 64;

/// Longest message that is read: the headers that are quoted are in front.
const LONGEST: usize = 256;

/// Level and names of the filters (linux/icmp.h, linux/icmpv6.h); a set bit blocks its type.
const SOL_RAW: libc::c_int = 255;
const ICMP_FILTER: libc::c_int = 1;
const ICMPV6_FILTER: libc::c_int = 1;

/// Starts to listen, in the network namespace of the calling thread; for IPv6 only where the machine has it.
///
/// # Errors
/// The process lacks the capability CAP_NET_RAW.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let task = |socket: Socket, parse: Parse| -> io::Result<JoinHandle<()>> {
        // SAFETY: the socket owns its descriptor, never replaces it, and lives as long as the registration.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(tokio::spawn(listen(Arc::clone(shared), socket, parse)))
    };
    let mut tasks = vec![task(v4()?, message::v4)?];
    if let Ok(socket) = v6() {
        tasks.push(task(socket, message::v6)?);
    }
    Ok(tasks)
}

/// What a message quotes, if it is one of those that count.
type Parse = fn(&[u8]) -> Option<Quoted>;

/// Runs for as long as the relay.
async fn listen(shared: Arc<Shared>, mut socket: AsyncFd<Socket>, parse: Parse) {
    let mut buffer = [0; LONGEST];
    loop {
        let Ok(mut ready) = socket.readable_mut().await else { return };
        for _ in 0..BATCH {
            let Ok(read) = ready.try_io(|socket| socket.get_mut().read(&mut buffer)) else { break };
            let quoted = read.ok().and_then(|length| parse(buffer.get(..length)?));
            if let Some(Quoted { from, to }) = quoted {
                let event = shared.state().unreachable(from, to, Instant::now());
                shared.tell(event);
            }
        }
        drop(ready);
        tokio::task::yield_now().await;
    }
}

fn v4() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    let blocked = !(1_u32 << message::UNREACHABLE_V4);
    filter(&socket, SOL_RAW, ICMP_FILTER, &blocked)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn v6() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let mut blocked = [u32::MAX; 8];
    blocked[0] = !(1 << message::UNREACHABLE_V6);
    filter(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets which types of messages a socket gets.
fn filter<T>(socket: &Socket, level: libc::c_int, name: libc::c_int, blocked: &T) -> io::Result<()> {
    let length = u32::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel reads as many bytes of the value as it has, during the call only.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const *blocked).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
