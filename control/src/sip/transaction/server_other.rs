//! The server transaction of every request but INVITE and ACK: RFC 3261 section 17.2.2.

use super::{Action, Timer, Timing};

/// Where a request that we received stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOther {
    /// No response was given yet.
    Trying,
    /// A provisional response was given.
    Proceeding,
    /// A final response was given.
    Completed,
    /// Over.
    Terminated,
}

impl ServerOther {
    /// The same request arrived again.
    #[must_use]
    pub fn retransmission(self) -> (Self, Vec<Action>) {
        match self {
            Self::Proceeding | Self::Completed => (self, vec![Action::Send]),
            Self::Trying | Self::Terminated => (self, Vec::new()),
        }
    }

    /// The user gives a response, which has been stored as the last one.
    #[must_use]
    pub fn respond(self, status: u16, timing: &Timing) -> (Self, Vec<Action>) {
        match (self, status) {
            (Self::Trying | Self::Proceeding, 0..=199) => (Self::Proceeding, vec![Action::Send]),
            (Self::Trying | Self::Proceeding, _) => {
                let linger = Action::Set(Timer::J, timing.absorb(timing.answer()));
                (Self::Completed, vec![Action::Send, linger])
            }
            (Self::Completed | Self::Terminated, _) => (self, Vec::new()),
        }
    }

    /// A timer fired.
    #[must_use]
    pub fn timer(self, timer: Timer, _timing: &Timing) -> (Self, Vec<Action>) {
        match (self, timer) {
            (Self::Completed, Timer::J) => (Self::Terminated, vec![Action::Terminate]),
            _ => (self, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sip::transaction::fixtures::{TCP, UDP};

    #[test]
    fn request_that_was_not_answered_yet_is_absorbed() {
        assert_eq!(ServerOther::Trying.retransmission(), (ServerOther::Trying, vec![]));
    }

    #[test]
    fn final_response_is_repeated_for_each_retransmission_until_timer_j() {
        let (state, actions) = ServerOther::Trying.respond(200, &UDP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::J, Duration::from_secs(32))]);
        assert_eq!(state.retransmission(), (state, vec![Action::Send]));
        assert_eq!(state.respond(500, &UDP), (state, vec![]));
        assert_eq!(state.timer(Timer::J, &UDP), (ServerOther::Terminated, vec![Action::Terminate]));
    }

    #[test]
    fn reliable_transport_has_nothing_to_absorb() {
        let (_, actions) = ServerOther::Trying.respond(200, &TCP);
        assert_eq!(actions, [Action::Send, Action::Set(Timer::J, Duration::ZERO)]);
    }
}
