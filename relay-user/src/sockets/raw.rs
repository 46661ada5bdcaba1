//! Sends UDP datagrams from any address and port of ours, of any size: the kernel makes the IP header, and as many
//! fragments as the path needs.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::control::Control;
use super::name::SocketName;
use super::option;

/// Bytes of the UDP header.
const UDP: usize = 8;
/// Where the checksum is in it.
const CHECKSUM: i32 = 6;
/// Most bytes of a payload: what the length in the UDP header can say, and IPv4 too.
const MOST: usize = 65_535 - 20 - UDP;

/// One datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawDatagram<'a> {
    /// Our address and port.
    pub(crate) from: SocketAddr,
    /// Where to; of the same family.
    pub(crate) to: SocketAddr,
    /// Type of service, or traffic class.
    pub(crate) traffic_class: u8,
    /// Time to live, or hop limit; the system's own if absent.
    pub(crate) hops: Option<u8>,
    /// What it carries.
    pub(crate) payload: &'a [u8],
}

/// The sockets, one for each address family. Takes the capability CAP_NET_RAW to open, and none to use.
#[derive(Debug)]
pub(crate) struct RawOutput {
    v4: Socket,
    v6: Option<Socket>,
}

impl RawOutput {
    /// Opens the sockets; IPv6 only where the machine has it.
    ///
    /// # Errors
    /// The process lacks the capability CAP_NET_RAW.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { v4: v4()?, v6: v6().ok() })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// As sendmsg(2); [`io::ErrorKind::InvalidInput`] for addresses of two families, or a payload that no datagram holds.
    pub(crate) fn send(&self, datagram: &RawDatagram<'_>) -> io::Result<()> {
        let impossible = || io::Error::from(io::ErrorKind::InvalidInput);
        let RawDatagram { from, to, payload, .. } = *datagram;
        let (socket, checksum) = match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let addresses = [from.ip().octets(), to.ip().octets()];
                (&self.v4, Some(addresses))
            }
            (SocketAddr::V6(_), SocketAddr::V6(_)) => (self.v6.as_ref().ok_or_else(impossible)?, None),
            _ => return Err(impossible()),
        };
        if payload.len() > MOST {
            return Err(impossible());
        }
        let length = u16::try_from(UDP + payload.len()).map_err(|_| impossible())?;
        let [a, b] = from.port().to_be_bytes();
        let [c, d] = to.port().to_be_bytes();
        let [e, f] = length.to_be_bytes();
        let mut header = [a, b, c, d, e, f, 0, 0];
        // The kernel sums over IPv6 itself, because only it knows which address it chose (RFC 3542 section 3.1).
        if let Some([from, to]) = checksum {
            let [g, h] = udp_checksum(from, to, header, payload).to_be_bytes();
            header = [a, b, c, d, e, f, g, h];
        }
        let mut control = Control::EMPTY;
        control.origin(from.ip());
        control.traffic_class(to.ip(), datagram.traffic_class);
        if let Some(hops) = datagram.hops {
            control.hops(to.ip(), hops);
        }
        // The port of a raw socket's address is the protocol, or none.
        let name = SocketName::from(SocketAddr::new(to.ip(), 0));
        send(socket, &name, &mut control, [&header, payload])
    }
}

fn v4() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    // Bound to where nothing comes from, the socket gets no copy of what this machine receives.
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    option::set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
    only_sends(&socket)?;
    Ok(socket)
}

fn v6() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into())?;
    option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_CHECKSUM, CHECKSUM)?;
    only_sends(&socket)?;
    Ok(socket)
}

/// Nothing is ever read: what comes from this machine itself must not pile up.
fn only_sends(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(4 << 20)?;
    // SAFETY: all zeros is a value of the C structure.
    let mut nothing: libc::sock_filter = unsafe { std::mem::zeroed() };
    // A classic BPF program of one instruction: return 0, which keeps no byte.
    nothing.code = 0x06;
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    // SAFETY: the kernel copies the program, which lives on this stack, during the call; the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            u32::try_from(size_of::<libc::sock_fprog>()).unwrap_or_default(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &Socket, name: &SocketName, control: &mut Control, pieces: [&[u8]; 2]) -> io::Result<()> {
    let mut vectors =
        pieces.map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
    // SAFETY: a C structure of integers and pointers, of which all zeros is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.length();
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.length();
    // SAFETY: everything that the header points to is borrowed by this function, and only read by the kernel.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The checksum of a UDP datagram over IPv4 (RFC 768), whose header has none yet.
fn udp_checksum(from: [u8; 4], to: [u8; 4], header: [u8; UDP], payload: &[u8]) -> u16 {
    // Protocol 17, and the length of the datagram: the rest of the pseudo header.
    let [.., a, b, _, _] = header;
    let pseudo = [0, 17, a, b];
    let sum: u64 = [&from[..], &to, &pseudo, &header, payload].iter().map(|bytes| sum(bytes)).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (0..3).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    match !u16::try_from(sum & 0xffff).unwrap_or_default() {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The 16-bit words of `bytes`, which start at an even place, in the order of the wire.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let last = words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    words.map(|word| word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))).sum::<u64>() + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::UdpHeader;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_checksum_is_what_another_library_says(
            from: [u8; 4],
            to: [u8; 4],
            ports: (u16, u16),
            payload in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let length = u16::try_from(UDP + payload.len()).unwrap();
            let mut udp = UdpHeader { source_port: ports.0, destination_port: ports.1, length, checksum: 0 };
            let ours = udp_checksum(from, to, udp.to_bytes(), &payload);
            udp.checksum = udp.calc_checksum_ipv4_raw(from, to, &payload).unwrap();
            prop_assert_eq!(ours, udp.checksum);
        }
    }
}
