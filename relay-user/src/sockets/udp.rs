//! A UDP socket at one address and port of ours.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Socket, Type};

use super::open_files::OpenFiles;
use super::option;

/// Bytes that a socket may hold in each direction, if the system lets us (`net.core.rmem_max`, `wmem_max`): a camera's
/// key frame is 100 packets at once, and each takes 2 to 3 kB of the kernel's memory.
const BUFFER: usize = 4 << 20;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UdpSocketError {
    /// Another program has the port.
    #[error(
        "{0} is in use by another socket (`ss -ulpn` names it); give the relay a range of ports of its own"
    )]
    InUse(SocketAddr),
    /// The address is none of this machine's.
    #[error("{} is no address of this machine (`ip -brief address` lists them)", .0.ip())]
    NotLocal(SocketAddr),
    /// The port is privileged.
    #[error("port {} takes the capability CAP_NET_BIND_SERVICE; use ports above 1023", .0.port())]
    Privileged(SocketAddr),
    /// The process may not open more files.
    #[error(
        "all {limit} files that this process may open (RLIMIT_NOFILE) are in use, and each leg of the user-space backend \
         takes one; raise the limit (LimitNOFILE= of a systemd unit, `ulimit -n` of a shell), or relay fewer legs"
    )]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// Anything else.
    #[error("a socket at {address} cannot be opened")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The socket. Closed when it is dropped.
#[derive(Debug)]
pub(crate) struct UdpSocket(Socket);

impl UdpSocket {
    /// Opens a socket that alone has this address and port, takes many packets as one, and tells their traffic class and
    /// time to live.
    ///
    /// # Errors
    /// See [`UdpSocketError`].
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, UdpSocketError> {
        Self::open(address).map_err(|source| match source.raw_os_error() {
            Some(libc::EADDRINUSE) => UdpSocketError::InUse(address),
            Some(libc::EADDRNOTAVAIL) => UdpSocketError::NotLocal(address),
            Some(libc::EACCES) => UdpSocketError::Privileged(address),
            Some(libc::EMFILE) => UdpSocketError::TooManyFiles { limit: OpenFiles::limit() },
            _ => UdpSocketError::Other { address, source },
        })
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // The system may give less than was asked for.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        match address {
            SocketAddr::V4(_) => {
                option::set(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
                option::set(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
                // Media that is too big for a link further on is fragmented there, as it was before us.
                option::set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
            }
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
                option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            }
        }
        option::set(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        // Kernels before 5.0 deliver every packet alone.
        let _ = option::set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }
}

impl UdpSocket {
    /// Sends one datagram.
    ///
    /// # Errors
    /// As sendto(2).
    pub(crate) fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        self.0.send_to(payload, &to.into()).map(|_| ())
    }

    /// Opens a socket that datagrams for other addresses and ports are steered to. It tells their destination, traffic
    /// class and time to live, and takes none that is addressed to itself but from this machine.
    ///
    /// # Errors
    /// As socket(2) and bind(2).
    pub(crate) fn steered(family: Family) -> io::Result<Self> {
        let (domain, address) = match family {
            Family::V4 => (Domain::IPV4, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Family::V6 => (Domain::IPV6, SocketAddr::from((Ipv6Addr::LOCALHOST, 0))),
        };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        match family {
            Family::V4 => {
                for name in [libc::IP_RECVORIGDSTADDR, libc::IP_RECVTOS, libc::IP_RECVTTL] {
                    option::set(&socket, libc::IPPROTO_IP, name, 1)?;
                }
            }
            Family::V6 => {
                socket.set_only_v6(true)?;
                for name in [libc::IPV6_RECVORIGDSTADDR, libc::IPV6_RECVTCLASS, libc::IPV6_RECVHOPLIMIT] {
                    option::set(&socket, libc::IPPROTO_IPV6, name, 1)?;
                }
            }
        }
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
