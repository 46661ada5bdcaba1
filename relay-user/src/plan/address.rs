//! Which addresses a leg can have: what no unicast packet carries, or what the relay could not send to, is refused
//! before anything is touched.

use std::net::{Ipv6Addr, SocketAddr};

use crate::error::InstallError;

/// Checks one side of a leg. `role` is `local address` or `remote address`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_address(address: SocketAddr, role: &'static str) -> Result<(), InstallError> {
    let problem = if address.port() == 0 { Some("port 0 does not exist on the wire") } else { ip(address) };
    match problem {
        Some(problem) => Err(InstallError::Address { address, role, problem }),
        None => Ok(()),
    }
}

/// As [`check_address`], for a side that may not have told its port yet.
pub(crate) fn check_remote(remote: SocketAddr) -> Result<(), InstallError> {
    match ip(remote) {
        Some(problem) => Err(InstallError::Address { address: remote, role: "remote address", problem }),
        None => Ok(()),
    }
}

fn ip(address: SocketAddr) -> Option<&'static str> {
    let ip = address.ip();
    if ip.is_unspecified() {
        return Some("it is unspecified");
    }
    if ip.is_multicast() {
        return Some("it is multicast, not unicast");
    }
    if ip.is_loopback() {
        return Some("it is a loopback address, which never leaves its machine");
    }
    match address {
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => Some("it is broadcast, not unicast"),
        SocketAddr::V4(v4) if v4.ip().octets()[0] == 0 => Some("addresses that start with 0 have no machine"),
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            Some("it is an IPv4 address; write it as one")
        }
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Some("it is link-local and says not on which interface: add the scope, as in fe80::1%2")
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// The interface on which a link-local address means what it says; 0 for every other address.
pub(crate) fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(v6.ip()) => v6.scope_id(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(address: &str) -> Option<&'static str> {
        match check_address(address.parse().unwrap(), "local address") {
            Ok(_) => None,
            Err(InstallError::Address { problem, .. }) => Some(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn ordinary_addresses_of_both_families_pass() {
        for address in [
            "10.0.0.1:4000",
            "169.254.3.4:4000",
            "[2001:db8::1]:4000",
            "[fd78:1::1]:4000",
            "[fe80::1%3]:4000",
        ] {
            assert_eq!(problem(address), None, "{address}");
        }
    }

    #[test]
    fn addresses_that_no_unicast_packet_carries_are_refused() {
        for (address, word) in [
            ("0.0.0.0:4000", "unspecified"),
            ("[::]:4000", "unspecified"),
            ("0.1.2.3:4000", "start with 0"),
            ("224.0.0.1:4000", "multicast"),
            ("[ff02::1]:4000", "multicast"),
            ("255.255.255.255:4000", "broadcast"),
            ("127.0.0.1:4000", "loopback"),
            ("[::1]:4000", "loopback"),
            ("[fe80::1]:4000", "scope"),
            ("[::ffff:10.0.0.1]:4000", "IPv4 address"),
            ("10.0.0.1:0", "port 0"),
            ("[2001:db8::1]:0", "port 0"),
        ] {
            assert!(
                problem(address).is_some_and(|problem| problem.contains(word)),
                "{address}: {:?}",
                problem(address)
            );
        }
    }

    #[test]
    fn a_remote_side_may_keep_its_port_for_later() {
        assert!(check_remote("[2001:db8::1]:0".parse().unwrap()).is_ok());
        assert!(check_remote("[fe80::1]:0".parse().unwrap()).is_err());
    }

    #[test]
    fn only_link_local_addresses_have_a_scope() {
        assert_eq!(scope("[fe80::1%3]:4000".parse().unwrap()), 3);
        assert_eq!(scope("[2001:db8::1%3]:4000".parse().unwrap()), 0);
        assert_eq!(scope("10.0.0.1:4000".parse().unwrap()), 0);
    }
}
