//! How many queues a device has now.

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
        let mut name = [0; libc::IF_NAMESIZE];
        // SAFETY: the buffer is as large as the call demands.
        if unsafe { libc::if_indextoname(interface, name.as_mut_ptr()) }.is_null() {
            return Err(io::Error::last_os_error());
        }
        let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
        // SAFETY: an all-zero request is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = name;
        request.ifr_ifru.ifru_data = (&raw mut channels).cast();
        // SAFETY: opens a socket; no memory is touched.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: the request and the channels that it points to outlive the call, which writes no more than them.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), ETHTOOL, &raw mut request) };
        if result != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::EINVAL) => Ok(Self { receive: 1, transmit: 1 }),
                _ => Err(error),
            };
        }
        let Channels { receive, transmit, combined, .. } = channels;
        Ok(Self { receive: (receive + combined).max(1), transmit: (transmit + combined).max(1) })
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
