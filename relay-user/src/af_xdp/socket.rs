//! An AF_XDP socket: opened, given its rings, bound to one queue of one device.
//!
//! Copy mode is demanded even of drivers that could do without: a queue in zero-copy mode takes all its packets into the
//! UMEM, and the kernel then copies each packet that the XDP program forwards into a page of its own. That would slow
//! down the many for the few that are punted.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::interface::name_of;
use super::memory::Mapping;
use super::port::{Rings, Wakeup};
use super::ring::{Consumer, Layout, Producer};
use super::umem::Umem;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel was built without.
    #[error(
        "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS): packets for user space take the kernel path"
    )]
    NoSupport,
    /// The process lacks the privilege.
    #[error("AF_XDP sockets take root, or the capability CAP_NET_RAW beside those of XDP")]
    Privilege,
    /// The memory of the frames may not be locked.
    #[error(
        "{bytes} bytes of AF_XDP frames are more than this process may lock (RLIMIT_MEMLOCK); raise the limit \
         (`ulimit -l`, LimitMEMLOCK= of systemd), grant CAP_IPC_LOCK, or configure fewer frames for each queue"
    )]
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// Another program has the queue.
    #[error("queue {queue} of {interface} belongs to the AF_XDP socket of another program; stop that first")]
    Busy {
        /// The device.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// Anything else.
    #[error("{step} an AF_XDP socket for queue {queue} of {interface} failed: {source}")]
    Other {
        /// What was done.
        step: &'static str,
        /// The device.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How long a queue may stay busy after the socket that had it was closed, and how often it is tried meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// The family in a socket's address.
#[expect(clippy::cast_possible_truncation, reason = "44")]
const FAMILY: libc::__u16 = libc::AF_XDP as libc::__u16;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// The queue that a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Index of the interface.
    pub(crate) interface: u32,
    /// Number of the queue.
    pub(crate) number: u32,
}

impl Socket {
    /// A socket with rings of `ring` elements, which is a power of two, over the frames of `umem`. The first socket of
    /// a UMEM registers it; the others share it `with` one that did.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub(crate) fn open(
        queue: Queue,
        umem: &Umem,
        ring: u32,
        with: Option<&Socket>,
    ) -> Result<(Self, Rings), SocketError> {
        let failed = |step, source| explain(step, source, queue, umem);
        // SAFETY: opens a socket; no memory is touched.
        let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(failed("opening", io::Error::last_os_error()));
        }
        // SAFETY: just opened, and nobody else knows it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(socket) });
        if with.is_none() {
            socket.register(umem).map_err(|error| failed("registering frames with", error))?;
        }
        let rings = socket.rings(ring).map_err(|error| failed("making the rings of", error))?;
        // What waits in the device is bounded by the ring alone. Refused without CAP_NET_ADMIN, and then bounded by
        // the system's default as well.
        let bytes = libc::c_int::try_from(umem.frame_size() * 2 * ring as usize).unwrap_or(libc::c_int::MAX);
        let _ = socket.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes);
        socket.bind_patiently(queue, with).map_err(|error| failed("binding", error))?;
        Ok((socket, rings))
    }

    /// What the kernel counted for this socket.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn statistics(&self) -> io::Result<libc::xdp_statistics> {
        // SAFETY: a structure of integers, for which zero is a value.
        let mut statistics: libc::xdp_statistics = unsafe { std::mem::zeroed() };
        self.get(libc::XDP_STATISTICS, &mut statistics)?;
        Ok(statistics)
    }

    fn register(&self, umem: &Umem) -> io::Result<()> {
        let start = umem.memory().at::<u8>(0, umem.memory().length());
        let start = start.ok_or_else(|| io::Error::other("no memory"))?;
        let frame_size = u32::try_from(umem.frame_size()).map_err(io::Error::other)?;
        let registration = libc::xdp_umem_reg {
            addr: start.as_ptr() as u64,
            len: umem.memory().length() as u64,
            chunk_size: frame_size,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        self.set(libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)
    }

    fn rings(&self, size: u32) -> io::Result<Rings> {
        let options =
            [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING, libc::XDP_TX_RING];
        for option in options {
            self.set(libc::SOL_XDP, option, &size)?;
        }
        // SAFETY: a structure of integers, for which zero is a value.
        let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
        self.get(libc::XDP_MMAP_OFFSETS, &mut offsets)?;
        let at = |page: u64| libc::off_t::try_from(page).map_err(io::Error::other);
        let (memory, layout) = self.ring::<u64>(&offsets.fr, size, at(libc::XDP_UMEM_PGOFF_FILL_RING)?)?;
        let fill = Producer::new(memory, layout, size)?;
        let (memory, layout) =
            self.ring::<u64>(&offsets.cr, size, at(libc::XDP_UMEM_PGOFF_COMPLETION_RING)?)?;
        let completion = Consumer::new(memory, layout, size)?;
        let (memory, layout) = self.ring::<libc::xdp_desc>(&offsets.rx, size, libc::XDP_PGOFF_RX_RING)?;
        let receive = Consumer::new(memory, layout, size)?;
        let (memory, layout) = self.ring::<libc::xdp_desc>(&offsets.tx, size, libc::XDP_PGOFF_TX_RING)?;
        let transmit = Producer::new(memory, layout, size)?;
        Ok(Rings { fill, completion, receive, transmit })
    }

    /// Maps one ring.
    fn ring<T>(
        &self,
        offsets: &libc::xdp_ring_offset,
        size: u32,
        page: libc::off_t,
    ) -> io::Result<(Arc<Mapping>, Layout)> {
        let offset = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
        let layout = Layout {
            producer: offset(offsets.producer)?,
            consumer: offset(offsets.consumer)?,
            flags: offset(offsets.flags)?,
            elements: offset(offsets.desc)?,
        };
        let length = layout.elements + size as usize * size_of::<T>();
        Ok((Arc::new(Mapping::of(self.0.as_fd(), length, page)?), layout))
    }

    /// The kernel lets go of a queue a little after the socket that had it was closed, by us or by the process before us.
    fn bind_patiently(&self, queue: Queue, with: Option<&Socket>) -> io::Result<()> {
        let started = Instant::now();
        loop {
            match self.bind(queue, with) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && started.elapsed() < PATIENCE => {
                    thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    fn bind(&self, queue: Queue, with: Option<&Socket>) -> io::Result<()> {
        let address = libc::sockaddr_xdp {
            sxdp_family: FAMILY,
            // A socket that shares a UMEM shares these too, and may not repeat them.
            sxdp_flags: if with.is_some() {
                libc::XDP_SHARED_UMEM
            } else {
                libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP
            },
            sxdp_ifindex: queue.interface,
            sxdp_queue_id: queue.number,
            sxdp_shared_umem_fd: with.map_or(0, |with| with.0.as_raw_fd().cast_unsigned()),
        };
        let length = length_of(&address);
        // SAFETY: the address outlives the call, and `length` is its size.
        match unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        let length = length_of(value);
        let value: *const T = value;
        // SAFETY: the value outlives the call, and `length` is its size.
        match unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, value.cast(), length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn get<T>(&self, option: libc::c_int, value: &mut T) -> io::Result<()> {
        let mut length = length_of(value);
        let value: *mut T = value;
        // SAFETY: the value outlives the call, which writes no more than `length` bytes to it.
        let result = unsafe {
            libc::getsockopt(self.0.as_raw_fd(), libc::SOL_XDP, option, value.cast(), &raw mut length)
        };
        match result {
            0 if length as usize == size_of::<T>() => Ok(()),
            0 => {
                Err(io::Error::other(format!("the kernel told {length} bytes, expected {}", size_of::<T>())))
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Wakeup for Arc<Socket> {
    fn transmit(&mut self) -> io::Result<()> {
        // SAFETY: nothing is passed but the descriptor.
        let result = unsafe {
            libc::sendto(self.0.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// The size of a value that is passed to the kernel: a few bytes.
#[expect(clippy::cast_possible_truncation, reason = "structures of the kernel's are small")]
fn length_of<T>(_: &T) -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn explain(step: &'static str, source: io::Error, queue: Queue, umem: &Umem) -> SocketError {
    match source.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => SocketError::NoSupport,
        Some(libc::EPERM | libc::EACCES) => SocketError::Privilege,
        Some(libc::ENOBUFS) => SocketError::Memory { bytes: umem.memory().length() },
        Some(libc::EBUSY) => SocketError::Busy { interface: name_of(queue.interface), queue: queue.number },
        _ => SocketError::Other { step, interface: name_of(queue.interface), queue: queue.number, source },
    }
}
