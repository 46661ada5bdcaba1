//! The tasks that keep the kernel's tables true while media runs: changes of the network, events of the program, and
//! a regular look for what an event may have missed.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, ptr};

use aya::maps::{MapData, RingBuf};
use relay_common::address::Ipv6;
use relay_common::byte_order::Be16;
use relay_common::event::{self as kind, Event as Record};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{self, MissedTickBehavior};

use crate::event::Event;
use crate::leg::LegId;
use crate::netlink::{Change, Queries};
use crate::network;
use crate::routes::Target;
use crate::sampler;
use crate::shared::Shared;

/// How often the tables are looked over: learned sources whose event was lost, neighbours to be confirmed.
const LOOK_OVER: Duration = Duration::from_secs(1);

/// Every so many looks neighbours are confirmed: the kernel does not see that media uses them, and forgets them.
const CONFIRM_EVERY: u32 = 15;

/// Starts the tasks.
///
/// # Errors
/// The event ring cannot be polled, or the kernel not be asked for routes.
pub(crate) fn start(
    shared: &Arc<Shared>,
    changes: mpsc::Receiver<Change>,
    events: Option<RingBuf<MapData>>,
    from_workers: mpsc::Receiver<Record>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut tasks = vec![
        tokio::spawn(network::follow(Arc::clone(shared), Queries::open()?, changes)),
        workers(shared, from_workers),
        tokio::spawn(look_over(Arc::clone(shared))),
        tokio::spawn(sampler::run(Arc::clone(shared))),
    ];
    if let Some(events) = events {
        // SAFETY: the ring owns its descriptor, never replaces it, and lives as long as the registration.
        let events = unsafe { AsyncFd::register(events) }?;
        tasks.push(tokio::spawn(program(Arc::clone(shared), events)));
    }
    Ok(tasks)
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
            apply(&shared, record);
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

fn apply(shared: &Shared, record: Record) {
    let address =
        |ip: Ipv6, port: Be16| SocketAddr::from((Ipv6Addr::from(ip.octets()).to_canonical(), port.get()));
    let source = address(record.source, record.source_port);
    let ssrc = record.ssrc.get();
    if record.kind == kind::ORPHAN {
        let local = address(record.local, record.local_port);
        // Nobody may be listening.
        let _ = shared.events.send(Event::Orphan { local, source, ssrc });
        return;
    }
    let Some(leg) = shared.state().leg_of(record.leg, record.generation) else {
        return;
    };
    let event = match record.kind {
        kind::SOURCE_LEARNED => {
            follow(shared, leg);
            Event::SourceLearned { leg, source }
        }
        kind::SOURCE_REFUSED => Event::SourceRefused { leg, source },
        kind::UNKNOWN_SSRC => Event::UnknownSource { leg, source, ssrc },
        kind::NEXT_HOP_UNRESOLVED => {
            let via = shared.state().next_hops.via(record.next_hop);
            if let Some(via) = via {
                shared.routes().look_for(&[via.neighbour()]);
            }
            Event::NextHopUnresolved { leg }
        }
        _ => return,
    };
    // As above.
    let _ = shared.events.send(event);
}

/// Sends media for a leg's remote side to where its admitted source is (symmetric RTP, RFC 4961).
fn follow(shared: &Shared, leg: LegId) {
    let found = {
        let state = shared.state();
        state.stray(leg).zip(state.local(leg))
    };
    let Some((source, (local, sends))) = found else {
        return;
    };
    let mut hops = None;
    if sends {
        let target = Target { remote: source, local, tags: shared.state().tags(leg) };
        // Without waiting for the neighbour: strangers may be learned too, and must not hold up the others.
        match shared.next_hop_at_once(target) {
            Ok(held) => hops = Some(held),
            Err(error) => {
                tracing::debug!(%source, %error, "media cannot follow a learned source");
                return;
            }
        }
    }
    let hop = hops.as_ref().and_then(|held| held.hops().iter().copied().flatten().next());
    let mut state = shared.state();
    // The source may have been told anew meanwhile.
    if state.stray(leg) != Some(source) {
        return;
    }
    state.move_remote(leg, Some(source), hop);
    drop(state);
    if let Some(held) = hops {
        held.keep();
    }
}

/// Applies what workers in user space tell.
fn workers(shared: &Arc<Shared>, mut events: mpsc::Receiver<Record>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        while let Some(record) = events.recv().await {
            apply(&shared, record);
        }
    })
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
            follow(&shared, leg);
        }
        let confirm = looks.is_multiple_of(CONFIRM_EVERY);
        let neighbours = shared.state().next_hops.to_confirm(confirm);
        shared.routes().look_for(&neighbours);
    }
}
