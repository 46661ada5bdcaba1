//! Hands what workers copied to the taps.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::inlet::{Copied, Outlet, What};
use super::names::Names;
use super::{TapFrame, Taps};
use crate::shared::Shared;

/// Copies that are handed on before other tasks have their turn.
const BATCH: usize = 256;

/// Starts to take copies out.
pub(crate) fn start(shared: &Arc<Shared>, outlet: Outlet) -> JoinHandle<()> {
    tokio::spawn(read(Arc::clone(shared), outlet))
}

/// Reads until the data plane ends.
async fn read(shared: Arc<Shared>, mut outlet: Outlet) {
    let mut batch = Vec::with_capacity(BATCH);
    while outlet.0.recv_many(&mut batch, BATCH).await > 0 {
        let mut names = Names::default();
        for copied in batch.drain(..) {
            deliver(&shared, &shared.taps, &mut names, copied);
        }
        tokio::task::yield_now().await;
    }
}

fn deliver(shared: &Shared, taps: &Taps, names: &mut Names, copied: Copied) {
    let Copied { point, time, what } = copied;
    if !taps.has(point) {
        return;
    }
    let (bytes, length) = match what {
        What::Frame { length, bytes } => (bytes, u32::try_from(length).unwrap_or(u32::MAX)),
        What::Datagram(datagram) => datagram.frame(),
    };
    // A socket does not tell which interface a packet came in by.
    let interface = names.of(shared, point, 0);
    taps.deliver(point, &TapFrame { direction: point.direction, interface, time, length, bytes });
}
