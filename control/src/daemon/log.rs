//! The log line of a call: one, at its end, with everything that is asked first when somebody complains.

use super::media::Session;
use crate::session::{LegReport, SessionReport};
use crate::sip::call::CallRecord;

/// Logs a call that has ended.
pub(super) fn ended(record: &CallRecord, media: Option<&(Session, SessionReport)>) {
    let setup_ms = record.setup.map(|setup| setup.as_secs_f64() * 1_000.0);
    let seconds = record.duration.map(|duration| duration.as_secs_f64());
    tracing::info!(
        call = record.name,
        from = record.from,
        to = record.to,
        mode = %record.mode,
        setup_ms,
        seconds,
        status = record.status,
        reason = record.reason,
        legs = media.map(legs),
        "call ended"
    );
}

/// `caller 0 rtp: received 250 sent 250 dropped 0`, for each leg.
fn legs((session, report): &(Session, SessionReport)) -> String {
    let leg = |leg: &LegReport| {
        let counted = &leg.statistics;
        let dropped: u64 = counted.dropped.iter().map(|(_, count)| count).sum();
        let (side, kind) = (session.name(leg.side), format!("{:?}", leg.kind).to_ascii_lowercase());
        let (received, sent) = (counted.received, counted.sent);
        format!("{side} {} {kind}: received {received} sent {sent} dropped {dropped}", leg.medium)
    };
    report.legs.iter().map(leg).collect::<Vec<_>>().join(", ")
}
