//! Realistic traffic: cameras with pictures that are coded by themselves, in long bursts, and pictures that are not, in short
//! ones; sound; and jitter of the network before the relay. Knows when which packet leaves; sends nothing.

use std::time::Duration;

use crate::records::Slot;

/// Cameras of a timetable, each with a stream of pictures and one of sound.
pub(crate) const CAMERAS: u32 = 50;
/// Streams of a timetable: pictures have even numbers, sound the odd ones after them.
pub(crate) const STREAMS: u32 = 2 * CAMERAS;
/// Bytes of a packet of pictures, and of one of sound (G.711, 20 ms).
pub(crate) const SIZES: (usize, usize) = (1200, 214);
/// What a timetable stands for.
const SECOND: Duration = Duration::from_secs(1);
/// Pictures a second, the first of which is coded by itself.
const PICTURES: u32 = 25;
/// Packets of a picture that is coded by itself, and of any other: 4 Mbit/s in all.
const PACKETS: (u32, u32) = (120, 13);
/// Packets of sound a second.
const SOUND: u32 = 50;
/// From one packet of a picture to the next: a sender with a Gigabit port.
const SPACING: Duration = Duration::from_micros(10);
/// How much later than planned a picture or a packet of sound may come.
const JITTER: Duration = Duration::from_millis(5);
/// Packets of a camera in a second.
pub(crate) const PACKETS_A_SECOND: u32 = PACKETS.0 + (PICTURES - 1) * PACKETS.1 + SOUND;

/// The timetable of one of `senders` processors, in the order of departure: cameras are dealt out in turn.
pub(crate) fn timetable(sender: u32, senders: u32) -> Vec<Slot> {
    let mut slots = Vec::new();
    for camera in (sender..CAMERAS).step_by(senders as usize) {
        add_camera(&mut slots, camera);
    }
    slots.sort_unstable_by_key(|slot| slot.at);
    slots
}

fn add_camera(slots: &mut Vec<Slot>, camera: u32) {
    let mut random = Random(u64::from(camera) + 1);
    // Cameras do not begin their pictures together.
    let phase = SECOND * camera / CAMERAS;
    for picture in 0..PICTURES {
        let start = phase + SECOND * picture / PICTURES + random.below(JITTER);
        let packets = if picture == 0 { PACKETS.0 } else { PACKETS.1 };
        slots.extend((0..packets).map(|packet| slot(start + SPACING * packet, 2 * camera)));
    }
    for packet in 0..SOUND {
        let start = phase + SECOND * packet / SOUND + random.below(JITTER);
        slots.push(slot(start, 2 * camera + 1));
    }
}

fn slot(at: Duration, stream: u32) -> Slot {
    let share = at.as_nanos() % SECOND.as_nanos() * (1 << 32) / SECOND.as_nanos();
    Slot { at: u32::try_from(share).unwrap_or(u32::MAX), stream }
}

/// The same numbers every time (xorshift, Marsaglia 2003): all subjects get the same packets.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        limit * u32::try_from(self.0 % 1000).unwrap_or_default() / 1000
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::records::SLOTS_PER_CPU;

    #[test]
    fn a_camera_sends_its_packets_of_a_second() {
        let slots = timetable(0, 1);
        let of = |stream| slots.iter().filter(|slot| slot.stream == stream).count();
        assert_eq!(of(0), (PACKETS_A_SECOND - SOUND) as usize);
        assert_eq!(of(1), SOUND as usize);
        assert_eq!(slots.len(), (CAMERAS * PACKETS_A_SECOND) as usize);
        assert!(slots.len() <= SLOTS_PER_CPU as usize);
        assert!(slots.is_sorted_by_key(|slot| slot.at));
    }

    #[test]
    fn a_camera_sends_four_million_bits_of_pictures_a_second() {
        let bits = (PACKETS_A_SECOND - SOUND) as usize * (SIZES.0 - 42) * 8;
        assert!((3_900_000..4_100_000).contains(&bits), "{bits}");
    }

    #[test]
    fn every_camera_belongs_to_one_processor() {
        let of = |sender| timetable(sender, 2).iter().map(|slot| slot.stream).collect::<HashSet<_>>();
        assert!(of(0).is_disjoint(&of(1)));
        assert_eq!(of(0).len() + of(1).len(), STREAMS as usize);
    }
}
