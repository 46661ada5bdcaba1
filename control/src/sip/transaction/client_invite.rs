//! The INVITE client transaction: RFC 3261 section 17.1.1 as corrected by RFC 6026 section 7.2.

use std::time::Duration;

use super::{Action, Timer, Timing};

/// How long retransmitted final responses are absorbed on an unreliable transport: at least 32 s (RFC 3261
/// section 17.1.1.2).
const TIMER_D: Duration = Duration::from_secs(32);

/// Where an INVITE that we sent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInvite {
    /// Sent; no response yet.
    Calling {
        /// How long after the next retransmission the one after it follows.
        interval: Duration,
    },
    /// A provisional response arrived.
    Proceeding,
    /// A final response that is not 2xx arrived and was acknowledged.
    Completed,
    /// A 2xx arrived; its ACK is the user's, and so are its retransmissions.
    Accepted,
    /// Over.
    Terminated,
}

impl ClientInvite {
    /// The request is to be sent now.
    #[must_use]
    pub fn start(timing: &Timing) -> (Self, Vec<Action>) {
        let mut actions = vec![Action::Send, Action::Set(Timer::B, timing.answer())];
        if !timing.reliable {
            actions.push(Action::Set(Timer::A, timing.timers.t1));
        }
        (Self::Calling { interval: timing.timers.t1 * 2 }, actions)
    }

    /// A response arrived.
    #[must_use]
    pub fn response(self, status: u16, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, status) {
            (Self::Calling { .. } | Self::Proceeding, 0..=199) => (Self::Proceeding, vec![Action::PassUp]),
            (Self::Calling { .. } | Self::Proceeding, 200..=299) => {
                (Self::Accepted, vec![Action::PassUp, Action::Set(Timer::M, timing.answer())])
            }
            (Self::Calling { .. } | Self::Proceeding, _) => {
                let linger = Action::Set(Timer::D, timing.absorb(TIMER_D.max(timing.answer())));
                (Self::Completed, vec![Action::SendAck, Action::PassUp, linger])
            }
            (Self::Completed, 300..) => (self, vec![Action::SendAck]),
            (Self::Accepted, 200..=299) => (self, vec![Action::PassUp]),
            (Self::Completed | Self::Accepted | Self::Terminated, _) => (self, Vec::new()),
        }
    }

    /// A timer fired.
    #[must_use]
    pub fn timer(self, timer: Timer, _timing: &Timing) -> (Self, Vec<Action>) {
        match (self, timer) {
            (Self::Calling { interval }, Timer::A) => (
                Self::Calling { interval: interval * 2 },
                vec![Action::Send, Action::Set(Timer::A, interval)],
            ),
            (Self::Calling { .. }, Timer::B) => (Self::Terminated, vec![Action::TimedOut, Action::Terminate]),
            (Self::Completed, Timer::D) | (Self::Accepted, Timer::M) => {
                (Self::Terminated, vec![Action::Terminate])
            }
            _ => (self, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transaction::fixtures::{TCP, UDP, ms};

    #[test]
    fn timer_a_doubles_without_a_cap_until_timer_b() {
        let (mut state, actions) = ClientInvite::start(&UDP);
        assert_eq!(
            actions,
            [Action::Send, Action::Set(Timer::B, ms(32_000)), Action::Set(Timer::A, ms(500))]
        );
        for interval in [1_000, 2_000, 4_000, 8_000, 16_000] {
            let (next, actions) = state.timer(Timer::A, &UDP);
            assert_eq!(actions, [Action::Send, Action::Set(Timer::A, ms(interval))]);
            state = next;
        }
        assert_eq!(
            state.timer(Timer::B, &UDP),
            (ClientInvite::Terminated, vec![Action::TimedOut, Action::Terminate])
        );
    }

    #[test]
    fn reliable_transport_never_retransmits() {
        let (_, actions) = ClientInvite::start(&TCP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::B, ms(32_000))]);
    }

    #[test]
    fn provisional_response_stops_retransmission_and_timer_b() {
        let (state, actions) = ClientInvite::start(&UDP).0.response(180, &UDP);
        assert_eq!((state, actions), (ClientInvite::Proceeding, vec![Action::PassUp]));
        assert_eq!(state.timer(Timer::A, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::B, &UDP), (state, vec![]));
        assert_eq!(state.response(183, &UDP), (state, vec![Action::PassUp]));
    }

    #[test]
    fn refusal_is_acknowledged_each_time_but_passed_up_once() {
        let (state, actions) = ClientInvite::start(&UDP).0.response(486, &UDP);
        assert_eq!(actions, [Action::SendAck, Action::PassUp, Action::Set(Timer::D, ms(32_000))]);
        assert_eq!(state.response(486, &UDP), (state, vec![Action::SendAck]));
        assert_eq!(state.response(200, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::D, &UDP), (ClientInvite::Terminated, vec![Action::Terminate]));
    }

    #[test]
    fn refusal_over_tcp_ends_the_transaction_at_once() {
        let (_, actions) = ClientInvite::start(&TCP).0.response(486, &TCP);
        assert_eq!(actions.last(), Some(&Action::Set(Timer::D, Duration::ZERO)));
    }

    #[test]
    fn accepted_passes_up_every_2xx_until_timer_m_and_nothing_else() {
        let (state, actions) = ClientInvite::start(&UDP).0.response(200, &UDP);
        assert_eq!(actions, [Action::PassUp, Action::Set(Timer::M, ms(32_000))]);
        assert_eq!(state.response(200, &UDP), (state, vec![Action::PassUp]));
        assert_eq!(state.response(486, &UDP), (state, vec![]));
        assert_eq!(state.response(180, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::M, &UDP), (ClientInvite::Terminated, vec![Action::Terminate]));
    }
}
