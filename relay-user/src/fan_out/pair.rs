//! Pairs of devices of our own. One leads from one block of a group to the next: what enters at its near end comes out at its
//! far end, where a program queues it again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::FanOutError;
use crate::kernel::{FanOutPrograms, bpf};
use crate::veth::{End, Veth};

/// Largest packets that fit between the two: as many bytes as a veth with a program takes in one buffer.
pub(super) const MTU: u32 = 3_498;
/// Queues of the pair at most: packets of one CPU have one to themselves.
const MOST_QUEUES: usize = 64;

/// What a pair is for; with the number of one of the relay's interfaces, which no other relay uses at the same time, that is
/// its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Leads from one block to the next.
    Further,
    /// Receives copies while the kernel is tried.
    Trial,
    /// Leads from one block to the next while the kernel is tried.
    TrialFurther,
}

/// A pair; dropped, it is removed, unless a successor finds it.
pub(super) struct Pair {
    /// Index of the near end.
    pub(super) near: u32,
    veth: Veth,
    link: OwnedFd,
}

impl Pair {
    /// Makes a pair in the network namespace of the calling thread, with a program at its far end, and pins the link there in
    /// `folder`, if there is one, under the index of the near end. One of its name was left by a process that was killed, and
    /// goes.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn make(
        purpose: Purpose,
        interface: u32,
        cpus: usize,
        at_far_end: BorrowedFd<'_>,
        folder: Option<&Path>,
    ) -> Result<Self, FanOutError> {
        Self::try_make(purpose, interface, cpus, at_far_end, folder).map_err(failed(match purpose {
            Purpose::Further => "making the pair of devices between blocks",
            Purpose::Trial | Purpose::TrialFurther => "making pairs of devices to try the kernel on",
        }))
    }

    fn try_make(
        purpose: Purpose,
        interface: u32,
        cpus: usize,
        at_far_end: BorrowedFd<'_>,
        folder: Option<&Path>,
    ) -> io::Result<Self> {
        let [near, far] = match purpose {
            Purpose::Further => ["a", "b"],
            Purpose::Trial => ["c", "d"],
            Purpose::TrialFurther => ["e", "f"],
        }
        .map(|end| format!("fan{interface}{end}"));
        let [near, far] = [&near, &far].map(|name| End { name, mac: None });
        let queues = u32::try_from(cpus.clamp(1, MOST_QUEUES)).unwrap_or(1);
        let (mut veth, far) = Veth::make(near, far, queues, MTU)?;
        // Before it goes up: a veth takes redirected frames only if there is a program at its far end.
        let link = bpf::create_link(at_far_end, far, bpf::NATIVE)?;
        veth.bring_up(far)?;
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
            bpf::pin(link.as_fd(), &folder.join(veth.near.to_string()))?;
            veth.is_kept = true;
        }
        Ok(Self { near: veth.near, veth, link })
    }

    /// The pair that a predecessor left, whose link is pinned in `folder`. It goes on with the predecessor's program. What is
    /// pinned there of a pair that is gone is removed.
    ///
    /// # Errors
    /// The folder cannot be read, or written.
    pub(super) fn find(folder: &Path) -> Result<Option<Self>, FanOutError> {
        Self::try_find(folder).map_err(failed("finding the pair of devices between blocks"))
    }

    fn try_find(folder: &Path) -> io::Result<Option<Self>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let pin = entry?.path();
            let near = pin.file_name().and_then(|name| name.to_str()?.parse().ok());
            let living = bpf::open(&pin)
                .ok()
                .filter(|link| bpf::link_interface(link.as_fd()).is_ok_and(|interface| interface != 0));
            match near.zip(living) {
                Some((near, link)) => {
                    return Ok(Some(Self { near, veth: Veth::left(near)?, link }));
                }
                None => fs::remove_file(pin)?,
            }
        }
        Ok(None)
    }

    /// Puts a program in the place of the one at the far end: every packet is seen by the old one or the new one.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn run(&self, programs: &FanOutPrograms) -> Result<(), FanOutError> {
        bpf::update_link(self.link.as_fd(), programs.further.as_fd())
            .map_err(failed("replacing the program between blocks"))
    }

    /// Removes the pair, whoever might find it.
    pub(super) fn remove(mut self) {
        self.veth.is_kept = false;
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> FanOutError {
    move |source| FanOutError::Kernel { what, source }
}
