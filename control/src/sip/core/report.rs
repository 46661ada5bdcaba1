//! The core's account of itself for `culvert status`.

use std::time::Instant;

use super::Core;
use crate::admin;
use crate::sip::call::{MediaId, State};

/// What the core knows; the legs of the calls are the media plane's to tell.
#[derive(Debug, Default)]
pub struct Report {
    /// Who is registered.
    pub registrations: Vec<admin::Registration>,
    /// Calls, oldest first, and the media session of each that has one.
    pub calls: Vec<(admin::Call, Option<MediaId>)>,
    /// Counters by name.
    pub counters: std::collections::BTreeMap<String, u64>,
}

impl Core {
    /// The state now.
    #[must_use]
    pub fn report(&self, now: Instant) -> Report {
        let registrations = self
            .registrar
            .all(now)
            .into_iter()
            .map(|(user, binding)| admin::Registration {
                user: user.to_owned(),
                contact: binding.contact.to_string(),
                source: binding.flow.to_string(),
                expires_in_seconds: binding.expires_at.saturating_duration_since(now).as_secs(),
            })
            .collect();
        let mut calls: Vec<_> = self.calls.values().filter(|call| !call.is_over()).collect();
        calls.sort_by_key(|call| call.id);
        let calls = calls
            .into_iter()
            .map(|call| {
                let (state, branch) = match &call.state {
                    State::Ringing => ("ringing", None),
                    State::Answering { branch, .. } => ("ringing", Some(*branch)),
                    State::Established(established) => ("established", Some(established.branch)),
                    State::Ended(_) => ("ending", None),
                };
                let media = branch
                    .filter(|branch| call.branches.get(*branch).is_some_and(|held| held.media.exists()));
                let told = admin::Call {
                    id: call.name.clone(),
                    from: call.from.clone(),
                    to: call.to.clone(),
                    mode: call.mode,
                    state: state.to_owned(),
                    age_seconds: now.saturating_duration_since(call.started).as_secs_f64(),
                    setup_ms: call.answered.map(|at| at.duration_since(call.started).as_secs_f64() * 1_000.0),
                    legs: Vec::new(),
                };
                (told, media.map(|branch| MediaId { call: call.id, branch }))
            })
            .collect();
        let mut counters = self.counters.snapshot();
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        counters.insert("gauge_calls".to_owned(), gauge(self.calls.len()));
        counters.insert("gauge_registrations".to_owned(), gauge(self.registrar.len()));
        counters.insert("gauge_transactions".to_owned(), gauge(self.transactions.len()));
        Report { registrations, calls, counters }
    }
}
