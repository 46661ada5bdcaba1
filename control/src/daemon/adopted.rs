//! Media that a daemon before this one left running: nobody signals for it any more, so it ends when it falls silent.

use std::collections::HashMap;
use std::time::Duration;

use relay_user::{LegId, LegSpec};

use super::media::Plane;

/// How often adopted legs are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Silence after which adopted legs end where calls never do: nobody else can end them.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Watches over the adopted legs until the last of them has ended. Legs of one call end together, when all are silent.
pub(super) async fn watch(plane: Plane, timeout: Option<Duration>) {
    let timeout = timeout.unwrap_or(TIMEOUT);
    loop {
        let calls = calls(plane.relay.adopted());
        if calls.is_empty() {
            return;
        }
        for legs in calls.into_values() {
            let is_silent = |(leg, _): &(LegId, LegSpec)| {
                plane.relay.statistics(*leg).is_none_or(|counted| counted.idle >= timeout)
            };
            if legs.iter().all(is_silent) {
                end(&plane, &legs);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The legs of each call.
fn calls(legs: Vec<(LegId, LegSpec)>) -> HashMap<u64, Vec<(LegId, LegSpec)>> {
    let mut calls: HashMap<u64, Vec<_>> = HashMap::new();
    for (leg, spec) in legs {
        calls.entry(spec.owner).or_default().push((leg, spec));
    }
    calls
}

fn end(plane: &Plane, legs: &[(LegId, LegSpec)]) {
    let ids: Vec<LegId> = legs.iter().map(|(leg, _)| *leg).collect();
    let counted = plane.relay.remove(&ids);
    for (_, spec) in legs {
        plane.sessions.release_port(spec.local);
    }
    let received: u64 = counted.iter().map(|leg| leg.received).sum();
    let sent: u64 = counted.iter().map(|leg| leg.sent).sum();
    tracing::info!(legs = legs.len(), received, sent, "adopted media fell silent and was ended");
}
