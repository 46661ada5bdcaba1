//! How RTCP comes from the threads that take packets to the one task that reports. They never wait for it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::counters::Counts;
use crate::leg::LegId;

/// Packets that may wait; those beyond are lost, and counted. Each leg is told something every few seconds, so this is
/// the RTCP of some ten thousand legs for as long as the task may be late.
const WAITING: usize = 4_096;

/// Longest RTCP that is read: what an Ethernet frame carries.
const LONGEST: usize = 1_500;

/// An RTCP packet whose way ends here.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The leg that it arrived on.
    pub(crate) leg: LegId,
    /// When.
    pub(crate) at: Instant,
    /// The UDP payload.
    pub(crate) bytes: Box<[u8]>,
}

/// Where whoever takes packets puts RTCP. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sender: mpsc::Sender<Arrival>,
    counts: Arc<Counts>,
}

/// An inbox, and what comes out of it.
pub(crate) fn inbox() -> (Inbox, mpsc::Receiver<Arrival>) {
    let (sender, arrivals) = mpsc::channel(WAITING);
    (Inbox { sender, counts: Arc::default() }, arrivals)
}

impl Inbox {
    /// Takes a packet that arrived on a leg. Where there is no place for it, it is lost: RTCP is repeated.
    pub(crate) fn put(&self, leg: LegId, payload: &[u8]) {
        let taken = payload.len() <= LONGEST
            && self.sender.try_reserve().is_ok_and(|place| {
                place.send(Arrival { leg, at: Instant::now(), bytes: payload.into() });
                true
            });
        if !taken {
            Counts::add(&self.counts.lost);
        }
    }

    /// What became of what was put in.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let (inbox, mut arrivals) = inbox();
        let leg = LegId { slot: 1, generation: 1 };
        inbox.put(leg, &[0; LONGEST + 1]);
        for _ in 0..=WAITING {
            inbox.put(leg, &[1, 2]);
        }
        assert_eq!(inbox.counts().read().lost, 2);
        assert_eq!(&*arrivals.try_recv().unwrap().bytes, [1, 2]);
    }
}
