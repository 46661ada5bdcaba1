//! Media that comes to ports of no session: who sends it, for `culvert status` and, rarely, the log. Somebody who was
//! not told that a call is over, or who looks for ports that are open.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use relay_user::{Event, Relay};
use tokio::sync::broadcast::error::RecvError;

/// Senders that are remembered; beyond, the one that was silent for longest is forgotten.
const MOST: usize = 64;

/// Least time between two lines of the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One sender of media that nobody expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orphan {
    /// Our address and port.
    pub(super) local: SocketAddr,
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// SSRC of its newest packet; `None` where that is neither RTP nor RTCP.
    pub(super) ssrc: Option<u32>,
    /// How often it was reported; the data plane reports a sample.
    pub(super) reports: u64,
    /// When last.
    pub(super) last: Instant,
}

/// Everybody who sends media that nobody expects.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans(Arc<Mutex<Register>>);

#[derive(Debug, Default)]
struct Register {
    senders: Vec<Orphan>,
    reports: u64,
    /// Reports when the log was written last, and when that was.
    logged: Option<(u64, Instant)>,
}

impl Orphans {
    /// Listens to the data plane until it ends.
    pub(super) fn listen(&self, relay: &Relay) {
        let (orphans, mut events) = (self.clone(), relay.subscribe());
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(Event::Orphan { local, source, ssrc }) => {
                        let ssrc = (ssrc != 0).then_some(ssrc);
                        if let Some(reports) = orphans.lock().note(local, source, ssrc, Instant::now()) {
                            tracing::warn!(
                                %source, %local, ssrc, reports,
                                "media comes to a port of no session; `culvert status` lists who sends it"
                            );
                        }
                    }
                    // What was missed was a sample anyway.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Those that are remembered, the newest first, and how many reports there were in all.
    pub(super) fn list(&self) -> (Vec<Orphan>, u64) {
        let register = self.lock();
        let mut senders = register.senders.clone();
        senders.sort_unstable_by_key(|orphan| std::cmp::Reverse(orphan.last));
        (senders, register.reports)
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    /// Takes a report in. Returns how many there were since the log was written last, if it is to be written.
    fn note(
        &mut self,
        local: SocketAddr,
        source: SocketAddr,
        ssrc: Option<u32>,
        now: Instant,
    ) -> Option<u64> {
        self.reports += 1;
        let known = self.senders.iter_mut().find(|known| (known.local, known.source) == (local, source));
        if let Some(known) = known {
            known.reports += 1;
            (known.ssrc, known.last) = (ssrc, now);
        } else {
            if self.senders.len() >= MOST
                && let Some(oldest) =
                    (0..MOST).min_by_key(|at| self.senders.get(*at).map(|orphan| orphan.last))
            {
                self.senders.swap_remove(oldest);
            }
            self.senders.push(Orphan { local, source, ssrc, reports: 1, last: now });
        }
        let (before, due) = match self.logged {
            Some((before, at)) => (before, now.duration_since(at) >= LOG_INTERVAL),
            None => (0, true),
        };
        due.then(|| {
            self.logged = Some((self.reports, now));
            self.reports - before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn strangers_make_neither_the_list_nor_the_log_grow() {
        let (mut register, start) = (Register::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..1_000_u16 {
            let now = start + Duration::from_secs(second.into());
            lines.extend(register.note(address(30_000), address(second), None, now));
            register.note(address(30_000), address(1), Some(7), now);
        }
        assert_eq!(register.senders.len(), MOST);
        assert_eq!(register.reports, 2_000);
        assert_eq!(
            (lines.len(), lines[0], lines[1]),
            (100, 1, 20),
            "one line in ten seconds, with what it stands for"
        );
        let busy = register.senders.iter().find(|orphan| orphan.source == address(1)).unwrap();
        assert!(
            busy.reports >= 1_000 && busy.ssrc == Some(7),
            "who goes on sending is not forgotten: {busy:?}"
        );
    }
}
