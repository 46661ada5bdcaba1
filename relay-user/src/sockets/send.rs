//! Many datagrams in one system call (sendmmsg(2)), and many packets in one datagram of the kernel's (UDP_SEGMENT).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::Control;
use super::name::SocketName;

/// Packets that the kernel makes of one datagram at most (`UDP_MAX_SEGMENTS`: 64, in newer kernels 128).
const SEGMENTS: u32 = 64;
/// Bytes of one datagram at most: what an IPv4 header can say, less both headers.
const BYTES: usize = 65_507;
/// Pieces of memory that one datagram is gathered from at most (`UIO_MAXIOV`).
const PIECES: usize = 1024;

/// One packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its bytes, in the buffer that [`SendBatch::flush`] gets.
    pub(crate) bytes: Range<usize>,
    /// Where to.
    pub(crate) to: SocketAddr,
    /// Type of service, or traffic class.
    pub(crate) traffic_class: u8,
    /// Time to live, or hop limit; the kernel's own where it is not told.
    pub(crate) hops: Option<u8>,
    /// What it is counted for.
    pub(crate) account: u32,
}

/// What became of packets that were counted for the same account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What they are counted for.
    pub(crate) account: u32,
    /// How many.
    pub(crate) packets: u32,
    /// Bytes of them.
    pub(crate) bytes: usize,
    /// Why the kernel did not take them (errno(3)).
    pub(crate) refused: Option<i32>,
}

/// One datagram of the kernel's: packets of the same size to the same receiver, the last of which may be shorter.
struct Message {
    to: SocketAddr,
    name: SocketName,
    control: Control,
    pieces: Range<usize>,
    segment: usize,
    /// Bytes of the last packet.
    last: usize,
    bytes: usize,
    packets: u32,
    traffic_class: u8,
    hops: Option<u8>,
    account: u32,
}

impl Message {
    /// Whether one more packet may follow in the same datagram.
    fn takes(&self, part: &Part) -> bool {
        let length = part.bytes.len();
        self.account == part.account
            && self.to == part.to
            && self.traffic_class == part.traffic_class
            && self.hops == part.hops
            && self.packets < SEGMENTS
            && self.last == self.segment
            && (1..=self.segment).contains(&length)
            && self.bytes + length <= BYTES
            && self.pieces.len() < PIECES
    }
}

/// Packets that leave by the same socket, gathered until they are sent together.
pub(crate) struct SendBatch {
    messages: Vec<Message>,
    pieces: Vec<Range<usize>>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// The kernel makes many packets of one datagram.
    segmentation: bool,
    capacity: usize,
}

// SAFETY: the pointers in `vectors` and `headers` are written anew before each use.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// A batch that is full with `capacity` datagrams.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            messages: Vec::with_capacity(capacity),
            pieces: Vec::with_capacity(capacity * SEGMENTS as usize),
            vectors: Vec::with_capacity(capacity * SEGMENTS as usize),
            headers: Vec::with_capacity(capacity),
            segmentation: true,
            capacity,
        }
    }

    /// A batch whose packets each become a datagram of their own.
    #[cfg(test)]
    pub(crate) fn without_segmentation(capacity: usize) -> Self {
        Self { segmentation: false, ..Self::new(capacity) }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it should be flushed before the next packet.
    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() >= self.capacity
    }

    /// One more packet.
    pub(crate) fn push(&mut self, part: Part) {
        match self.messages.last_mut() {
            Some(message) if self.segmentation && message.takes(&part) => {
                message.last = part.bytes.len();
                message.bytes += part.bytes.len();
                message.packets += 1;
                match self.pieces.last_mut() {
                    Some(piece) if piece.end == part.bytes.start => piece.end = part.bytes.end,
                    _ => {
                        self.pieces.push(part.bytes);
                        message.pieces.end += 1;
                    }
                }
            }
            _ => {
                let at = self.pieces.len();
                let control = asked(part.to.ip(), part.traffic_class, part.hops);
                self.messages.push(Message {
                    to: part.to,
                    name: part.to.into(),
                    control,
                    pieces: at..at + 1,
                    segment: part.bytes.len(),
                    last: part.bytes.len(),
                    bytes: part.bytes.len(),
                    packets: 1,
                    traffic_class: part.traffic_class,
                    hops: part.hops,
                    account: part.account,
                });
                self.pieces.push(part.bytes);
            }
        }
    }

    /// Sends everything by `socket`, without waiting, and says what became of it. Afterwards the batch is empty.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>, buffer: &[u8], mut report: impl FnMut(Sent)) {
        self.lay_out(buffer);
        let mut done = 0;
        while done < self.headers.len() {
            let waiting = self.headers.get_mut(done..).unwrap_or_default();
            // SAFETY: `lay_out` made them from what this batch owns and `buffer`, which have not changed since.
            match unsafe { send(socket, waiting) } {
                Ok(count) if count > 0 => {
                    for message in self.messages.iter().skip(done).take(count) {
                        report(message.outcome(None));
                    }
                    done += count;
                }
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The error is about the first datagram that waits; the others may fare better.
                Err(error) => {
                    if let Some(message) = self.messages.get(done) {
                        let singly = message.packets > 1 && may_go_singly(&error);
                        if singly {
                            self.send_singly(socket, buffer, message, &mut report);
                        } else {
                            report(message.outcome(Some(errno(&error))));
                        }
                    }
                    done += 1;
                }
            }
        }
        self.messages.clear();
        self.pieces.clear();
    }

    /// Sends nothing, because there is nothing to send by. Afterwards the batch is empty.
    pub(crate) fn refuse(&mut self, errno: i32, mut report: impl FnMut(Sent)) {
        for message in &self.messages {
            report(message.outcome(Some(errno)));
        }
        self.messages.clear();
        self.pieces.clear();
    }

    /// Writes what the system call reads.
    fn lay_out(&mut self, buffer: &[u8]) {
        self.vectors.clear();
        self.headers.clear();
        for piece in &self.pieces {
            let bytes = buffer.get(piece.clone()).unwrap_or_default();
            self.vectors
                .push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        }
        for message in &mut self.messages {
            if message.packets > 1 {
                message.control.segment(u16::try_from(message.segment).unwrap_or(u16::MAX));
            }
            let vectors = self.vectors.get_mut(message.pieces.clone()).unwrap_or_default();
            self.headers.push(header(&message.name, vectors, &mut message.control));
        }
    }

    /// Sends the packets of a datagram that the kernel would not take apart one by one: larger than the path takes
    /// whole, or a device or kernel that cannot.
    fn send_singly(
        &self,
        socket: BorrowedFd<'_>,
        buffer: &[u8],
        message: &Message,
        report: &mut impl FnMut(Sent),
    ) {
        let mut control = asked(message.to.ip(), message.traffic_class, message.hops);
        let pieces = self.pieces.get(message.pieces.clone()).unwrap_or_default();
        for piece in pieces {
            for packet in buffer.get(piece.clone()).unwrap_or_default().chunks(message.segment.max(1)) {
                let mut vector =
                    [libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() }];
                let mut headers = [header(&message.name, &mut vector, &mut control)];
                // SAFETY: name, piece and control message are on this stack, or borrowed by this function.
                let refused = unsafe { send(socket, &mut headers) }.err().map(|error| errno(&error));
                report(Sent { account: message.account, packets: 1, bytes: packet.len(), refused });
            }
        }
    }
}

impl Message {
    fn outcome(&self, refused: Option<i32>) -> Sent {
        Sent { account: self.account, packets: self.packets, bytes: self.bytes, refused }
    }
}

/// What the kernel is asked for beside sending the bytes.
fn asked(to: IpAddr, traffic_class: u8, hops: Option<u8>) -> Control {
    let mut control = Control::EMPTY;
    if traffic_class != 0 {
        control.traffic_class(to, traffic_class);
    }
    if let Some(hops) = hops {
        control.hops(to, hops);
    }
    control
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Whether packets may leave one by one that the kernel refused together: EINVAL and EMSGSIZE for one that is larger
/// than the path takes, EIO for a device that cannot sum.
fn may_go_singly(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO))
}

fn header(name: &SocketName, vectors: &mut [libc::iovec], control: &mut Control) -> libc::mmsghdr {
    // SAFETY: a C structure of integers and pointers, of which all zeros is a value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    let message = &mut header.msg_hdr;
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.length();
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    if control.length() > 0 {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.length();
    }
    header
}

/// One system call; returns how many datagrams the kernel took.
///
/// # Safety
/// Everything that the headers point to must be alive and unchanged.
unsafe fn send(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // A batch has far less than 2^32 datagrams.
    let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    // SAFETY: valid by the caller's promise; the kernel writes to the headers, and only reads what they point to.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
