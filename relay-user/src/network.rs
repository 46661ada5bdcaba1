//! The task that follows the network while media runs: links, addresses, neighbours and routes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::error::RouteError;
use crate::netlink::{Change, Queries};
use crate::next_hops::{NOWHERE, Via};
use crate::resolve::acquire;
use crate::routes::{Routes, Target};
use crate::shared::Shared;
use crate::state::{Sender, State};

/// Routes usually change in bundles: this long after the first, all are looked at together.
const ROUTES_SETTLE: Duration = Duration::from_millis(50);

/// Slots whose legs are looked at in one go when routes have changed: a millisecond of questions at most.
const PART: usize = 128;

/// How often the network is read anew, in case that changes came faster than they could be read.
const READ_AGAIN: Duration = Duration::from_secs(15);

/// Applies changes of links, addresses, neighbours and routes. The regular reading happens here too, so that what it
/// finds is never applied over a change that is newer: such a change still waits in the queue.
pub(crate) async fn follow(shared: Arc<Shared>, queries: Queries, mut changes: mpsc::Receiver<Change>) {
    let mut routes = Routes::new(queries);
    let mut regular = time::interval_at(Instant::now() + READ_AGAIN, READ_AGAIN);
    regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At once too: what a predecessor left may lead where it does not any more.
    let mut settled = Some(Instant::now());
    let mut deaf = false;
    loop {
        let wait_for_routes = time::sleep_until(settled.unwrap_or_else(Instant::now));
        let change = tokio::select! {
            change = changes.recv(), if !deaf => change,
            () = wait_for_routes, if settled.is_some() => {
                settled = None;
                if let Err(error) = read_addresses(&shared).await {
                    tracing::warn!(%error, "our addresses cannot be read");
                }
                reroute(&shared, &mut routes).await;
                continue;
            }
            () = shared.reroute.notified() => {
                settled.get_or_insert_with(|| Instant::now() + ROUTES_SETTLE);
                continue;
            }
            _ = regular.tick() => {
                read_anew(&shared).await;
                reroute(&shared, &mut routes).await;
                continue;
            }
        };
        let routes_moved = match change {
            Some(Change::Lost) => {
                read_anew(&shared).await;
                true
            }
            Some(change) => apply(&shared, change),
            None => {
                deaf = true;
                continue;
            }
        };
        if routes_moved {
            // At once: whoever installs a leg from now on is told the new routes.
            shared.routes().forget();
            settled.get_or_insert_with(|| Instant::now() + ROUTES_SETTLE);
        }
        shared.resolved.notify_waiters();
    }
}

/// Applies one change. Says whether routes may lead elsewhere now.
fn apply(shared: &Shared, change: Change) -> bool {
    match change {
        Change::Link(link) => {
            let again = shared.interfaces().link_changed(&link);
            let index = link.index;
            let mut state = shared.state();
            let moved = state.next_hops.link_changed(link);
            if let Some(slot) = again {
                state.next_hops.attached(index, slot);
            }
            state.tell_devices();
            drop(state);
            if let Some(slot) = again {
                remake_fans(shared, &[(index, slot)]);
                run_punts(shared);
            }
            moved || again.is_some()
        }
        Change::LinkGone(index) => {
            shared.interfaces().link_gone(index);
            let mut state = shared.state();
            state.next_hops.link_gone(index);
            state.tell_devices();
            true
        }
        Change::Neighbour(neighbour) => {
            let lost = shared.state().next_hops.neighbour_changed(&neighbour);
            // Until it is known again, it is also asked for when the tables are looked over.
            if lost {
                shared.routes().look_for(&[(neighbour.interface, neighbour.address)]);
            }
            false
        }
        Change::Routes | Change::Lost => true,
    }
}

/// Reads everything anew.
async fn read_anew(shared: &Shared) {
    if let Err(error) = try_read_anew(shared).await {
        tracing::warn!(%error, "the network cannot be read");
    }
    shared.routes().forget();
    shared.resolved.notify_waiters();
}

async fn try_read_anew(shared: &Shared) -> io::Result<()> {
    let links = shared.netlink.links().await?;
    let neighbours = shared.netlink.neighbours().await?;
    read_addresses(shared).await?;
    let again = shared.interfaces().read_anew(&links);
    let mut state = shared.state();
    state.next_hops.read_anew(links, &neighbours);
    for (index, slot) in &again {
        state.next_hops.attached(*index, *slot);
    }
    state.tell_devices();
    drop(state);
    if !again.is_empty() {
        remake_fans(shared, &again);
        run_punts(shared);
    }
    Ok(())
}

/// Copies for devices, by index and slot, that were made anew.
fn remake_fans(shared: &Shared, devices: &[(u32, u32)]) {
    // Whoever holds it makes them at this moment.
    let Ok(mut setup) = shared.fan_out.try_lock() else { return };
    for (interface, slot) in devices {
        if let Some(Err(error)) = setup.as_mut().map(|setup| setup.device_made(*slot, *interface)) {
            tracing::warn!(interface, %error, "a device that is there again gets no copies");
        }
    }
}

/// Tells the packet path which addresses are ours.
async fn read_addresses(shared: &Shared) -> io::Result<()> {
    let addresses = shared.netlink.addresses().await?;
    shared.ours().set_addresses(&addresses);
    Ok(())
}

/// Sockets for the queues of a device that was made anew.
fn run_punts(shared: &Shared) {
    let interfaces = shared.interfaces().slots();
    if let Some(mut punts) = shared.punts() {
        punts.run(&interfaces);
    }
}

/// Finds every next hop anew, a part of the legs at a time: between two, others have their turn. The kernel is asked by a
/// socket of the task's own, so that whoever installs a leg meanwhile does not wait for all the others.
async fn reroute(shared: &Shared, routes: &mut Routes) {
    routes.forget();
    let mut refused = Refused::default();
    for part in 0.. {
        let Some(senders) = shared.state().senders(part * PART..(part + 1) * PART) else { break };
        let mut targets: Vec<Target> = senders.iter().map(|sender| sender.target.without_ports()).collect();
        targets.sort_unstable();
        targets.dedup();
        let answers = routes.ways(&targets);
        let mut ways = HashMap::with_capacity(targets.len());
        for (target, way) in targets.into_iter().zip(answers) {
            ways.insert(target, way.map_err(|error| refused.add(error)).ok());
        }
        change_hops(&mut shared.state(), &senders, &ways);
        tokio::task::yield_now().await;
    }
    refused.tell();
    routes.forget();
}

/// Destinations without a way, told in one line however many they are.
#[derive(Default)]
struct Refused {
    destinations: usize,
    last: Option<RouteError>,
}

impl Refused {
    fn add(&mut self, error: RouteError) {
        self.destinations += 1;
        self.last = Some(error);
    }

    fn tell(self) {
        if let Some(error) = self.last {
            tracing::warn!(destinations = self.destinations, %error, "media has nowhere to go");
        }
    }
}

fn change_hops(state: &mut State, senders: &[Sender], ways: &HashMap<Target, Option<Via>>) {
    for Sender { leg, target, hop } in senders {
        let Some(way) = ways.get(&target.without_ports()) else { continue };
        if way.is_some() && hop.and_then(|hop| state.next_hops.via(hop)) == *way {
            continue;
        }
        let new = way.and_then(|via| acquire(&mut state.next_hops, via, target.remote.ip()).ok());
        state.change_hop(*leg, target.remote, new.unwrap_or(NOWHERE));
    }
}
