//! What fan-out is compared with: a relay as one would write it with sockets. It takes what waits in one `recvmmsg`, and one
//! `sendmmsg` for each packet sends a copy to every receiver by one socket, with an SSRC of its own; the payload is not copied in
//! user space.

use std::io;
use std::mem::zeroed;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testbed::Namespace;

use crate::machine;
use crate::packet::RtpHeader;
use crate::wire::{self, Family};

/// Packets that one `recvmmsg` takes.
const BATCH: usize = 64;
/// Bytes of the largest of them.
const LARGEST: usize = 2048;
/// Bytes of the RTP header, and where its SSRC is.
const HEADER: usize = 12;
const SSRC: usize = 8;
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that may wait for it.
const BUFFER: i32 = 4 << 20;

/// The running relay; it ends when this is dropped.
pub(super) struct SendmmsgRelay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SendmmsgRelay {
    /// Starts it in the relay's namespace, tied to one processor. It copies what comes to the camera's leg of flow 0 to the
    /// viewers of the first flows.
    pub(super) fn start(relay: &Namespace, receivers: u32, cpu: u32) -> Result<Self> {
        let from = wire::camera_ends(Family::V4, 0).relay;
        let by = wire::viewer_ends(Family::V4, 0).relay;
        // All copies leave by one socket, and not by the one that receives, because the sink tells the wires apart by ports.
        let (receives, sends) = relay.run(|| -> Result<_> {
            Ok((UdpSocket::bind(from).context("binding")?, UdpSocket::bind(by).context("binding")?))
        })??;
        receives.set_read_timeout(Some(LOOK))?;
        enlarge(&receives)?;
        let receiver = |flow| match wire::viewer_ends(Family::V4, flow).terminal {
            SocketAddr::V4(terminal) => Ok((terminal, RtpHeader::SENT.ssrc.wrapping_add(wire::ssrc(flow)))),
            SocketAddr::V6(terminal) => bail!("{terminal} is not of IPv4"),
        };
        let receivers = (0..receivers).map(receiver).collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::Builder::new().name("sendmmsg-relay".into()).spawn(move || {
            let carried = machine::pin(cpu).and_then(|()| carry(&receives, &sends, &receivers, &stopping));
            if let Err(error) = carried {
                eprintln!("bench: the relay with sendmmsg ended: {error}");
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for SendmmsgRelay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic was printed already.
            let _ = thread.join();
        }
    }
}

/// The copies of one packet. Messages point to addresses and parts, and parts to headers: none of these moves or grows.
struct Copies {
    ssrcs: Vec<u32>,
    headers: Vec<[u8; HEADER]>,
    parts: Vec<[libc::iovec; 2]>,
    messages: Vec<libc::mmsghdr>,
    _to: Vec<libc::sockaddr_in>,
}

impl Copies {
    fn new(receivers: &[(SocketAddrV4, u32)]) -> Self {
        let mut to: Vec<_> = receivers.iter().map(|(address, _)| socket_address(*address)).collect();
        let mut headers = vec![[0; HEADER]; receivers.len()];
        let mut parts: Vec<_> = headers.iter_mut().map(|own| [part(own), part(&mut [])]).collect();
        let messages = to.iter_mut().zip(&mut parts);
        let messages = messages.map(|(to, parts)| message(Some(to), parts)).collect();
        let ssrcs = receivers.iter().map(|(_, ssrc)| *ssrc).collect();
        Self { ssrcs, headers, parts, messages, _to: to }
    }

    /// Sends `packet` to all, in as few calls as the kernel takes.
    fn send(&mut self, by: &UdpSocket, packet: &mut [u8]) {
        let Some((header, payload)) = packet.split_at_mut_checked(HEADER) else { return };
        for ((ssrc, own), [_, rest]) in self.ssrcs.iter().zip(&mut self.headers).zip(&mut self.parts) {
            own.copy_from_slice(header);
            own[SSRC..].copy_from_slice(&ssrc.to_be_bytes());
            *rest = part(payload);
        }
        let mut sent = 0;
        while let Some(left) = self.messages.get_mut(sent..).filter(|left| !left.is_empty()) {
            let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
            // SAFETY: every message points to an address and parts that outlive the call.
            let result = unsafe { libc::sendmmsg(by.as_raw_fd(), left.as_mut_ptr(), count, 0) };
            // Whom the kernel sends nothing loses the copy, as in any such relay.
            sent += usize::try_from(result).unwrap_or_default().max(1);
        }
    }
}

fn carry(
    receives: &UdpSocket,
    sends: &UdpSocket,
    receivers: &[(SocketAddrV4, u32)],
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut copies = Copies::new(receivers);
    let mut buffer = vec![[0_u8; LARGEST]; BATCH];
    let mut parts: Vec<_> = buffer.iter_mut().map(|packet| [part(packet)]).collect();
    let mut messages: Vec<_> = parts.iter_mut().map(|parts| message(None, parts)).collect();
    let count = u32::try_from(BATCH).unwrap_or(u32::MAX);
    while !stop.load(Ordering::Relaxed) {
        let (by, into, wait) = (receives.as_raw_fd(), messages.as_mut_ptr(), libc::MSG_WAITFORONE);
        // SAFETY: every message points to a part, and every part to a packet's room, which outlive the call.
        let result = unsafe { libc::recvmmsg(by, into, count, wait, std::ptr::null_mut()) };
        let Ok(received) = usize::try_from(result) else {
            let error = io::Error::last_os_error();
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                continue;
            }
            return Err(error);
        };
        for (message, packet) in messages.iter().zip(&mut buffer).take(received) {
            if let Some(packet) = packet.get_mut(..message.msg_len as usize) {
                copies.send(sends, packet);
            }
        }
    }
    Ok(())
}

fn part(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn message(to: Option<&mut libc::sockaddr_in>, parts: &mut [libc::iovec]) -> libc::mmsghdr {
    // SAFETY: a structure for which zero is a value.
    let mut message: libc::mmsghdr = unsafe { zeroed() };
    if let Some(to) = to {
        message.msg_hdr.msg_namelen = u32::try_from(size_of_val(to)).unwrap_or_default();
        message.msg_hdr.msg_name = (&raw mut *to).cast();
    }
    message.msg_hdr.msg_iov = parts.as_mut_ptr();
    message.msg_hdr.msg_iovlen = parts.len();
    message
}

fn socket_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// More room for what waits.
fn enlarge(socket: &UdpSocket) -> io::Result<()> {
    let bytes = BUFFER;
    let length = u32::try_from(size_of_val(&bytes)).unwrap_or_default();
    let descriptor = socket.as_raw_fd();
    // SAFETY: the kernel reads an integer that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
