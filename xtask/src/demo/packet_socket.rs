//! A packet socket: every frame that passes a namespace's interfaces, with the kernel's time stamp.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};

/// Kernel memory for frames that we have not read yet: minutes of a call, or two key pictures of 250 viewers.
const BUFFER_BYTES: libc::c_int = 64 << 20;
const LARGEST_FRAME: usize = 65_536;
#[expect(clippy::cast_possible_truncation, reason = "the constant is 3; the kernel reads it as 16 bits")]
const EVERY_PROTOCOL: u16 = libc::ETH_P_ALL as u16;

/// A frame.
pub(super) struct Frame<'a> {
    /// From the Ethernet header on.
    pub(super) bytes: &'a [u8],
    /// Seconds since the epoch, as the kernel stamped it.
    pub(super) time: f64,
    /// Whether this namespace sent it.
    pub(super) is_outgoing: bool,
}

/// The socket.
pub(super) struct PacketSocket {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket in the namespace of the calling thread.
    pub(super) fn open() -> Result<Self> {
        // SAFETY: socket has no preconditions; the result is checked.
        let descriptor = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                i32::from(EVERY_PROTOCOL.to_be()),
            )
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error()).context("cannot open a packet socket");
        }
        // SAFETY: the descriptor was just opened and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let socket = Self { descriptor, buffer: vec![0; LARGEST_FRAME] };
        socket.set_option(libc::SO_RCVBUFFORCE, BUFFER_BYTES).context("cannot enlarge a socket's buffer")?;
        socket.set_option(libc::SO_TIMESTAMPNS, 1).context("cannot have frames stamped")?;
        Ok(socket)
    }

    /// The next frame, or nothing if none came within `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Result<Option<Frame<'_>>> {
        let milliseconds = patience.as_millis().try_into().unwrap_or(libc::c_int::MAX);
        let mut poll = libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is handed over, and it lives through the call.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            0 => return Ok(None),
            1 => {}
            _ => return retry_if_interrupted("cannot wait for frames"),
        }
        let mut control = [0_u64; 16];
        // SAFETY: both are plain C structures for which all zeroes is a valid value.
        let (mut sender, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { mem::zeroed() };
        let mut part = libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.buffer.len() };
        message.msg_name = (&raw mut sender).cast();
        message.msg_namelen = length_of::<libc::sockaddr_ll>();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: every pointer in `message` points to memory of the given length that outlives the call.
        let length = unsafe { libc::recvmsg(self.descriptor.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            return retry_if_interrupted("cannot read a frame");
        };
        let time = time_stamp(&message).context("the kernel did not stamp a frame")?;
        let is_outgoing = sender.sll_pkttype == libc::PACKET_OUTGOING;
        Ok(Some(Frame { bytes: self.buffer.get(..length).unwrap_or_default(), time, is_outgoing }))
    }

    /// Frames that the kernel could not keep for us, since the last question.
    pub(super) fn overrun(&self) -> Result<u32> {
        // SAFETY: a plain C structure for which all zeroes is a valid value.
        let mut statistics: libc::tpacket_stats = unsafe { mem::zeroed() };
        let mut length = length_of::<libc::tpacket_stats>();
        // SAFETY: the pointers are to a structure of the given length that outlives the call.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("cannot read a packet socket's statistics");
        }
        Ok(statistics.tp_drops)
    }

    fn set_option(&self, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let length = length_of::<libc::c_int>();
        // SAFETY: the pointer is to an integer of the given length that outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                length,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the structures of system calls are far smaller than 4 GiB"
)]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn retry_if_interrupted(what: &'static str) -> Result<Option<Frame<'static>>> {
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error).context(what) }
}

/// The kernel's time stamp among the message's control data, in seconds since the epoch.
fn time_stamp(message: &libc::msghdr) -> Option<f64> {
    // SAFETY: recvmsg has filled in the control data that `message` points to, which the caller keeps alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() };
    while let Some(current) = header {
        if current.cmsg_level == libc::SOL_SOCKET && current.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the kernel puts a timespec into data of this type; it need not be aligned.
            let stamp = unsafe { libc::CMSG_DATA(current).cast::<libc::timespec>().read_unaligned() };
            return Some(stamp.tv_sec as f64 + stamp.tv_nsec as f64 / 1e9);
        }
        // SAFETY: as above; `current` came from the same message.
        header = unsafe { libc::CMSG_NXTHDR(message, current).as_ref() };
    }
    None
}
