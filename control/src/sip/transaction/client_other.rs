//! The client transaction of every request but INVITE and ACK: RFC 3261 section 17.1.2.

use std::time::Duration;

use super::{Action, Timer, Timing};

/// Where a request that we sent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOther {
    /// Sent; no response yet.
    Trying {
        /// How long after the next retransmission the one after it follows.
        interval: Duration,
    },
    /// A provisional response arrived.
    Proceeding,
    /// A final response arrived.
    Completed,
    /// Over.
    Terminated,
}

impl ClientOther {
    /// The request is to be sent now.
    #[must_use]
    pub fn start(timing: &Timing) -> (Self, Vec<Action>) {
        let mut actions = vec![Action::Send, Action::Set(Timer::F, timing.answer())];
        if !timing.reliable {
            actions.push(Action::Set(Timer::E, timing.timers.t1));
        }
        (Self::Trying { interval: (timing.timers.t1 * 2).min(timing.timers.t2) }, actions)
    }

    /// A response arrived.
    #[must_use]
    pub fn response(self, status: u16, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, status) {
            (Self::Trying { .. } | Self::Proceeding, 0..=199) => (Self::Proceeding, vec![Action::PassUp]),
            (Self::Trying { .. } | Self::Proceeding, _) => {
                let linger = Action::Set(Timer::K, timing.absorb(timing.timers.t4));
                (Self::Completed, vec![Action::PassUp, linger])
            }
            (Self::Completed | Self::Terminated, _) => (self, Vec::new()),
        }
    }

    /// A timer fired.
    #[must_use]
    pub fn timer(self, timer: Timer, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, timer) {
            (Self::Trying { interval }, Timer::E) => {
                let longer = (interval * 2).min(timing.timers.t2);
                (Self::Trying { interval: longer }, vec![Action::Send, Action::Set(Timer::E, interval)])
            }
            (Self::Proceeding, Timer::E) => {
                (self, vec![Action::Send, Action::Set(Timer::E, timing.timers.t2)])
            }
            (Self::Trying { .. } | Self::Proceeding, Timer::F) => {
                (Self::Terminated, vec![Action::TimedOut, Action::Terminate])
            }
            (Self::Completed, Timer::K) => (Self::Terminated, vec![Action::Terminate]),
            _ => (self, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transaction::fixtures::{TCP, UDP, ms};

    #[test]
    fn timer_e_doubles_up_to_t2_until_timer_f() {
        let (mut state, actions) = ClientOther::start(&UDP);
        assert_eq!(
            actions,
            [Action::Send, Action::Set(Timer::F, ms(32_000)), Action::Set(Timer::E, ms(500))]
        );
        for interval in [1_000, 2_000, 4_000, 4_000, 4_000] {
            let (next, actions) = state.timer(Timer::E, &UDP);
            assert_eq!(actions, [Action::Send, Action::Set(Timer::E, ms(interval))]);
            state = next;
        }
        assert_eq!(
            state.timer(Timer::F, &UDP),
            (ClientOther::Terminated, vec![Action::TimedOut, Action::Terminate])
        );
    }

    #[test]
    fn provisional_response_slows_retransmission_to_t2_and_timer_f_still_runs() {
        let (state, actions) = ClientOther::start(&UDP).0.response(100, &UDP);
        assert_eq!((state, actions), (ClientOther::Proceeding, vec![Action::PassUp]));
        assert_eq!(
            state.timer(Timer::E, &UDP),
            (state, vec![Action::Send, Action::Set(Timer::E, ms(4_000))])
        );
        let (state, actions) = state.timer(Timer::F, &UDP);
        assert_eq!((state, actions), (ClientOther::Terminated, vec![Action::TimedOut, Action::Terminate]));
    }

    #[test]
    fn final_response_is_passed_up_once_and_absorbed_for_t4() {
        let (state, actions) = ClientOther::start(&UDP).0.response(200, &UDP);
        assert_eq!(actions, [Action::PassUp, Action::Set(Timer::K, ms(5_000))]);
        assert_eq!(state.response(200, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::E, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::K, &UDP), (ClientOther::Terminated, vec![Action::Terminate]));
    }

    #[test]
    fn reliable_transport_neither_retransmits_nor_absorbs() {
        let (state, actions) = ClientOther::start(&TCP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::F, ms(32_000))]);
        assert_eq!(state.response(200, &TCP).1, [Action::PassUp, Action::Set(Timer::K, Duration::ZERO)]);
    }
}
