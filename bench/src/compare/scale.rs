//! What more streams cost the relay: rate, and memory.

use anyhow::Result;

use super::course::Course;
use super::offer::{Offer, Packets};
use super::rates::Effort;
use super::subject::Subject;
use crate::figure::Figure;
use crate::records::STREAMS;
use crate::sample::Sample;

/// Numbers of streams that take turns, of all that are installed.
const NUMBERS: [u32; 5] = [10, 100, 1000, 10_000, STREAMS];
/// Bytes of a packet.
const SIZE: usize = 1200;

/// Rates of the relay by the number of streams, and memory.
pub(crate) struct Scale {
    pub(crate) relay: Vec<(u32, Sample)>,
    /// Bytes for each stream and the one that comes back: two legs.
    pub(crate) memory: f64,
}

/// Installs all streams at once, and sends to more and more of them.
pub(crate) fn measure(effort: Effort) -> Result<Scale> {
    let mut course = Course::lay(Subject::Native, STREAMS)?;
    let mut relay = NUMBERS.map(|streams| (streams, Sample::default()));
    for _ in 0..effort.rounds {
        for (streams, sample) in &mut relay {
            let packets = Packets::Steady { size: SIZE, streams: *streams };
            let offer = Offer { packets, rate: f64::INFINITY, window: effort.window };
            sample.push(course.offer(offer)?.goodput);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
    let memory = course.memory as f64 / f64::from(STREAMS);
    Ok(Scale { relay: relay.into(), memory })
}

impl Scale {
    /// Both.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let rates = self.relay.iter().map(|(streams, sample)| {
            Figure::median(format!("compare_native_pps_of_{streams}"), sample, "packets/s")
        });
        rates.chain([Figure::single("compare_native_bytes_a_stream", self.memory, "bytes")]).collect()
    }
}
