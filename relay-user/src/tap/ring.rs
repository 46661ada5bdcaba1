//! Reads the ring that the kernel half copies packets into, and hands them to the taps.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, ptr};

use aya::maps::{MapData, RingBuf};
use relay_common::tap::{Direction, TapHeader};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::TapFrame;
use super::names::Names;
use super::registry::Point;
use crate::leg::LegId;
use crate::shared::Shared;

/// Records that are handed on before other tasks have their turn.
const BATCH: usize = 256;

/// Starts to read the ring.
///
/// # Errors
/// The ring cannot be polled.
pub(crate) fn start(shared: &Arc<Shared>, ring: RingBuf<MapData>) -> io::Result<JoinHandle<()>> {
    // SAFETY: the ring owns its descriptor, never replaces it, and lives as long as the registration.
    let ring = unsafe { AsyncFd::register(ring) }?;
    Ok(tokio::spawn(read(Arc::clone(shared), ring)))
}

/// Reads until the data plane ends.
async fn read(shared: Arc<Shared>, mut ring: AsyncFd<RingBuf<MapData>>) {
    loop {
        let Ok(mut ready) = ring.readable_mut().await else { return };
        let mut batch = Batch { clock: Clock::now(), names: Names::default() };
        let mut count = 0;
        while let Some(item) = ready.get_inner_mut().next() {
            batch.deliver(&shared, &item);
            count += 1;
            if count == BATCH {
                break;
            }
        }
        if count < BATCH {
            ready.clear_ready();
        }
        drop(ready);
        tokio::task::yield_now().await;
    }
}

/// What the frames of one reading of the ring share.
struct Batch {
    clock: Clock,
    names: Names,
}

impl Batch {
    /// Hands one record of the ring to whoever taps its point.
    fn deliver(&mut self, shared: &Shared, item: &[u8]) {
        let Some((header, bytes)) = split(item) else { return };
        let Some(direction) = Direction::from_word(header.direction) else { return };
        let leg = LegId { slot: header.leg, generation: header.generation };
        let point = Point { leg, direction };
        if !shared.taps.has(point) {
            return;
        }
        let frame = TapFrame {
            direction,
            interface: self.names.of(shared, point, header.interface),
            time: self.clock.time(header.time),
            length: header.length,
            bytes: bytes.into(),
        };
        shared.taps.deliver(point, &frame);
    }
}

/// The header of a record and the bytes that it says were captured.
fn split(item: &[u8]) -> Option<(TapHeader, &[u8])> {
    let bytes = item.get(size_of::<TapHeader>()..)?;
    // SAFETY: long enough, as just checked; any bits are a value of the header; read without regard to alignment.
    let header: TapHeader = unsafe { ptr::read_unaligned(item.as_ptr().cast()) };
    let captured = usize::try_from(header.captured).ok()?;
    Some((header, bytes.get(..captured)?))
}

/// How many bytes of a frame a record holds.
#[cfg(fuzzing)]
pub(crate) fn captured(item: &[u8]) -> Option<usize> {
    split(item).map(|(_, bytes)| bytes.len())
}

/// The kernel's clock against the time of day.
struct Clock {
    monotonic: u64,
    day: SystemTime,
}

impl Clock {
    fn now() -> Self {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec, which outlives the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let part = |value: i64| u64::try_from(value).unwrap_or_default();
        let monotonic = if result == 0 { part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec) } else { 0 };
        Self { monotonic, day: SystemTime::now() }
    }

    fn time(&self, monotonic: u64) -> SystemTime {
        let ago = Duration::from_nanos(self.monotonic.saturating_sub(monotonic));
        let ahead = Duration::from_nanos(monotonic.saturating_sub(self.monotonic));
        self.day.checked_sub(ago).unwrap_or(UNIX_EPOCH) + ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_its_header_says_and_never_longer_than_it_is() {
        let header = |captured| TapHeader { leg: 7, captured, ..TapHeader::default() };
        let record = |captured: u32| {
            let mut bytes = vec![0; size_of::<TapHeader>()];
            // SAFETY: the vector has room for one header; written without regard to alignment.
            unsafe { ptr::write_unaligned(bytes.as_mut_ptr().cast(), header(captured)) };
            bytes.extend([1, 2, 3, 4]);
            bytes
        };
        assert_eq!(split(&record(3)), Some((header(3), &[1, 2, 3][..])));
        assert_eq!(split(&record(4)).map(|(_, bytes)| bytes.len()), Some(4));
        assert_eq!(split(&record(5)), None);
        assert_eq!(split(&record(3)[..31]), None);
    }

    #[test]
    fn times_before_and_after_the_reading_are_told() {
        let clock = Clock { monotonic: 1_000, day: UNIX_EPOCH + Duration::from_secs(1) };
        assert_eq!(clock.time(400), UNIX_EPOCH + Duration::from_nanos(999_999_400));
        assert_eq!(clock.time(1_400), UNIX_EPOCH + Duration::from_nanos(1_000_000_400));
    }
}
