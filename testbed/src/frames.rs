//! Whole frames in and out of a device, as a card would send and receive them.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::namespace::Namespace;

/// Bytes of the largest frame that is received.
const LARGEST: usize = 65_536;
/// Where the EtherType is, or the first VLAN tag.
const ETHER_TYPE: usize = 12;

/// A packet socket on one device: it sends frames as they are, and receives those that arrive there, but not those that
/// leave.
#[derive(Debug)]
pub struct Frames {
    socket: OwnedFd,
}

impl Frames {
    /// On a device of a namespace.
    ///
    /// # Errors
    /// There is no such device, or the process is not root.
    pub fn on(namespace: &Namespace, device: &str) -> io::Result<Self> {
        namespace.run(|| Self::open(device))?
    }

    fn open(device: &str) -> io::Result<Self> {
        let name = CString::new(device)?;
        // SAFETY: reads a string that ends in zero and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: opens a descriptor; no memory is touched. Without a protocol it receives nothing yet.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        for option in [libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA] {
            let on: libc::c_int = 1;
            let length = length_of::<libc::c_int>();
            // SAFETY: reads an integer of this length that outlives the call.
            let set = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const on).cast(), length)
            };
            if set != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: an address of zeros is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = family();
        address.sll_protocol = every_protocol();
        address.sll_ifindex = libc::c_int::try_from(index).map_err(io::Error::other)?;
        // SAFETY: reads an address of this length that outlives the call.
        let bound = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length_of::<libc::sockaddr_ll>())
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The device is down, or the frame is too short or too long for it (EMSGSIZE).
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: reads the frame, which outlives the call.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame that arrives; `None` if none does within `patience`, which is rounded up to milliseconds. The first
    /// VLAN tag, which the kernel takes off, is put on again.
    ///
    /// # Errors
    /// The device is gone, or down since the last call.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let milliseconds = patience.as_micros().div_ceil(1000).try_into().unwrap_or(libc::c_int::MAX);
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is handed over, and it lives through the call.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            0 => return Ok(None),
            1 => {}
            _ => return Err(io::Error::last_os_error()),
        }
        let mut frame = vec![0; LARGEST];
        let mut control = [0_u64; 8];
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: a C structure for which all zeros is a valid value.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: every pointer in `message` leads to memory of the given length that outlives the call.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        frame.truncate(length);
        if let Some(tag) = tag(&message)
            && length >= ETHER_TYPE
        {
            frame.splice(ETHER_TYPE..ETHER_TYPE, tag);
        }
        Ok(Some(frame))
    }
}

/// The tag that the kernel took off a frame.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: recvmsg has filled in the control data that `message` points to, which the caller keeps alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() };
    while let Some(current) = header {
        if current.cmsg_level == libc::SOL_PACKET && current.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: the kernel puts this structure into data of this type; it need not be aligned.
            let found = unsafe { libc::CMSG_DATA(current).cast::<libc::tpacket_auxdata>().read_unaligned() };
            let [a, b] = found.tp_vlan_tpid.to_be_bytes();
            let [c, d] = found.tp_vlan_tci.to_be_bytes();
            return (found.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d]);
        }
        // SAFETY: as above; `current` came from the same message.
        header = unsafe { libc::CMSG_NXTHDR(message, current).as_ref() };
    }
    None
}

#[expect(clippy::cast_possible_truncation, reason = "the constant is 17; the structure has 16 bits for it")]
const fn family() -> u16 {
    libc::AF_PACKET as u16
}

#[expect(clippy::cast_possible_truncation, reason = "the constant is 3; the structure has 16 bits for it")]
const fn every_protocol() -> u16 {
    (libc::ETH_P_ALL as u16).to_be()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the structures of system calls are far smaller than 4 GiB"
)]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
