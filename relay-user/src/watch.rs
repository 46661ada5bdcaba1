//! The tasks that keep the kernel's tables true while media runs: changes of the network, events of the program, and
//! a regular look for what an event may have missed.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, ptr};

use aya::maps::{MapData, RingBuf};
use relay_common::event::{self as kind, Event as Record};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::event::Event;
use crate::leg::LegId;
use crate::netlink::Change;
use crate::next_hops::Via;
use crate::shared::Shared;

/// Routes usually change in bundles: this long after the first, all are looked at together.
const ROUTES_SETTLE: Duration = Duration::from_millis(50);

/// How often the tables are looked over: learned sources whose event was lost, neighbours to be confirmed.
const LOOK_OVER: Duration = Duration::from_secs(1);

/// How often the network is read anew, in case that changes came faster than they could be read.
const READ_AGAIN: Duration = Duration::from_secs(15);

/// Every so many looks neighbours are confirmed: the kernel does not see that media uses them, and forgets them.
const CONFIRM_EVERY: u32 = 15;

/// Starts the tasks.
///
/// # Errors
/// The event ring cannot be polled.
pub(crate) fn start(
    shared: &Arc<Shared>,
    changes: mpsc::Receiver<Change>,
    events: RingBuf<MapData>,
) -> io::Result<Vec<JoinHandle<()>>> {
    // SAFETY: the ring owns its descriptor, never replaces it, and lives as long as the registration.
    let events = unsafe { AsyncFd::register(events) }?;
    Ok(vec![
        tokio::spawn(network(Arc::clone(shared), changes)),
        tokio::spawn(program(Arc::clone(shared), events)),
        tokio::spawn(look_over(Arc::clone(shared))),
    ])
}

/// Applies changes of links, neighbours and routes. The regular reading happens here too, so that what it finds is
/// never applied over a change that is newer: such a change still waits in the queue.
async fn network(shared: Arc<Shared>, mut changes: mpsc::Receiver<Change>) {
    let mut regular = time::interval_at(Instant::now() + READ_AGAIN, READ_AGAIN);
    regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settled: Option<Instant> = None;
    loop {
        let wait_for_routes = time::sleep_until(settled.unwrap_or_else(Instant::now));
        let change = tokio::select! {
            change = changes.recv() => change,
            () = wait_for_routes, if settled.is_some() => {
                settled = None;
                reroute(&shared).await;
                continue;
            }
            _ = regular.tick() => {
                read_again(&shared).await;
                reroute(&shared).await;
                continue;
            }
        };
        match change {
            None => return,
            Some(Change::Routes) => {
                settled.get_or_insert_with(|| Instant::now() + ROUTES_SETTLE);
            }
            Some(Change::Link(link)) => shared.state().next_hops.link_changed(link),
            Some(Change::LinkGone(index)) => shared.state().next_hops.link_gone(index),
            // One in use that the kernel forgot is asked for again by `look_over`.
            Some(Change::Neighbour(neighbour)) => shared.state().next_hops.neighbour_changed(&neighbour),
        }
        shared.resolved.notify_waiters();
    }
}

/// Finds every next hop anew. Each destination is asked for once, however many legs send there.
async fn reroute(shared: &Shared) {
    let mut found = HashMap::new();
    let senders = shared.state().senders();
    for (leg, local, remote, old) in senders {
        let pair = (*remote.ip(), *local.ip());
        let via = match found.get(&pair) {
            Some(via) => *via,
            None => {
                let via = shared.via(pair.0, pair.1).await;
                let via = via.inspect_err(|error| tracing::warn!(%error, "media has nowhere to go")).ok();
                found.insert(pair, via);
                via
            }
        };
        match via.and_then(|via| shared.acquire(via, pair.0).ok()) {
            Some(hop) if Some(hop) == old => shared.state().next_hops.release(hop),
            hop => shared.state().change_hop(leg, remote, hop),
        }
    }
}

/// Reads links and neighbours anew.
async fn read_again(shared: &Shared) {
    match (shared.netlink.links().await, shared.netlink.neighbours().await) {
        (Ok(links), Ok(neighbours)) => {
            let mut state = shared.state();
            for link in links {
                state.next_hops.link_changed(link);
            }
            for neighbour in &neighbours {
                state.next_hops.neighbour_changed(neighbour);
            }
        }
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "links and neighbours cannot be read"),
    }
    shared.resolved.notify_waiters();
}

/// Reads the program's events.
async fn program(shared: Arc<Shared>, mut events: AsyncFd<RingBuf<MapData>>) {
    loop {
        let Ok(mut ready) = events.readable_mut().await else {
            return;
        };
        let mut records = Vec::new();
        while let Some(item) = ready.get_inner_mut().next() {
            records.extend(read(&item));
        }
        ready.clear_ready();
        for record in records {
            apply(&shared, record).await;
        }
    }
}

/// One record of the ring.
fn read(bytes: &[u8]) -> Option<Record> {
    if bytes.len() < size_of::<Record>() {
        return None;
    }
    // SAFETY: long enough, as just checked; any bits are a value of the record; read without regard to alignment.
    Some(unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

async fn apply(shared: &Shared, record: Record) {
    let Some(leg) = shared.state().leg_of(record.leg, record.generation) else {
        return;
    };
    let source = Ipv6Addr::from(record.source.octets()).to_canonical();
    let source = SocketAddr::from((source, record.source_port.get()));
    let event = match record.kind {
        kind::SOURCE_LEARNED => {
            follow(shared, leg).await;
            Event::SourceLearned { leg, source }
        }
        kind::SOURCE_REFUSED => Event::SourceRefused { leg, source },
        kind::NEXT_HOP_UNRESOLVED => {
            let via = shared.state().next_hops.via(record.next_hop);
            if let Some(via) = via {
                ask_for(shared, via).await;
            }
            Event::NextHopUnresolved { leg }
        }
        _ => return,
    };
    // Nobody may be listening.
    let _ = shared.events.send(event);
}

/// Sends media for a leg's remote side to where its admitted source is (symmetric RTP, RFC 4961).
async fn follow(shared: &Shared, leg: LegId) {
    let found = {
        let state = shared.state();
        state.stray(leg).zip(state.local(leg))
    };
    let Some((source, (local, sends))) = found else {
        return;
    };
    let hop = if sends {
        // Without waiting for the neighbour: strangers may be learned too, and must not hold up the others.
        match shared.unresolved_next_hop(SocketAddr::V4(source), local).await {
            Ok((hop, via)) => {
                ask_for(shared, via).await;
                Some(hop)
            }
            Err(error) => {
                tracing::debug!(%source, %error, "media cannot follow a learned source");
                return;
            }
        }
    } else {
        None
    };
    let mut state = shared.state();
    // The source may have been told anew meanwhile.
    if state.stray(leg) == Some(source) {
        state.move_remote(leg, Some(source), hop);
    } else if let Some(hop) = hop {
        state.next_hops.release(hop);
    }
}

/// Looks for what no event told.
async fn look_over(shared: Arc<Shared>) {
    let mut interval = time::interval(LOOK_OVER);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        interval.tick().await;
        looks = looks.wrapping_add(1);
        shared.taps.mark(&shared.state());
        let strayed = shared.state().strayed();
        for (leg, _) in strayed {
            follow(&shared, leg).await;
        }
        let confirm = looks.is_multiple_of(CONFIRM_EVERY);
        let neighbours = shared.state().next_hops.to_confirm(confirm);
        for via in neighbours {
            ask_for(&shared, via).await;
        }
    }
}

/// Asks the kernel for a neighbour's MAC address, or to confirm it. It comes as a change.
async fn ask_for(shared: &Shared, via: Via) {
    if let Err(error) = shared.netlink.look_for(via.interface, via.address).await {
        tracing::debug!(neighbour = %via.address, %error, "cannot ask for a neighbour");
    }
}
