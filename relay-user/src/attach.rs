//! Attaching the XDP program to interfaces: native where the driver can, generic where it cannot, and saying which.

use std::ffi::CString;
use std::fmt;
use std::io;

use aya::programs::{ProgramError, Xdp, XdpMode};

/// Which XDP mode the caller wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// Native if the driver can, generic otherwise.
    #[default]
    Auto,
    /// Native or nothing.
    Native,
    /// Generic, even where native would work.
    Generic,
}

/// Which XDP mode an interface runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel allocates anything for the packet.
    Native,
    /// In the network stack: works with every driver, several times slower.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
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
        "interface `{0}` runs another XDP program (`ip link show dev {0}` names it): another Culvert, or another tool; \
         stop that first, or take it off with `ip link set dev {0} xdp off`"
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
        source: Box<ProgramError>,
    },
}

/// Attaches the program to one interface.
///
/// # Errors
/// See [`AttachError`]; nothing is attached then.
pub(crate) fn attach(
    program: &mut Xdp,
    name: &str,
    choice: ModeChoice,
) -> Result<AttachedInterface, AttachError> {
    let index = index_of(name)?;
    let attached = |mode, reason: String| {
        let state = InterfaceState::Up;
        AttachedInterface { name: name.to_owned(), index, state, mode, reason }
    };
    if choice == ModeChoice::Generic {
        program.attach_to_if_index(index, XdpMode::Skb).map_err(|error| explain(name, error))?;
        return Ok(attached(Mode::Generic, "the configuration asks for generic mode".into()));
    }
    match program.attach_to_if_index(index, XdpMode::Driver) {
        Ok(_) => Ok(attached(Mode::Native, "the driver supports it".into())),
        Err(error) => {
            let refused = match explain(name, error) {
                AttachError::NoNative { source, .. } if choice == ModeChoice::Auto => source,
                other => return Err(other),
            };
            program.attach_to_if_index(index, XdpMode::Skb).map_err(|error| explain(name, error))?;
            Ok(attached(Mode::Generic, format!("the driver refused native mode: {refused}")))
        }
    }
}

/// The index of the interface of this name.
fn index_of(name: &str) -> Result<u32, AttachError> {
    let missing = || AttachError::Missing(name.to_owned());
    let c_name = CString::new(name).map_err(|_| missing())?;
    // SAFETY: reads a string that ends in zero and outlives the call.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => Err(missing()),
        index => Ok(index),
    }
}

/// Finds the kernel's error number in aya's error.
fn explain(name: &str, error: ProgramError) -> AttachError {
    let number = match &error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
        _ => None,
    };
    let name = name.to_owned();
    match number {
        Some(libc::EBUSY | libc::EEXIST) => AttachError::Busy(name),
        Some(libc::EPERM | libc::EACCES) => AttachError::Privilege(name),
        Some(number @ (libc::EOPNOTSUPP | libc::ERANGE | libc::ENOSPC | libc::E2BIG)) => {
            AttachError::NoNative { name, source: io::Error::from_raw_os_error(number) }
        }
        Some(libc::ENODEV) => AttachError::Missing(name),
        _ => AttachError::Other { name, source: Box::new(error) },
    }
}
