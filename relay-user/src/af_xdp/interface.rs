//! What is asked of a network interface: its queues, its MTU, its name.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most_receive: u32,
    most_transmit: u32,
    most_other: u32,
    most_combined: u32,
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// ETHTOOL_GCHANNELS of linux/ethtool.h.
const GET_CHANNELS: u32 = 0x3c;
/// SIOCETHTOOL of linux/sockios.h.
const ETHTOOL: libc::Ioctl = 0x8946;
/// SIOCGIFMTU of linux/sockios.h.
const SIOCGIFMTU: libc::Ioctl = 0x8921;

/// Queues of a device, as they are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queues {
    pub(crate) receive: u32,
    pub(crate) transmit: u32,
}

impl Queues {
    /// Asks the driver of an interface. One that cannot tell has one of each.
    ///
    /// # Errors
    /// There is no such interface.
    pub(crate) fn of(interface: u32) -> io::Result<Self> {
        let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
        // The driver writes no more than the channels.
        let asked =
            ask(interface, ETHTOOL, |request| request.ifr_ifru.ifru_data = (&raw mut channels).cast());
        match asked {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
                Err(error)
            }
            _ => {
                let Channels { receive, transmit, combined, .. } = channels;
                Ok(Self { receive: (receive + combined).max(1), transmit: (transmit + combined).max(1) })
            }
        }
    }
}

/// Largest IP packet that an interface takes, in bytes.
///
/// # Errors
/// There is no such interface.
pub(crate) fn mtu_of(interface: u32) -> io::Result<usize> {
    let request = ask(interface, SIOCGIFMTU, |_| ())?;
    // SAFETY: the member of the union that this request has written.
    usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).map_err(io::Error::other)
}

/// Asks the kernel about an interface; `prepare` sets what the request takes.
fn ask(interface: u32, what: libc::Ioctl, prepare: impl FnOnce(&mut libc::ifreq)) -> io::Result<libc::ifreq> {
    // SAFETY: a request of zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the name has the length that the call demands.
    if unsafe { libc::if_indextoname(interface, request.ifr_name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    prepare(&mut request);
    // SAFETY: opens a socket; no memory is touched.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the request, and what it points to, outlive the call, which writes no more than them.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) } {
        0 => Ok(request),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Name of an interface for messages; its index if it is gone.
pub(crate) fn name_of(interface: u32) -> String {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as large as the call demands.
    if unsafe { libc::if_indextoname(interface, name.as_mut_ptr()) }.is_null() {
        return format!("interface {interface}");
    }
    // SAFETY: the call ended the name with a zero.
    unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned()
}
