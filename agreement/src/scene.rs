//! What one side made of one frame, to be compared and shown.

use std::fmt;

use crate::shared::frame::{Frame, ROOM};
use crate::shared::scene::{ANSWERS, Scene, WORDS};

impl Scene {
    /// A scene with nothing in it but a table of payload types.
    pub(crate) fn blank() -> Self {
        let mut map = [0; 128];
        for (payload_type, place) in (0_u8..).zip(&mut map) {
            *place = payload_type ^ 0x55;
        }
        Self {
            answers: [0; ANSWERS],
            legs: Default::default(),
            admissions: Default::default(),
            addresses: Default::default(),
            quality: Default::default(),
            police: Default::default(),
            retag: Default::default(),
            hop: Default::default(),
            now: 0,
            first: 0,
            local: 0,
            event: 0,
            subject: Default::default(),
            reserved: [0; 4],
            payload_map: map,
        }
    }

    fn words(&self) -> [u64; WORDS] {
        let words = (&raw const *self).cast::<[u64; WORDS]>();
        // SAFETY: as long as the scene, which has no padding (see the test below), and aligned to more.
        unsafe { *words }
    }
}

/// What one side made of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    scene: [u64; WORDS],
    /// The frame as the core left it.
    pub frame: Vec<u8>,
}

impl Outcome {
    pub(crate) fn new(scene: &Scene, frame: &Frame) -> Self {
        let length = usize::try_from(frame.length).map_or(ROOM, |length| length.min(ROOM));
        Self { scene: scene.words(), frame: frame.bytes[..length].to_vec() }
    }

    /// What the core answered; the words are told apart in `ebpf/src/shared/examine.rs`.
    pub fn answers(&self) -> &[u64] {
        &self.scene[..ANSWERS]
    }
}

impl fmt::Display for Outcome {
    /// The answers, the frame, and every word of the scene with its offset in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answers {:x?}\n    frame {}", self.answers(), crate::hexadecimal(&self.frame))?;
        let records = self.scene.iter().zip((0..).step_by(8)).skip(ANSWERS).filter(|(word, _)| **word != 0);
        write!(f, "    scene")?;
        for (word, at) in records {
            write!(f, " {at:x}:{word:x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use relay_common::decide::Subject;
    use relay_common::leg::{Addresses6, Admission, Leg};
    use relay_common::next_hop::NextHop;
    use relay_common::police::Police;
    use relay_common::quality::Quality;
    use relay_common::retag::{PayloadMap, Retag};

    use super::*;
    use crate::shared::scene::LEGS;

    #[test]
    fn a_scene_has_no_padding() {
        let legs = LEGS * (size_of::<Leg>() + size_of::<Admission>() + size_of::<Addresses6>());
        let records = size_of::<Quality>() + size_of::<Police>() + size_of::<Retag>() + size_of::<NextHop>();
        let rest =
            size_of::<u64>() + 3 * size_of::<u32>() + size_of::<Subject>() + 4 * 8 + size_of::<PayloadMap>();
        assert_eq!(size_of::<Scene>(), ANSWERS * 8 + legs + records + rest);
        // And its parts have none.
        assert_eq!(size_of::<Subject>(), 2 * 16 + 3 * 4);
        assert_eq!(size_of::<Quality>(), 4 + 2 + 2 + 8 + 4 + 4 + 8 + 8 + 4 + 4 + 8 + 4 + 2 + 2);
        assert_eq!(size_of::<Retag>(), 8 + 4 * 4 + 3 * 2 + 2);
        assert_eq!(size_of::<Police>(), 2 * 4 + 3 * 8);
    }
}
