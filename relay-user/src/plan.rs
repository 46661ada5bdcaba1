//! Checks a plan before anything is touched.

use std::net::{Ipv4Addr, SocketAddr};

use crate::error::{InstallError, RouteError};
use crate::leg::{Plan, SourcePolicy};

/// For each leg of the plan, the leg that sends on what arrives there.
///
/// # Errors
/// The first thing that no kernel table could hold.
pub(crate) fn check(plan: &Plan) -> Result<Vec<Option<usize>>, InstallError> {
    for (at, leg) in plan.legs.iter().enumerate() {
        check_address(leg.local, "local address")?;
        if let Some(remote) = leg.remote {
            check_remote(remote)?;
        } else if leg.source != SourcePolicy::Learn {
            return Err(InstallError::RemoteNeeded(at));
        }
    }
    let legs = plan.legs.len();
    let mut egress = vec![None; legs];
    for stream in &plan.streams {
        if stream.ingress == stream.egress || stream.egress >= legs {
            return Err(InstallError::Stream { ingress: stream.ingress, egress: stream.egress, legs });
        }
        match egress.get_mut(stream.ingress) {
            Some(empty @ None) => *empty = Some(stream.egress),
            Some(Some(_)) => return Err(InstallError::TwoStreams(stream.ingress)),
            None => {
                return Err(InstallError::Stream { ingress: stream.ingress, egress: stream.egress, legs });
            }
        }
    }
    Ok(egress)
}

/// As [`check_address`], for a side that may not have told its port yet.
pub(crate) fn check_remote(remote: SocketAddr) -> Result<Ipv4Addr, InstallError> {
    const ANY_PORT: u16 = 1;
    let port = if remote.port() == 0 { ANY_PORT } else { remote.port() };
    check_address(SocketAddr::new(remote.ip(), port), "remote address")
}

/// Refuses what no unicast packet can carry.
pub(crate) fn check_address(address: SocketAddr, role: &'static str) -> Result<Ipv4Addr, InstallError> {
    let wrong = |problem| InstallError::Address { address, role, problem };
    let SocketAddr::V4(v4) = address else {
        return Err(RouteError::NotIpv4 { destination: address.ip() }.into());
    };
    if v4.ip().is_unspecified() {
        return Err(wrong("it is unspecified"));
    }
    if v4.ip().is_multicast() || v4.ip().is_broadcast() {
        return Err(wrong("it is not unicast"));
    }
    if v4.port() == 0 {
        return Err(wrong("port 0 does not exist on the wire"));
    }
    Ok(*v4.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::{LegSpec, MediaKind, PayloadTypes, StreamSpec};

    fn leg(local: &str, remote: Option<&str>) -> LegSpec {
        LegSpec {
            local: local.parse().unwrap(),
            remote: remote.map(|remote| remote.parse().unwrap()),
            source: SourcePolicy::Learn,
            media: MediaKind::Rtp,
            ssrc: None,
            payload_types: PayloadTypes::ANY,
        }
    }

    fn plan(streams: &[(usize, usize)]) -> Plan {
        let legs =
            vec![leg("10.0.0.1:4000", Some("10.0.0.2:5000")), leg("10.0.1.1:4000", Some("10.0.1.2:5000"))];
        let streams =
            streams.iter().map(|(ingress, egress)| StreamSpec { ingress: *ingress, egress: *egress });
        Plan { legs, streams: streams.collect() }
    }

    #[test]
    fn both_directions_of_a_call_fit() {
        assert_eq!(check(&plan(&[(0, 1), (1, 0)])).unwrap(), [Some(1), Some(0)]);
        assert_eq!(check(&plan(&[(1, 0)])).unwrap(), [None, Some(0)]);
    }

    #[test]
    fn streams_join_two_different_legs_once() {
        assert!(matches!(check(&plan(&[(0, 0)])), Err(InstallError::Stream { .. })));
        assert!(matches!(check(&plan(&[(0, 2)])), Err(InstallError::Stream { egress: 2, legs: 2, .. })));
        assert!(matches!(check(&plan(&[(7, 0)])), Err(InstallError::Stream { ingress: 7, .. })));
        assert!(matches!(check(&plan(&[(0, 1), (0, 1)])), Err(InstallError::TwoStreams(0))));
    }

    #[test]
    fn addresses_that_no_packet_carries_are_refused() {
        for (local, remote) in [
            ("0.0.0.0:4000", None),
            ("10.0.0.1:0", None),
            ("224.0.0.1:4000", None),
            ("[::1]:4000", None),
            ("10.0.0.1:4000", Some("255.255.255.255:5000")),
            ("10.0.0.1:4000", Some("0.0.0.0:0")),
        ] {
            let plan = Plan { legs: vec![leg(local, remote)], streams: vec![] };
            assert!(check(&plan).is_err(), "{local} {remote:?}");
        }
    }

    #[test]
    fn a_remote_side_may_keep_its_port_for_later() {
        let plan = Plan { legs: vec![leg("10.0.0.1:4000", Some("10.0.0.2:0"))], streams: vec![] };
        assert!(check(&plan).is_ok());
    }

    #[test]
    fn only_learning_does_without_a_remote_address() {
        let mut plan = Plan { legs: vec![leg("10.0.0.1:4000", None)], streams: vec![] };
        assert!(check(&plan).is_ok());
        plan.legs[0].source = SourcePolicy::Pinned;
        assert!(matches!(check(&plan), Err(InstallError::RemoteNeeded(0))));
        plan.legs[0].source = SourcePolicy::LearnPort;
        assert!(matches!(check(&plan), Err(InstallError::RemoteNeeded(0))));
    }
}
