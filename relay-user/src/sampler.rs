//! Looks at every leg once a second: what the CPUs measured is put together before their counters wrap, and legs that
//! were idle for long enough forget their source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{self, MissedTickBehavior};

use crate::event::Event;
use crate::shared::Shared;
use crate::state::SLOTS_AT_ONCE;

/// How often each leg is looked at. A sequence number wraps after 65,536 packets, so a leg may receive 32,768 in this
/// time before its losses cannot be told from its cycles when it moves to another CPU.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs for as long as the relay.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut interval = time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut first = 0;
        loop {
            let (forgotten, more) = shared.state().sample(first, Instant::now());
            for (leg, source) in forgotten {
                // Nobody may be listening.
                let _ = shared.events.send(Event::SourceForgotten { leg, source });
            }
            if !more {
                break;
            }
            first += SLOTS_AT_ONCE;
            // Whoever waits for the lock has it now.
            tokio::task::yield_now().await;
        }
    }
}
