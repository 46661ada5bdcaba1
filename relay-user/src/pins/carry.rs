//! What new maps do not replace: the queues of groups and what counts their copies, because packets wait there, and the pair of
//! devices between blocks. A replacement would begin empty beside what waits, and so change the order of packets.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::header::Header;
use super::{PAIR, migrate};
use crate::kernel::bpf;

/// Maps that old programs and new ones share.
const MAPS: [&str; 5] = ["FAN_CPUS", "FAN_QUEUES", "FAN_PROGRAMS", "BROADCASTS", "TURNS"];

/// What these maps, and the packets that wait, say.
const MEANINGS: [&str; 3] = ["Turn", "Metadata", "Queue"];

/// Pins the same objects in the folder `new` too, if this version understands them as the one that made `old` did. Otherwise
/// groups go on all the same, and their packets may change their order once.
pub(super) fn run((old, header): (&Path, &Header), new: &Path) -> io::Result<()> {
    let (theirs, ours) = (migrate::parse(&header.text()), migrate::parse(&super::header::describe()));
    let is_same = |name: &&str| theirs.contains_key(*name) && theirs.get(*name) == ours.get(*name);
    if !MEANINGS.iter().all(is_same) {
        return Ok(());
    }
    for name in MAPS {
        pin_again(&old.join("maps").join(name), &new.join("maps").join(name))?;
    }
    let entries = match fs::read_dir(old.join(PAIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(new.join(PAIR))?;
    for entry in entries {
        let entry = entry?;
        pin_again(&entry.path(), &new.join(PAIR).join(entry.file_name()))?;
    }
    Ok(())
}

fn pin_again(old: &Path, new: &Path) -> io::Result<()> {
    match bpf::open(old) {
        Ok(object) => bpf::pin(object.as_fd(), new),
        // An older version had no such thing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
