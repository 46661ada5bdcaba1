//! Many datagrams in one system call (recvmmsg(2)).

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::control::Control;
use super::name::SocketName;

/// Room for the datagrams of one call, used again for each.
pub(crate) struct ReceiveBatch {
    buffer: Box<[u8]>,
    /// Bytes of the buffer for each datagram.
    size: usize,
    names: Box<[SocketName]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in `vectors` and `headers` lead into the other boxes and are written anew before each use.
unsafe impl Send for ReceiveBatch {}

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Where its bytes start in the batch's buffer.
    pub(crate) start: usize,
    /// Its bytes.
    pub(crate) length: usize,
    /// Bytes of each packet that it is made of, but the last, which may be shorter; `length` if it is one packet.
    pub(crate) segment: usize,
    /// Where it comes from.
    pub(crate) source: SocketAddr,
    /// Where it was sent to, if the socket was asked to tell.
    pub(crate) destination: Option<SocketAddr>,
    /// Type of service, or traffic class, if the socket was asked to tell.
    pub(crate) traffic_class: u8,
    /// Time to live, or hop limit, if the socket was asked to tell.
    pub(crate) hops: Option<u8>,
    /// Datagrams that the socket had no room for since it was made, if it lost any.
    pub(crate) overflowed: Option<u32>,
    /// It was longer than its room: the rest is lost.
    pub(crate) truncated: bool,
}

impl Received {
    /// The packets that it is made of: where each lies in the batch's buffer.
    pub(crate) fn packets(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (start, end, segment) = (self.start, self.start + self.length, self.segment);
        // An empty datagram is a packet, too.
        (start..end.max(start + 1)).step_by(segment).map(move |at| at..end.min(at + segment))
    }
}

impl ReceiveBatch {
    /// Room for `count` datagrams of up to `size` bytes.
    pub(crate) fn new(count: usize, size: usize) -> Self {
        // SAFETY: both are C structures of integers and pointers, of which all zeros is a value.
        let (vector, header) = unsafe { (std::mem::zeroed::<libc::iovec>(), std::mem::zeroed()) };
        Self {
            buffer: vec![0; count * size].into(),
            size,
            names: vec![SocketName::EMPTY; count].into(),
            controls: vec![Control::EMPTY; count].into(),
            vectors: vec![vector; count].into(),
            headers: vec![header; count].into(),
        }
    }

    /// Takes what waits at a socket, without waiting for more; returns how many datagrams.
    ///
    /// # Errors
    /// As recvmmsg(2); [`io::ErrorKind::WouldBlock`] if none waits.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let rooms = self.buffer.chunks_exact_mut(self.size).zip(&mut self.vectors);
        for (((room, vector), header), (name, control)) in
            rooms.zip(&mut self.headers).zip(self.names.iter_mut().zip(&mut self.controls))
        {
            *vector = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let message = &mut header.msg_hdr;
            message.msg_name = name.as_mut_ptr().cast();
            message.msg_namelen = SocketName::CAPACITY;
            message.msg_iov = ptr::from_mut(vector);
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = Control::CAPACITY;
            message.msg_flags = 0;
        }
        // A batch has far less than 2^32 rooms.
        let count = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
        // SAFETY: every header names memory of this batch, of the length that it says, which nobody else uses during the
        // call: all of it is borrowed mutably.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for ((header, name), control) in
            self.headers.iter().take(received).zip(&mut self.names).zip(&mut self.controls)
        {
            name.set_length(header.msg_hdr.msg_namelen);
            control.set_length(header.msg_hdr.msg_controllen);
        }
        Ok(received)
    }

    /// What is known of a datagram of the last call; `None` if it has no source, or there is no such datagram.
    pub(crate) fn datagram(&self, at: usize) -> Option<Received> {
        let header = self.headers.get(at)?;
        let told = self.controls.get(at)?.told();
        let length = header.msg_len as usize;
        Some(Received {
            start: at * self.size,
            length,
            segment: told.segment.filter(|segment| *segment > 0).unwrap_or(length).max(1),
            source: self.names.get(at)?.address()?,
            destination: told.destination,
            traffic_class: told.traffic_class.unwrap_or_default(),
            hops: told.hops,
            overflowed: told.overflowed,
            truncated: header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        })
    }

    /// The bytes of all datagrams.
    pub(crate) fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The same, to be changed before they are sent on.
    pub(crate) fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}
