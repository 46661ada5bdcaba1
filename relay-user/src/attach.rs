//! Attaching the XDP program to interfaces: native where the driver can, generic where it cannot, and saying which.
//! Where the program runs already, it is replaced in place.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::kernel::bpf;

/// Which XDP mode the caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// Native if the driver can, generic otherwise; sockets where neither can be had.
    #[default]
    Auto,
    /// Native or nothing.
    Native,
    /// Generic, even where native would work.
    Generic,
    /// Sockets of this process, even where XDP would work. Takes no privilege.
    User,
}

/// Which XDP mode an interface runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel allocates anything for the packet.
    Native,
    /// In the network stack: works with every driver, several times slower.
    Generic,
    /// No program: sockets of this process, slower again.
    User,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::User => "user",
        })
    }
}

/// Whether an interface can be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// It is up and has a carrier.
    Up,
    /// It is down, or has no carrier: packets towards it are dropped and counted.
    Down,
    /// It was deleted. When one of its name is there again, the program is attached to that.
    Gone,
}

impl fmt::Display for InterfaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Gone => "gone",
        })
    }
}

/// An interface that the program runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedInterface {
    /// Its name now, or the last that it had.
    pub name: String,
    /// Its index now, or the last that it had.
    pub index: u32,
    /// Whether it can be used now.
    pub state: InterfaceState,
    /// The mode that runs.
    pub mode: Mode,
    /// Why this mode runs, in one sentence; or why none does.
    pub reason: String,
}

/// Why the program cannot run on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no interface of this name.
    #[error("interface `{0}` does not exist; `ip -brief link` lists those that do")]
    Missing(String),
    /// Another program is attached.
    #[error(
        "interface `{0}` runs another XDP program (`ip link show dev {0}` names it): another Culvert, media that one \
         left running with another state folder, or another tool; stop that first, or take it off with `ip link set dev {0} xdp off`"
    )]
    Busy(String),
    /// The process lacks the privilege.
    #[error("attaching to interface `{0}` takes root, or the capabilities CAP_BPF and CAP_NET_ADMIN")]
    Privilege(String),
    /// Native mode was demanded, and the driver has none.
    #[error(
        "interface `{name}` has no native XDP ({source}): a driver without it, an MTU above what it takes, or too many \
         queues for it; use another interface, lower the MTU, or allow mode `auto`"
    )]
    NoNative {
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("attaching to interface `{name}` failed")]
    Other {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// One interface's link.
struct Held {
    link: OwnedFd,
    mode: Mode,
    pin: Option<PathBuf>,
}

/// The links by which the program runs on interfaces. Dropped, they end, unless they are pinned.
pub(crate) struct Attachments {
    /// Where links are pinned.
    folder: Option<PathBuf>,
    /// By interface index.
    held: HashMap<u32, Held>,
}

impl Attachments {
    /// No links, or those that are pinned in a folder. What is not a link of an interface that is there is removed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn open(folder: Option<PathBuf>) -> io::Result<Self> {
        let mut held = HashMap::new();
        for entry in
            folder.iter().map(std::fs::read_dir).collect::<io::Result<Vec<_>>>()?.into_iter().flatten()
        {
            let pin = entry?.path();
            let found = parse(&pin).zip(bpf::open(&pin).ok());
            let living =
                found.filter(|((index, _), link)| bpf::link_interface(link.as_fd()).ok() == Some(*index));
            match living {
                Some(((index, mode), link)) => {
                    held.insert(index, Held { link, mode, pin: Some(pin) });
                }
                None => std::fs::remove_file(pin)?,
            }
        }
        Ok(Self { folder, held })
    }

    /// Runs the program on an interface. Where a link is held already, the program is replaced in it, and no packet
    /// falls between the old one and the new.
    ///
    /// # Errors
    /// See [`AttachError`]; nothing is attached then.
    pub(crate) fn attach(
        &mut self,
        program: BorrowedFd<'_>,
        name: &str,
        choice: ModeChoice,
    ) -> Result<AttachedInterface, AttachError> {
        let index = index_of(name)?;
        let attached = |mode, reason: String| {
            let state = InterfaceState::Up;
            AttachedInterface { name: name.to_owned(), index, state, mode, reason }
        };
        if let Some(held) = self.held.get(&index).filter(|held| choice.allows(held.mode)) {
            match bpf::update_link(held.link.as_fd(), program) {
                Ok(()) => return Ok(attached(held.mode, "it ran there, and was replaced in place".into())),
                // The interface went away just now.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                Err(error) => return Err(explain(name, error)),
            }
        }
        self.detach(index);
        if choice == ModeChoice::Generic {
            self.create(program, index, Mode::Generic).map_err(|error| explain(name, error))?;
            return Ok(attached(Mode::Generic, "the configuration asks for generic mode".into()));
        }
        match self.create(program, index, Mode::Native) {
            Ok(()) => Ok(attached(Mode::Native, "the driver supports it".into())),
            Err(error) => {
                let refused = match explain(name, error) {
                    AttachError::NoNative { source, .. } if choice == ModeChoice::Auto => source,
                    other => return Err(other),
                };
                self.create(program, index, Mode::Generic).map_err(|error| explain(name, error))?;
                Ok(attached(Mode::Generic, format!("the driver refused native mode: {refused}")))
            }
        }
    }

    /// Ends the link of an interface, if there is one.
    pub(crate) fn detach(&mut self, index: u32) {
        let Some(held) = self.held.remove(&index) else { return };
        // The interface may be gone, and somebody else may have removed the pin: either way the link is over.
        let _ = bpf::detach_link(held.link.as_fd());
        if let Some(pin) = held.pin {
            let _ = std::fs::remove_file(pin);
        }
    }

    /// Ends the links of all interfaces but these.
    pub(crate) fn keep_only(&mut self, wanted: &[u32]) {
        let others: Vec<u32> = self.held.keys().filter(|index| !wanted.contains(index)).copied().collect();
        for index in others {
            self.detach(index);
        }
    }

    fn create(&mut self, program: BorrowedFd<'_>, index: u32, mode: Mode) -> io::Result<()> {
        let flags = match mode {
            Mode::Native => bpf::NATIVE,
            Mode::Generic => bpf::GENERIC,
            // Sockets are attached nowhere.
            Mode::User => return Err(io::ErrorKind::Unsupported.into()),
        };
        let link = bpf::create_link(program, index, flags)?;
        let pin = self.folder.as_ref().map(|folder| folder.join(format!("{index}-{mode}")));
        if let Some(pin) = &pin {
            bpf::pin(link.as_fd(), pin)?;
        }
        self.held.insert(index, Held { link, mode, pin });
        Ok(())
    }
}

impl ModeChoice {
    fn allows(self, mode: Mode) -> bool {
        match self {
            Self::Auto => true,
            Self::Native => mode == Mode::Native,
            Self::Generic => mode == Mode::Generic,
            Self::User => mode == Mode::User,
        }
    }
}

/// Interface and mode of a link, from the name of its pin: `3-native`.
fn parse(pin: &Path) -> Option<(u32, Mode)> {
    let (index, mode) = pin.file_name()?.to_str()?.split_once('-')?;
    let mode = [Mode::Native, Mode::Generic].into_iter().find(|known| known.to_string() == mode)?;
    Some((index.parse().ok()?, mode))
}

/// The index of the interface of this name.
pub(crate) fn index_of(name: &str) -> Result<u32, AttachError> {
    let missing = || AttachError::Missing(name.to_owned());
    let c_name = CString::new(name).map_err(|_| missing())?;
    // SAFETY: reads a string that ends in zero and outlives the call.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => Err(missing()),
        index => Ok(index),
    }
}

/// Says what the kernel's error number means here.
fn explain(name: &str, source: io::Error) -> AttachError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => AttachError::Busy(name),
        Some(libc::EPERM | libc::EACCES) => AttachError::Privilege(name),
        Some(libc::EOPNOTSUPP | libc::ERANGE | libc::ENOSPC | libc::E2BIG) => {
            AttachError::NoNative { name, source }
        }
        Some(libc::ENODEV) => AttachError::Missing(name),
        _ => AttachError::Other { name, source },
    }
}
