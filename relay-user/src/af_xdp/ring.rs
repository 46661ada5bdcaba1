//! One ring between us and the kernel: a power of two of elements with one producer and one consumer, each of whom
//! writes an index that only grows and wraps (`net/xdp/xsk_queue.h` in the kernel's sources).
//!
//! Both ends are here, so that tests and the fuzz target play the kernel with the very same code.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::Mapping;

/// Where the parts of a ring lie in its mapping, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) elements: usize,
}

#[derive(Debug)]
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    elements: NonNull<T>,
    size: u32,
    /// Keeps the addresses above valid.
    _memory: Arc<Mapping>,
}

// SAFETY: an end of a ring is used by its one owner; what both ends share are atomics, and elements that the indices
// hand over.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// A ring of `size` elements in this memory.
    fn new(memory: Arc<Mapping>, layout: Layout, size: u32) -> io::Result<Self> {
        let outside =
            || io::Error::other(format!("a ring of {size} elements at {layout:?} is not in its memory"));
        if !size.is_power_of_two() {
            return Err(io::Error::other(format!("a ring of {size} elements; it must be a power of two")));
        }
        Ok(Self {
            producer: memory.at(layout.producer, 1).ok_or_else(outside)?,
            consumer: memory.at(layout.consumer, 1).ok_or_else(outside)?,
            flags: memory.at(layout.flags, 1).ok_or_else(outside)?,
            elements: memory.at(layout.elements, size as usize).ok_or_else(outside)?,
            size,
            _memory: memory,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: in the mapping and aligned, as `new` checked; both ends treat it as an atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn element(&self, index: u32) -> *mut T {
        // SAFETY: the mask keeps the index below `size`, and `new` checked that so many lie in the mapping.
        unsafe { self.elements.as_ptr().add((index & (self.size - 1)) as usize) }
    }
}

/// The end that puts elements in.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    ring: Ring<T>,
    /// The index behind the last element that was pushed.
    head: u32,
    /// The consumer's index when it was last looked at.
    tail: u32,
}

impl<T: Copy> Producer<T> {
    /// # Errors
    /// The ring does not fit its memory.
    pub(crate) fn new(memory: Arc<Mapping>, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(memory, layout, size)?;
        let head = ring.producer().load(Ordering::Relaxed);
        let tail = ring.consumer().load(Ordering::Acquire);
        Ok(Self { ring, head, tail })
    }

    /// Puts an element in; the other end sees it after [`Self::publish`]. Gives it back if the ring is full.
    pub(crate) fn push(&mut self, element: T) -> Result<(), T> {
        if self.head.wrapping_sub(self.tail) >= self.ring.size {
            self.tail = self.ring.consumer().load(Ordering::Acquire);
            if self.head.wrapping_sub(self.tail) >= self.ring.size {
                return Err(element);
            }
        }
        // SAFETY: the consumer is done with this element: its index, read with acquire, is past it.
        unsafe { self.ring.element(self.head).write(element) };
        self.head = self.head.wrapping_add(1);
        Ok(())
    }

    /// Shows the other end what was pushed.
    pub(crate) fn publish(&mut self) {
        self.ring.producer().store(self.head, Ordering::Release);
    }

    /// Elements that the other end has not taken yet, published or not.
    pub(crate) fn pending(&self) -> u32 {
        self.head.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// The index behind the last element that the other end says it has taken.
    pub(crate) fn taken(&self) -> u32 {
        self.ring.consumer().load(Ordering::Acquire)
    }

    /// The element in front of an index, as it was pushed last.
    pub(crate) fn before(&self, index: u32) -> T {
        // SAFETY: an element of the ring, in memory that began as zeros, which only this end writes.
        unsafe { self.ring.element(index.wrapping_sub(1)).read() }
    }

    /// Whether the other end has to be woken by a system call.
    pub(crate) fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `Ring::producer`.
        unsafe { self.ring.flags.as_ref() }.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// The end that takes elements out.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    ring: Ring<T>,
    /// The producer's index when it was last looked at.
    head: u32,
    /// The index behind the last element that was popped.
    tail: u32,
}

impl<T: Copy> Consumer<T> {
    /// # Errors
    /// The ring does not fit its memory.
    pub(crate) fn new(memory: Arc<Mapping>, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(memory, layout, size)?;
        let head = ring.producer().load(Ordering::Acquire);
        let tail = ring.consumer().load(Ordering::Relaxed);
        Ok(Self { ring, head, tail })
    }

    /// Takes an element out; its place is free for the other end after [`Self::release`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.head == self.tail {
            self.head = self.ring.producer().load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        // SAFETY: the producer has written this element: its index, read with acquire, is past it; and it does not
        // write it again before `release`.
        let element = unsafe { self.ring.element(self.tail).read() };
        self.tail = self.tail.wrapping_add(1);
        Some(element)
    }

    /// Gives the other end the places of what was popped.
    pub(crate) fn release(&mut self) {
        self.ring.consumer().store(self.tail, Ordering::Release);
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod simulated {
    //! A ring in ordinary memory, both ends in our hands.

    use super::*;

    /// Both ends of a new ring whose indices start at `start`.
    pub(crate) fn ring<T: Copy>(size: u32, start: u32) -> io::Result<(Producer<T>, Consumer<T>)> {
        let layout = Layout { producer: 0, consumer: 64, flags: 128, elements: 192 };
        let memory = Arc::new(Mapping::anonymous(layout.elements + size as usize * size_of::<T>())?);
        let ring = Ring::<T>::new(Arc::clone(&memory), layout, size)?;
        ring.producer().store(start, Ordering::Relaxed);
        ring.consumer().store(start, Ordering::Relaxed);
        // SAFETY: as in `Ring::producer`.
        unsafe { ring.flags.as_ref() }.store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
        Ok((Producer::new(Arc::clone(&memory), layout, size)?, Consumer::new(memory, layout, size)?))
    }

    impl<T: Copy> Consumer<T> {
        /// What is in the ring, seen from the side.
        pub(crate) fn contents(&self) -> Vec<T> {
            let head = self.ring.producer().load(Ordering::Acquire);
            let waiting = head.wrapping_sub(self.tail);
            // SAFETY: these elements are published and not yet released.
            (0..waiting).map(|at| unsafe { self.ring.element(self.tail.wrapping_add(at)).read() }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_out_in_order_across_the_wrap_of_the_indices() {
        let (mut producer, mut consumer) = simulated::ring::<u64>(4, u32::MAX - 5).unwrap();
        for round in 0..20_u64 {
            for element in 0..4 {
                producer.push(round * 4 + element).unwrap();
            }
            assert_eq!(producer.push(0), Err(0), "the ring is full");
            assert_eq!(consumer.pop(), None, "nothing is published yet");
            producer.publish();
            assert_eq!(producer.pending(), 4);
            for element in 0..4 {
                assert_eq!(consumer.pop(), Some(round * 4 + element));
            }
            assert_eq!(consumer.pop(), None);
            assert_eq!(producer.push(0), Err(0), "nothing is released yet");
            consumer.release();
            assert_eq!(producer.pending(), 0);
        }
    }

    #[test]
    fn sizes_that_no_ring_can_have_are_refused() {
        let memory = || Arc::new(Mapping::anonymous(4096).unwrap());
        let layout = Layout { producer: 0, consumer: 64, flags: 128, elements: 192 };
        assert!(Producer::<u64>::new(memory(), layout, 6).is_err());
        assert!(Producer::<u64>::new(memory(), layout, 0).is_err());
        assert!(Consumer::<u64>::new(memory(), layout, 1024).is_err(), "larger than its memory");
    }
}
