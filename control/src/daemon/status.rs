//! The answer to `culvert status`: what the core reports, with the legs and interfaces of the media plane.

use std::collections::BTreeMap;
use std::time::Duration;

use relay_user::MediaKind;

use super::media::{Plane, Session};
use super::orphans::Orphans;
use crate::admin::{AfXdp, Call, Interface, Leg, Orphan, PortPairs, Quality, Relay, Status};
use crate::session::LegReport;
use crate::sip::core::Report;

/// Puts the answer together. `sessions` are the media sessions of the reported calls, in their order.
pub(super) async fn collect(
    report: Report,
    sessions: Vec<Option<Session>>,
    uptime: Duration,
    plane: Option<Plane>,
) -> Status {
    let mut calls = Vec::with_capacity(report.calls.len());
    for ((mut call, _), session) in report.calls.into_iter().zip(sessions) {
        if let (Some(plane), Some(session)) = (&plane, session) {
            add_legs(&mut call, plane, session).await;
        }
        calls.push(call);
    }
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: uptime.as_secs_f64(),
        relay: plane.as_ref().map(relay),
        registrations: report.registrations,
        calls,
        counters: report.counters,
    }
}

async fn add_legs(call: &mut Call, plane: &Plane, session: Session) {
    let Some(report) = plane.sessions.statistics(session.id).await else { return };
    call.legs = report.legs.iter().map(|leg| describe(leg, session.name(leg.side).to_string())).collect();
}

fn describe(leg: &LegReport, side: String) -> Leg {
    let counted = &leg.statistics;
    Leg {
        id: leg.name.clone(),
        side,
        medium: leg.medium,
        kind: match leg.kind {
            MediaKind::Rtp => "rtp",
            MediaKind::Rtcp => "rtcp",
            MediaKind::Muxed => "rtp+rtcp",
        }
        .to_owned(),
        local: leg.local.to_string(),
        remote: counted.remote.map(|remote| remote.to_string()),
        source: counted.source.map(|source| source.to_string()),
        path: counted.path.to_string(),
        paths: counted
            .paths
            .by_path()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(path, count)| (path.to_string(), count))
            .collect(),
        received: counted.received,
        received_bytes: counted.received_bytes,
        sent: counted.sent,
        sent_bytes: counted.sent_bytes,
        dropped: counted.dropped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        idle_seconds: counted.idle.as_secs_f64(),
        source_changes: counted.source_changes,
        quality: counted.quality.map(quality),
    }
}

pub(super) fn quality(measured: relay_user::Quality) -> Quality {
    Quality {
        ssrc: measured.ssrc,
        packets: measured.packets,
        expected: measured.expected,
        lost: measured.lost,
        reordered: measured.reordered,
        duplicates: measured.duplicates,
        jitter_ms: measured.jitter_time.map(|jitter| jitter.as_secs_f64() * 1_000.0),
        ssrc_changes: measured.ssrc_changes,
    }
}

fn relay(plane: &Plane) -> Relay {
    let (ports, punts) = (plane.sessions.ports(), plane.relay.punt_path());
    Relay {
        backend: plane.relay.backend().to_string(),
        interfaces: plane
            .relay
            .interfaces()
            .iter()
            .map(|interface| Interface {
                name: interface.name.clone(),
                state: interface.state.to_string(),
                mode: interface.mode.to_string(),
                reason: interface.reason.clone(),
            })
            .collect(),
        af_xdp: punts.map(|path| AfXdp {
            workers: path.workers,
            sockets: path.sockets,
            problem: path.problem,
        }),
        port_pairs: PortPairs { in_use: ports.in_use, resting: ports.quarantined, free: ports.free },
        orphans: orphans(&plane.orphans),
        counters: counters(&plane.relay),
        state: plane.state.as_ref().map(|state| state.display().to_string()),
        adopted: adopted(plane),
    }
}

/// What the data plane counted over all legs; of RTCP that ends here only what occurred.
fn counters(relay: &relay_user::Relay) -> BTreeMap<String, u64> {
    let rtcp = relay.rtcp_counters().named().into_iter().filter(|(_, count)| *count > 0);
    let counters = relay.counters().into_iter().chain(rtcp);
    counters.map(|(name, count)| (name.to_owned(), count)).collect()
}

fn orphans(orphans: &Orphans) -> Vec<Orphan> {
    let describe = |orphan: super::orphans::Orphan| Orphan {
        local: orphan.local.to_string(),
        source: orphan.source.to_string(),
        ssrc: orphan.ssrc,
        reports: orphan.reports,
        idle_seconds: orphan.last.elapsed().as_secs_f64(),
    };
    orphans.list().0.into_iter().map(describe).collect()
}

fn adopted(plane: &Plane) -> Vec<Leg> {
    let leg = |(leg, spec): (relay_user::LegId, relay_user::LegSpec)| {
        let statistics = plane.relay.statistics(leg)?;
        let report = LegReport {
            name: Some(leg.to_string()),
            medium: 0,
            side: crate::session::Side::Caller,
            kind: spec.media,
            local: spec.local,
            statistics,
        };
        Some(describe(&report, "adopted".to_owned()))
    };
    let mut legs: Vec<Leg> = plane.relay.adopted().into_iter().filter_map(leg).collect();
    legs.sort_by(|one, other| one.local.cmp(&other.local));
    legs
}
