//! The log line of a call: one, at its end, with everything that is asked first when somebody complains.

use crate::session::SessionReport;
use crate::sip::call::CallRecord;

/// Logs a call that has ended.
pub(super) fn ended(record: &CallRecord, media: Option<&SessionReport>) {
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

/// `caller:0:rtp received=250 sent=250 dropped=0`, for each leg.
fn legs(report: &SessionReport) -> String {
    let leg = |leg: &crate::session::LegReport| {
        let dropped: u64 = leg.statistics.dropped.iter().map(|(_, count)| count).sum();
        format!(
            "{:?}:{}:{:?} received={} sent={} dropped={dropped}",
            leg.side, leg.medium, leg.kind, leg.statistics.received, leg.statistics.sent
        )
        .to_ascii_lowercase()
    };
    report.legs.iter().map(leg).collect::<Vec<_>>().join(", ")
}
