//! The task that reports: takes in what arrives, and sends what is due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use relay_common::rtcp::Compound;
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use super::arrival::Arrival;
use super::desk::Desk;
use super::{Counts, Transmit, feedback};
use crate::leg::LegId;
use crate::shared::Shared;
use crate::tap;

/// How often it is looked which reports are due.
const LOOK: Duration = Duration::from_millis(100);

/// Every so many looks the legs are read anew.
const READ_EVERY: u32 = 5;

/// Longest report: one block, and two names of the greatest length.
const LONGEST: usize = 1_024;

/// Runs for as long as the relay.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut arrivals: mpsc::Receiver<Arrival>,
    counts: Arc<Counts>,
    transmit: impl Transmit,
) {
    let post = Post { counts, transmit };
    let mut desk = Desk::new();
    let mut interval = time::interval(LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(arrival) => arrived(&shared, &mut desk, &arrival, &post),
                None => return,
            },
            _ = interval.tick() => {
                if looks.is_multiple_of(READ_EVERY) {
                    read_legs(&shared, &mut desk).await;
                }
                looks = looks.wrapping_add(1);
                let due = shared.state().audience_due(Instant::now());
                shared.tell(due);
                report(&shared, &mut desk, &post).await;
            }
        }
    }
}

/// Remembers what RTCP says, and passes on what it asks for.
fn arrived(shared: &Shared, desk: &mut Desk, arrival: &Arrival, post: &Post<impl Transmit>) {
    let Ok(compound) = Compound::parse(&arrival.bytes) else {
        return Counts::add(&post.counts.malformed);
    };
    Counts::add(&post.counts.received);
    let events = shared.state().heard(arrival.leg, &compound, arrival.at);
    shared.tell(events);
    let account = shared.state().account(arrival.leg, arrival.at);
    let Some(account) = account else { return };
    desk.arrived(account.media, &compound, arrival.at);
    let asked = account.sends.and_then(|sends| {
        let rtcp = sends.feeder_rtcp?;
        Some((rtcp, shared.state().account(rtcp, arrival.at)?, desk.own_ssrc(rtcp)?, sends.mapping()?))
    });
    let Some((leg, source, own, stream)) = asked else { return };
    let mut buffer = [0; LONGEST];
    if let Some((bytes, remote)) =
        feedback::for_source(&compound, own, stream, &mut buffer).zip(source.remote)
    {
        if !desk.may_ask(leg, arrival.at) {
            return Counts::add(&post.counts.held_back);
        }
        post.send(shared, leg, (source.local, remote), bytes, &post.counts.feedback);
    }
}

/// Reads which legs there are.
async fn read_legs(shared: &Shared, desk: &mut Desk) {
    let (mut legs, mut first) = (Vec::new(), 0);
    loop {
        let (found, more) = shared.state().reporting(first);
        legs.extend(found);
        if !more {
            break;
        }
        first += crate::state::SLOTS_AT_ONCE;
        // Whoever waits for the lock has it now.
        time::sleep(Duration::ZERO).await;
    }
    desk.keep(&legs, Instant::now());
    let state = shared.state();
    desk.keep_sources(|leg| state.leg_of(leg.slot, leg.generation).is_some());
}

/// Sends the reports that are due.
async fn report(shared: &Shared, desk: &mut Desk, post: &Post<impl Transmit>) {
    let mut buffer = [0; LONGEST];
    let due: Vec<LegId> = std::iter::from_fn(|| desk.next_due(Instant::now())).collect();
    for leg in due {
        let now = Instant::now();
        let account = shared.state().account(leg, now);
        let told =
            account.and_then(|account| Some((account, account.remote.filter(|remote| remote.port() != 0)?)));
        let Some((account, remote)) = told else { continue };
        match desk.report(leg, &account, now, &mut buffer) {
            Ok(bytes) => post.send(shared, leg, (account.local, remote), bytes, &post.counts.reports),
            Err(error) => tracing::debug!(%leg, %error, "a report cannot be written"),
        }
        tokio::task::yield_now().await;
    }
}

/// Where what is to be sent goes.
struct Post<T> {
    counts: Arc<Counts>,
    transmit: T,
}

impl<T: Transmit> Post<T> {
    /// Sends what `leg` says, from one end to the other.
    fn send(
        &self,
        shared: &Shared,
        leg: LegId,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
        counter: &AtomicU64,
    ) {
        match self.transmit.transmit(from, to, bytes) {
            Ok(()) => {
                Counts::add(counter);
                tap::show_own(shared, leg, from, to, bytes);
            }
            Err(error) => {
                Counts::add(&self.counts.unsent);
                tracing::debug!(%to, %error, "RTCP cannot be sent");
            }
        }
    }
}
