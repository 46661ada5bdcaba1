//! A subject that is a program runs before everything else on its processor while it is measured, as the generators do.

use crate::machine::{self, Urgency};

/// Threads of a subject that nothing else takes the processor from, until this is dropped: as the generators.
pub(crate) struct Precedence<'a>(&'a [i32]);

impl<'a> Precedence<'a> {
    /// Gives it to these threads.
    pub(crate) fn give(threads: &'a [i32]) -> Self {
        for thread in threads {
            // One that has ended needs no processor.
            let _ = machine::set_urgency(*thread, Urgency::Sender);
        }
        Self(threads)
    }
}

impl Drop for Precedence<'_> {
    fn drop(&mut self) {
        for thread in self.0 {
            // As above.
            let _ = machine::set_urgency(*thread, Urgency::Ordinary);
        }
    }
}
