//! Who has each frame of a UMEM. A frame is at every moment in exactly one place, and this is the book of it: what the
//! kernel hands back is believed only if the book says that the kernel has it.

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody uses it.
    Free,
    /// The kernel has it, to receive a packet on this port.
    Filling(u16),
    /// The worker has it.
    Held,
    /// The kernel has it, to send it on this port.
    Sending(u16),
}

/// The right to use a frame. It cannot be copied, and is given up only to the book.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is not given back is lost"]
pub(crate) struct Held(u32);

impl Held {
    /// Number of the frame.
    pub(crate) fn index(&self) -> u32 {
        self.0
    }
}

/// The book.
#[derive(Debug)]
pub(crate) struct Frames {
    places: Box<[Place]>,
    /// Whom each frame that is being sent is for: the receiver of a group, by the slot of its leg; 0 for none.
    receivers: Box<[u32]>,
    /// The numbers of all that are [`Place::Free`]. Its capacity is the number of frames: it never grows.
    free: Vec<u32>,
}

impl Frames {
    /// A book of `count` free frames.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            places: vec![Place::Free; count as usize].into(),
            receivers: vec![0; count as usize].into(),
            free: (0..count).rev().collect(),
        }
    }

    /// A free frame.
    pub(crate) fn take(&mut self) -> Option<Held> {
        let index = self.free.pop()?;
        self.set(index, Place::Held);
        Some(Held(index))
    }

    /// The frame is not needed any more.
    #[expect(clippy::needless_pass_by_value, reason = "the right to the frame ends here")]
    pub(crate) fn give_back(&mut self, held: Held) {
        self.set(held.0, Place::Free);
        self.free.push(held.0);
    }

    /// The frame goes to the kernel, to receive on `port`.
    #[expect(clippy::needless_pass_by_value, reason = "as in `give_back`")]
    pub(crate) fn fill(&mut self, held: Held, port: u16) {
        self.set(held.0, Place::Filling(port));
    }

    /// The frame goes to the kernel, to be sent on `port` to `receiver`, 0 for none.
    #[expect(clippy::needless_pass_by_value, reason = "as in `give_back`")]
    pub(crate) fn send(&mut self, held: Held, port: u16, receiver: u32) {
        self.set(held.0, Place::Sending(port));
        if let Some(entry) = self.receivers.get_mut(held.0 as usize) {
            *entry = receiver;
        }
    }

    /// The receiver that a frame was sent to last; `None` if it was for none.
    pub(crate) fn receiver(&self, index: u32) -> Option<u32> {
        self.receivers.get(index as usize).copied().filter(|receiver| *receiver != 0)
    }

    /// The kernel says that this frame received a packet on `port`. `None` if it did not have it for that.
    pub(crate) fn received(&mut self, index: u32, port: u16) -> Option<Held> {
        self.hand_over(index, Place::Filling(port))
    }

    /// The kernel says that this frame was sent on `port`. `None` if it did not have it for that.
    pub(crate) fn sent(&mut self, index: u32, port: u16) -> Option<Held> {
        self.hand_over(index, Place::Sending(port))
    }

    fn hand_over(&mut self, index: u32, from: Place) -> Option<Held> {
        let place = self.places.get_mut(index as usize).filter(|place| **place == from)?;
        *place = Place::Held;
        Some(Held(index))
    }

    fn set(&mut self, index: u32, place: Place) {
        // A `Held` is only made for a number in range.
        if let Some(entry) = self.places.get_mut(index as usize) {
            *entry = place;
        }
    }

    /// Where each frame is, by its number.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The numbers of the free frames.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_round() {
        let mut frames = Frames::new(1);
        let frame = frames.take().unwrap();
        assert_eq!(frames.take(), None);
        let index = frame.index();
        frames.fill(frame, 3);
        assert_eq!(frames.received(index, 2), None, "another port's frame");
        assert_eq!(frames.sent(index, 3), None, "it was not being sent");
        let frame = frames.received(index, 3).unwrap();
        assert_eq!(frames.received(index, 3), None, "it is here already");
        frames.send(frame, 4, 7);
        assert_eq!((frames.places(), frames.receiver(index)), (&[Place::Sending(4)][..], Some(7)));
        let frame = frames.sent(index, 4).unwrap();
        frames.give_back(frame);
        assert_eq!((frames.places(), frames.free()), (&[Place::Free][..], &[0][..]));
    }

    #[test]
    fn a_number_that_no_frame_has_is_not_believed() {
        let mut frames = Frames::new(4);
        assert_eq!(frames.received(4, 0), None);
        assert_eq!(frames.sent(u32::MAX, 0), None);
    }
}
