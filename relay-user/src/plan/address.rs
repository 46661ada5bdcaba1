//! Which addresses a unicast UDP packet can carry.

use std::net::{IpAddr, SocketAddr};

use crate::error::InstallError;

/// As [`check_address`], for a side that may not have told its port yet.
pub(crate) fn check_remote(remote: SocketAddr) -> Result<(), InstallError> {
    const ANY_PORT: u16 = 1;
    let port = if remote.port() == 0 { ANY_PORT } else { remote.port() };
    check(remote, SocketAddr::new(remote.ip(), port), "remote address")
}

/// Refuses what no unicast packet can carry.
pub(crate) fn check_address(address: SocketAddr, role: &'static str) -> Result<(), InstallError> {
    check(address, address, role)
}

fn check(shown: SocketAddr, address: SocketAddr, role: &'static str) -> Result<(), InstallError> {
    let problem = match address.ip() {
        ip if ip.is_unspecified() => Some("it is unspecified"),
        ip if ip.is_multicast() => Some("it is not unicast"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("it is not unicast"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Some("it is an IPv4 address; write it as one"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(
            "it is link-local and means something else on each interface; use a global or a unique local one",
        ),
        _ if address.port() == 0 => Some("port 0 does not exist on the wire"),
        _ => None,
    };
    problem.map_or(Ok(()), |problem| Err(InstallError::Address { address: shown, role, problem }))
}
