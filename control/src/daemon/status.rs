//! The answer to `culvert status`.

use std::time::Duration;

use crate::admin::Status;
use crate::sip::core::Report;

pub(super) async fn collect(report: Report, uptime: Duration, _plane: ()) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: uptime.as_secs_f64(),
        relay: None,
        registrations: report.registrations,
        calls: report.calls.into_iter().map(|(call, _)| call).collect(),
        counters: report.counters,
    }
}
