//! Sends whole frames by one device, many in one system call.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Socket, Type};

use super::option;

/// Frames that wait to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// One after the other.
    pub(crate) bytes: Vec<u8>,
    /// Where each lies.
    pub(crate) frames: Vec<Range<usize>>,
}

/// A packet socket that only sends. Takes the capability CAP_NET_RAW to open, and none to use.
pub(crate) struct PacketOutput {
    socket: OwnedFd,
    device: libc::c_int,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `vectors` and `headers` are written anew before each use.
unsafe impl Send for PacketOutput {}

impl PacketOutput {
    /// Sends by the device of this index in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The process lacks the capability CAP_NET_RAW.
    pub(crate) fn open(device: u32) -> io::Result<Self> {
        // Without a protocol it receives nothing.
        let socket = OwnedFd::from(Socket::new(Domain::PACKET, Type::RAW, None)?);
        // No queue of the kernel's before the device.
        option::set(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        let device = libc::c_int::try_from(device).map_err(io::Error::other)?;
        Ok(Self { socket, device, vectors: Vec::new(), headers: Vec::new() })
    }

    /// Sends the frames, in order; how many the device took.
    ///
    /// # Errors
    /// As sendmmsg(2), for the first frame that was not sent.
    pub(crate) fn send(&mut self, waiting: &Frames) -> io::Result<usize> {
        // SAFETY: an address of zeros is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_ifindex = self.device;
        let frames = waiting.frames.iter().filter_map(|range| waiting.bytes.get(range.clone()));
        let vector =
            |frame: &[u8]| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        self.vectors.clear();
        self.vectors.extend(frames.map(vector));
        let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
        self.headers.clear();
        self.headers.extend(self.vectors.iter_mut().map(|vector| {
            // SAFETY: a header of zeros is a valid one, with nothing to send to nobody.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut address).cast();
            message.msg_hdr.msg_namelen = length;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        }));
        let mut sent = 0;
        while let Some(rest) = self.headers.get_mut(sent..).filter(|rest| !rest.is_empty()) {
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(libc::c_uint::MAX);
            // SAFETY: the headers, and what they point to (the address, the vectors and the frames, which the kernel only
            // reads), live through the call.
            let result = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            match usize::try_from(result) {
                Ok(count) if count > 0 => sent += count,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return if sent == 0 { Err(error) } else { Ok(sent) };
                    }
                }
            }
        }
        Ok(sent)
    }
}
