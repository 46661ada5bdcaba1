//! What outlives the process: maps and links pinned in the BPF file system, so that media runs on when the process is
//! restarted, killed or replaced by another version.
//!
//! ```text
//! STATE/v1/HEADER    which layout, how many legs, how far it is made
//! STATE/v1/maps/     every map of `kernel::KEPT`
//! STATE/v1/links/    one link for each interface: its index and the XDP mode
//! STATE/v1/pair/     the link on the pair of devices between blocks of receivers, if there were groups
//! STATE/v1/tracepoints/  the programs that count what devices refuse
//! ```

mod bpffs;
mod carry;
mod header;
mod lock;
mod migrate;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use relay_common::layout::LAYOUT;

use crate::fan_out::FanOutError;
use crate::kernel::{Capacity, bpf};
use header::{Header, Phase};
use lock::Lock;

/// Why the state that outlives the process cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The path is relative.
    #[error("the state folder `{}` is not absolute; name one such as /sys/fs/bpf/culvert/default", .0.display())]
    Relative(PathBuf),
    /// The path is somewhere else.
    #[error(
        "the state folder `{}` is not on a BPF file system, where maps and links can outlive a process: name one below \
         /sys/fs/bpf, or mount one there with `mount -t bpf bpf FOLDER`",
        .0.display()
    )]
    NotBpffs(PathBuf),
    /// The BPF file system is missing and cannot be mounted.
    #[error(
        "there is no BPF file system for the state folder `{}`, and mounting one failed: {source}; run \
         `mount -t bpf bpf /sys/fs/bpf` as root, or do without state, so that media ends with the process",
        folder.display()
    )]
    Mount {
        /// The state folder.
        folder: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The system refuses.
    #[error("{}: {source}; the state folder must belong to the user that Culvert runs as", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error(
        "the state folder `{}` is in use by {holder}: two instances need two folders and different interfaces; stop the \
         other one, or name another folder",
        folder.display()
    )]
    InUse {
        /// The state folder.
        folder: PathBuf,
        /// Who uses it.
        holder: String,
    },
    /// A newer version left it.
    #[error(
        "`{}` was left by a newer Culvert: its layout is {found}, and this version knows layouts up to {LAYOUT}; start \
         the newer version, or end the media that still runs with `rm -r {}`",
        folder.display(),
        folder.display()
    )]
    Newer {
        /// The folder of that version.
        folder: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// Running legs cannot be moved to new maps.
    #[error(
        "the legs in `{}` could not be moved to maps of this version: {source}; they run on; start the version that made \
         them, or end them with `rm -r {}`",
        folder.display(),
        folder.display()
    )]
    Migration {
        /// The folder with the legs.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The interfaces are in another network namespace.
    #[error(
        "`{}` belongs to an instance in another network namespace, whose interfaces still run its program; name another \
         state folder, or end that media with `rm -r {}`",
        folder.display(),
        folder.display()
    )]
    OtherNetwork {
        /// The folder.
        folder: PathBuf,
    },
}

/// Makes sure that a state folder exists, and mounts the BPF file system that it takes if that is missing. A process that
/// gives up privileges before it starts the data plane calls this first; [`crate::Relay::start`] does it too.
///
/// # Errors
/// See [`StateError`].
pub fn prepare(state: &Path) -> Result<(), StateError> {
    bpffs::prepare(state)
}

/// The folder of pins that this process owns.
pub(crate) struct Pins {
    state: PathBuf,
    folder: PathBuf,
    header: Header,
    capacity: Capacity,
    /// What a predecessor left, if it is to be moved into `folder`.
    previous: Option<(PathBuf, Header)>,
    _lock: Lock,
}

/// The folder with the link of the pair of devices between blocks of receivers.
const PAIR: &str = "pair";

/// The folder of maps that are being filled from others.
const NEXT: &str = "next";

impl Pins {
    /// Takes the state folder: what a predecessor left there is kept, what it left half-made is removed. Maps of another
    /// layout, or with less room than is wanted, stay in use until [`Pins::migrate`].
    ///
    /// # Errors
    /// See [`StateError`]; nothing has changed then.
    pub(crate) fn open(state: &Path, wanted: Capacity) -> Result<Self, StateError> {
        bpffs::prepare(state)?;
        let lock = Lock::take(state)?;
        let refused = |source| StateError::Refused { path: state.to_owned(), source };
        let network = network_namespace().map_err(refused)?;
        refuse_newer(state)?;
        finish_migration(state).map_err(refused)?;
        let found = complete_folder(state).map_err(refused)?;
        let (own, next) = (state.join(format!("v{LAYOUT}")), state.join(NEXT));
        let Some((folder, header)) = found.filter(|(_, header)| header.network() == network) else {
            for folder in [own.clone(), next] {
                if has_living_link(&folder) && is_of_another(&folder, network) {
                    return Err(StateError::OtherNetwork { folder });
                }
                remove(&folder).map_err(refused)?;
            }
            let header = make(&own, wanted, network)?;
            let state = state.to_owned();
            return Ok(Self { state, folder: own, header, capacity: wanted, previous: None, _lock: lock });
        };
        let capacity = header.capacity();
        if header.is_ours() && capacity.slots >= wanted.slots && capacity.cpus == wanted.cpus {
            remove(&next).map_err(refused)?;
            let state = state.to_owned();
            return Ok(Self { state, folder, header, capacity, previous: None, _lock: lock });
        }
        // A predecessor may have been killed while the programs were replaced: go on with what it had copied.
        let begun = Header::open(&next).filter(|begun| begun.phase() == Phase::Switching && begun.is_ours());
        let (own_header, own_capacity) = match begun {
            Some(begun) => {
                let capacity = begun.capacity();
                (begun, capacity)
            }
            None => {
                remove(&next).map_err(refused)?;
                let found = capacity;
                let capacity = Capacity { slots: wanted.slots.max(found.slots), ..wanted };
                let begun = make(&next, capacity, network)?;
                if found.cpus == capacity.cpus {
                    carry::run((&folder, &header), &next).map_err(refused)?;
                }
                (begun, capacity)
            }
        };
        Ok(Self {
            state: state.to_owned(),
            folder: next,
            header: own_header,
            capacity: own_capacity,
            previous: Some((folder, header)),
            _lock: lock,
        })
    }

    /// Moves from the maps of a predecessor to ours, if those are others: what they hold is copied, the program takes the
    /// place of the running one, and what that counted last is added. The program's own maps must be pinned in
    /// [`Pins::maps`], and whatever else it looks at must be filled. `put_in_place` does the same for the programs of groups, when
    /// it is told the slots of interfaces.
    ///
    /// # Errors
    /// Maps cannot be copied, or a program not be replaced; what runs, runs on.
    pub(crate) fn migrate(
        &mut self,
        program: BorrowedFd<'_>,
        put_in_place: impl FnOnce(&HashMap<u32, u32>) -> Result<(), FanOutError>,
    ) -> Result<(), StateError> {
        let Some((folder, header)) = self.previous.take() else { return Ok(()) };
        let failed = |source| StateError::Migration { folder: folder.clone(), source };
        let (old, new) = ((&*folder, &header), (&*self.folder, &self.header));
        migrate::run(old, new, program, put_in_place).map_err(failed)?;
        let (from, legs) = (header.layout(), self.capacity.legs());
        tracing::info!(from, to = LAYOUT, legs, "running legs were moved to new maps");
        finish_migration(&self.state).map_err(failed)?;
        self.folder = self.state.join(format!("v{LAYOUT}"));
        Ok(())
    }

    /// Where the maps are pinned.
    pub(crate) fn maps(&self) -> PathBuf {
        self.folder.join("maps")
    }

    /// Where the links are pinned.
    pub(crate) fn links(&self) -> PathBuf {
        self.folder.join("links")
    }

    /// Where the link of the pair of devices between blocks of receivers is pinned.
    pub(crate) fn pair(&self) -> PathBuf {
        self.folder.join(PAIR)
    }

    /// How many legs the maps have room for.
    pub(crate) fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// From here on a successor finds everything in place.
    pub(crate) fn complete(&self) {
        self.header.set_phase(Phase::Complete);
    }

    /// Removes everything that was pinned: what is not held otherwise ends.
    ///
    /// # Errors
    /// The file system refuses; what is left is taken for half-made.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.header.set_phase(Phase::Building);
        self.clear()
    }

    fn clear(&self) -> io::Result<()> {
        remove(&self.folder)?;
        // Not empty if somebody else put something there.
        let _ = fs::remove_dir(&self.state);
        Ok(())
    }
}

impl Drop for Pins {
    /// What was not completed leaves nothing behind.
    fn drop(&mut self) {
        if self.header.phase() == Phase::Building {
            // What cannot be removed now, the next process takes for half-made, and removes.
            let _ = self.clear();
        }
    }
}

/// Makes an empty folder.
fn make(folder: &Path, capacity: Capacity, network: u64) -> Result<Header, StateError> {
    for part in [folder.to_owned(), folder.join("maps"), folder.join("links")] {
        fs::create_dir(&part).map_err(|source| StateError::Refused { path: part, source })?;
    }
    Header::create(folder, capacity, network)
}

/// The folders of layouts, with their numbers.
fn layouts(state: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_prefix('v')?.parse().ok();
    let entries: Vec<fs::DirEntry> = fs::read_dir(state)?.collect::<io::Result<_>>()?;
    Ok(entries.iter().filter_map(|entry| Some((number(entry)?, entry.path()))).collect())
}

/// The folder of the newest layout that is complete.
fn complete_folder(state: &Path) -> io::Result<Option<(PathBuf, Header)>> {
    let mut folders = layouts(state)?;
    folders.sort_unstable();
    let complete = |(_, folder): (u32, PathBuf)| {
        let header = Header::open(&folder).filter(|header| header.phase() == Phase::Complete)?;
        Some((folder, header))
    };
    Ok(folders.into_iter().rev().find_map(complete))
}

/// If new maps have taken the place of others: removes those, and gives the new ones their name. The links of both
/// folders are the same, and stay.
fn finish_migration(state: &Path) -> io::Result<()> {
    let next = state.join(NEXT);
    let complete = Header::open(&next).filter(|header| header.phase() == Phase::Complete);
    let Some(header) = complete else { return Ok(()) };
    for (_, folder) in layouts(state)? {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(next, state.join(format!("v{}", header.layout())))
}

/// Refuses what a newer version made and may still use.
fn refuse_newer(state: &Path) -> Result<(), StateError> {
    let refused = |source| StateError::Refused { path: state.to_owned(), source };
    for (found, folder) in layouts(state).map_err(refused)? {
        let is_in_use = || Header::open(&folder).is_some_and(|header| header.phase() != Phase::Building);
        if found > LAYOUT && is_in_use() {
            return Err(StateError::Newer { folder, found });
        }
    }
    Ok(())
}

/// Whether a folder was made in another network namespace.
fn is_of_another(folder: &Path, network: u64) -> bool {
    Header::open(folder).is_some_and(|header| header.network() != network)
}

/// Whether a program still runs by one of the links in a folder.
fn has_living_link(folder: &Path) -> bool {
    let links = fs::read_dir(folder.join("links")).into_iter().flatten().flatten();
    links
        .filter_map(|link| bpf::open(&link.path()).ok())
        .any(|link| bpf::link_interface(link.as_fd()).is_ok_and(|interface| interface != 0))
}

/// Removes a folder of pins, the links first, so that no program runs on maps that are half gone.
fn remove(folder: &Path) -> io::Result<()> {
    for link in fs::read_dir(folder.join("links")).into_iter().flatten().flatten() {
        if let Ok(link) = bpf::open(&link.path()) {
            // Its interface may be gone, which detaches it as well.
            let _ = bpf::detach_link(link.as_fd());
        }
    }
    for part in [folder.join("links"), folder.to_owned()] {
        match fs::remove_dir_all(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Names the network namespace of the calling thread, never reused.
fn network_namespace() -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: an open descriptor, and a buffer of the length that is named; both live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Of asm-generic/socket.h, since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;
