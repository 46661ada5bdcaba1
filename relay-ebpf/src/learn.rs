//! Source policy: what happens to a packet whose source is not the admitted one.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};

use relay_common::event;
use relay_common::leg::{self, Leg, Source};
use relay_common::media::Media;
use relay_common::packet::Packet;
use relay_common::udp_frame::{HEADERS, UdpFrame};
use relay_common::verdict::Drop;

use crate::{maps, notify};

/// Admits the packet if its leg is still learning and the packet looks right; from then on its source is the only
/// one. The packet itself goes on: not one waits for user space.
///
/// Kept out of the fast path's registers: this runs once in the life of most legs.
#[inline(never)]
pub(crate) fn admit(
    packet: &Packet<'_>,
    frame: &UdpFrame<'_>,
    index: u32,
    leg: *mut Leg,
    admitted: u64,
) -> Result<(), Drop> {
    if admitted != Source::NONE.word() {
        notify::send(event::SOURCE_REFUSED, index, frame, 0);
        return Err(Drop::SourceMismatch);
    }
    let admission = maps::ADMISSIONS.get(index).ok_or(Drop::SourceMismatch)?;
    if admission.flags & leg::ADDRESS_TOLD != 0 && frame.source_address() != admission.address {
        notify::send(event::SOURCE_REFUSED, index, frame, 0);
        return Err(Drop::SourceMismatch);
    }
    Media::at(packet, HEADERS).ok_or(Drop::NotMedia)?.admit(admission)?;

    let mine = frame.source().word();
    // The target has the instruction, but `core` does not offer it there as `AtomicU64::compare_exchange`.
    // SAFETY: `source` is an aligned word of a map record, and every writer treats it as an atomic.
    let (winner, exchanged) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::Relaxed }, { AtomicOrdering::Relaxed }>(
            &raw mut (*leg).source,
            Source::NONE.word(),
            mine,
        )
    };
    if exchanged {
        notify::send(event::SOURCE_LEARNED, index, frame, 0);
    } else if winner != mine {
        return Err(Drop::SourceMismatch);
    }
    Ok(())
}
