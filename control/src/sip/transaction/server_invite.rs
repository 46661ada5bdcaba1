//! The INVITE server transaction: RFC 3261 section 17.2.1 as corrected by RFC 6026 section 7.1.

use std::time::Duration;

use super::{Action, Timer, Timing};

/// Where an INVITE that we received stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerInvite {
    /// No final response was given yet.
    Proceeding,
    /// A final response that is not 2xx was sent; its ACK is awaited.
    Completed {
        /// How long after the next retransmission the one after it follows.
        interval: Duration,
    },
    /// The ACK of a final response that is not 2xx arrived.
    Confirmed,
    /// A 2xx was sent; its retransmissions are the user's.
    Accepted,
    /// Over.
    Terminated,
}

impl ServerInvite {
    /// The same INVITE arrived again.
    #[must_use]
    pub fn retransmission(self) -> (Self, Vec<Action>) {
        match self {
            Self::Proceeding | Self::Completed { .. } => (self, vec![Action::Send]),
            // The user retransmits its 2xx; answering here too would only add copies (RFC 6026 section 7.1).
            Self::Accepted | Self::Confirmed | Self::Terminated => (self, Vec::new()),
        }
    }

    /// The user gives a response, which has been stored as the last one.
    #[must_use]
    pub fn respond(self, status: u16, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, status) {
            (Self::Proceeding, 0..=199) | (Self::Accepted, 200..=299) => (self, vec![Action::Send]),
            (Self::Proceeding, 200..=299) => {
                (Self::Accepted, vec![Action::Send, Action::Set(Timer::L, timing.answer())])
            }
            (Self::Proceeding, _) => {
                let mut actions = vec![Action::Send, Action::Set(Timer::H, timing.answer())];
                if !timing.reliable {
                    actions.push(Action::Set(Timer::G, timing.timers.t1));
                }
                (Self::Completed { interval: (timing.timers.t1 * 2).min(timing.timers.t2) }, actions)
            }
            _ => (self, Vec::new()),
        }
    }

    /// An ACK with the branch of the INVITE arrived.
    #[must_use]
    pub fn ack(self, timing: &Timing) -> (Self, Vec<Action>) {
        match self {
            Self::Completed { .. } => {
                (Self::Confirmed, vec![Action::Set(Timer::I, timing.absorb(timing.timers.t4))])
            }
            // Some peers reuse the branch for the ACK of a 2xx (RFC 6026 section 7.1).
            Self::Accepted => (self, vec![Action::PassUp]),
            Self::Proceeding | Self::Confirmed | Self::Terminated => (self, Vec::new()),
        }
    }

    /// A timer fired.
    #[must_use]
    pub fn timer(self, timer: Timer, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, timer) {
            (Self::Completed { interval }, Timer::G) => {
                let longer = (interval * 2).min(timing.timers.t2);
                (Self::Completed { interval: longer }, vec![Action::Send, Action::Set(Timer::G, interval)])
            }
            (Self::Completed { .. }, Timer::H) => {
                (Self::Terminated, vec![Action::TimedOut, Action::Terminate])
            }
            (Self::Confirmed, Timer::I) | (Self::Accepted, Timer::L) => {
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
    fn retransmitted_invite_gets_the_last_response_again() {
        let state = ServerInvite::Proceeding;
        assert_eq!(state.respond(180, &UDP), (state, vec![Action::Send]));
        assert_eq!(state.retransmission(), (state, vec![Action::Send]));
        let (state, _) = state.respond(486, &UDP);
        assert_eq!(state.retransmission(), (state, vec![Action::Send]));
    }

    #[test]
    fn refusal_is_retransmitted_by_timer_g_up_to_t2_until_timer_h() {
        let (mut state, actions) = ServerInvite::Proceeding.respond(486, &UDP);
        assert_eq!(
            actions,
            [Action::Send, Action::Set(Timer::H, ms(32_000)), Action::Set(Timer::G, ms(500))]
        );
        for interval in [1_000, 2_000, 4_000, 4_000] {
            let (next, actions) = state.timer(Timer::G, &UDP);
            assert_eq!(actions, [Action::Send, Action::Set(Timer::G, ms(interval))]);
            state = next;
        }
        assert_eq!(
            state.timer(Timer::H, &UDP),
            (ServerInvite::Terminated, vec![Action::TimedOut, Action::Terminate])
        );
    }

    #[test]
    fn refusal_over_tcp_is_sent_once_but_timer_h_still_runs() {
        let (_, actions) = ServerInvite::Proceeding.respond(486, &TCP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::H, ms(32_000))]);
    }

    #[test]
    fn ack_of_a_refusal_is_absorbed_for_t4() {
        let (state, _) = ServerInvite::Proceeding.respond(486, &UDP);
        let (state, actions) = state.ack(&UDP);
        assert_eq!((state, actions), (ServerInvite::Confirmed, vec![Action::Set(Timer::I, ms(5_000))]));
        assert_eq!(state.ack(&UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::G, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::I, &UDP), (ServerInvite::Terminated, vec![Action::Terminate]));
    }

    #[test]
    fn accepted_absorbs_the_invite_and_passes_up_the_ack_until_timer_l() {
        let (state, actions) = ServerInvite::Proceeding.respond(200, &UDP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::L, ms(32_000))]);
        assert_eq!(state.retransmission(), (state, vec![]));
        assert_eq!(state.respond(200, &UDP), (state, vec![Action::Send]));
        assert_eq!(state.respond(486, &UDP), (state, vec![]));
        assert_eq!(state.ack(&UDP), (state, vec![Action::PassUp]));
        assert_eq!(state.timer(Timer::L, &UDP), (ServerInvite::Terminated, vec![Action::Terminate]));
    }
}
