//! Who forwards: the XDP program, or sockets of this process where there is none; and the interfaces in both cases.

use std::collections::HashMap;
use std::{fmt, io};

use crate::attach::{AttachError, AttachedInterface, InterfaceState, Mode};
use crate::device_counters::DeviceCounters;
use crate::error::StartError;
use crate::interfaces::{self, Interfaces};
use crate::kernel::{LoadError, Program};
use crate::netlink::Link;
use crate::pins::StateError;

/// Who forwards packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The XDP program, natively or generically: [`AttachedInterface`] says which, for each interface.
    Xdp,
    /// Sockets of this process, without any privilege.
    User {
        /// Why, in one sentence.
        reason: String,
    },
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp => f.write_str("xdp"),
            Self::User { reason } => write!(f, "user ({reason})"),
        }
    }
}

/// Why sockets do in place of the program, if the caller left the choice to us: what it lacks is a privilege or a kernel,
/// and not an interface that was misspelt or is somebody else's.
pub(crate) fn reason_for_sockets(error: &StartError) -> Option<String> {
    let lacks = matches!(
        error,
        StartError::Load(LoadError::Privilege(_) | LoadError::Refused(_))
            | StartError::Attach(AttachError::Privilege(_) | AttachError::Other { .. })
    );
    // The folder for what outlives the process is privileged, too.
    let denied = match error {
        StartError::State(StateError::Refused { source, .. } | StateError::Mount { source, .. }) => {
            source.kind() == io::ErrorKind::PermissionDenied
        }
        _ => false,
    };
    let because = || {
        let mut text = format!("XDP cannot be had: {error}");
        let mut source = std::error::Error::source(error);
        while let Some(deeper) = source {
            // A verifier's log is many lines.
            let line = deeper.to_string();
            text = format!("{text}: {}", line.lines().next().unwrap_or_default());
            source = deeper.source();
        }
        text
    };
    (lacks || denied).then(because)
}

/// The interfaces that media arrives on and leaves by.
pub(crate) enum Ports {
    /// Those that the program runs on.
    Program(Box<Interfaces>),
    /// Those whose traffic is left to the network stack.
    Sockets(PlainInterfaces),
}

impl Ports {
    /// The program, where there is one.
    pub(crate) fn program(&mut self) -> Option<&mut Program> {
        match self {
            Self::Program(interfaces) => Some(&mut interfaces.program),
            Self::Sockets(_) => None,
        }
    }

    /// The interfaces that are there, by index, and their slots.
    pub(crate) fn slots(&self) -> HashMap<u32, u32> {
        match self {
            Self::Program(interfaces) => interfaces.slots(),
            Self::Sockets(interfaces) => interfaces.slots(),
        }
    }

    /// Takes the program off every interface.
    pub(crate) fn detach(&mut self) {
        if let Self::Program(interfaces) = self {
            interfaces.detach();
        }
    }

    /// What there is to say of each interface.
    pub(crate) fn report(&self) -> Vec<AttachedInterface> {
        match self {
            Self::Program(interfaces) => interfaces.report(),
            Self::Sockets(interfaces) => interfaces.0.clone(),
        }
    }

    /// Counts what the pair of devices between blocks of groups refuses, too; a program's business.
    pub(crate) fn count_pair(&mut self, near: u32) {
        match self {
            Self::Program(interfaces) => interfaces.count_pair(near),
            Self::Sockets(_) => {}
        }
    }

    /// What devices refused; a program's business.
    pub(crate) fn drops(&self) -> Vec<DeviceCounters> {
        match self {
            Self::Program(interfaces) => interfaces.drops(),
            Self::Sockets(_) => Vec::new(),
        }
    }

    /// A device appeared, or changed. If it is one of ours that was deleted and made again, its slot is returned.
    pub(crate) fn link_changed(&mut self, link: &Link) -> Option<u32> {
        match self {
            Self::Program(interfaces) => interfaces.link_changed(link),
            Self::Sockets(interfaces) => interfaces.link_changed(link),
        }
    }

    /// A device is gone. Says whether it was one of ours.
    pub(crate) fn link_gone(&mut self, index: u32) -> bool {
        match self {
            Self::Program(interfaces) => interfaces.link_gone(index),
            Self::Sockets(interfaces) => interfaces.link_gone(index),
        }
    }

    /// The list of all devices: those of ours that are not in it are gone.
    pub(crate) fn read_anew(&mut self, links: &[Link]) -> Vec<(u32, u32)> {
        match self {
            Self::Program(interfaces) => interfaces.read_anew(links),
            Self::Sockets(interfaces) => interfaces.read_anew(links),
        }
    }
}

/// Interfaces without a program. The place in the list is the slot.
pub(crate) struct PlainInterfaces(Vec<AttachedInterface>);

impl PlainInterfaces {
    /// The interfaces of these names; `reason` says why no program runs on them.
    ///
    /// # Errors
    /// One is missing, or is no Ethernet device; the same as with the program.
    pub(crate) fn find(names: &[String], links: &[Link], reason: &str) -> Result<Self, StartError> {
        let indexes = interfaces::find(names, links)?;
        let report = |(name, index): (&String, u32)| {
            let link = links.iter().find(|link| link.index == index);
            AttachedInterface {
                name: name.clone(),
                index,
                state: link.map_or(InterfaceState::Gone, state),
                mode: Mode::User,
                reason: reason.to_owned(),
            }
        };
        Ok(Self(names.iter().zip(indexes).map(report).collect()))
    }

    pub(crate) fn slots(&self) -> HashMap<u32, u32> {
        let there = (0..).zip(&self.0).filter(|(_, interface)| interface.state != InterfaceState::Gone);
        there.map(|(slot, interface)| (interface.index, slot)).collect()
    }

    fn link_changed(&mut self, link: &Link) -> Option<u32> {
        let known = |interface: &&mut AttachedInterface| {
            interface.index == link.index && interface.state != InterfaceState::Gone
        };
        if let Some(interface) = self.0.iter_mut().find(known) {
            interface.name.clone_from(&link.name);
            interface.state = state(link);
            return None;
        }
        let again = |interface: &AttachedInterface| {
            interface.state == InterfaceState::Gone && interface.name == link.name && link.ethernet
        };
        let slot = self.0.iter().position(again)?;
        let interface = self.0.get_mut(slot)?;
        (interface.index, interface.state) = (link.index, state(link));
        u32::try_from(slot).ok()
    }

    fn link_gone(&mut self, index: u32) -> bool {
        let there = |interface: &&mut AttachedInterface| {
            interface.index == index && interface.state != InterfaceState::Gone
        };
        let found = self.0.iter_mut().find(there);
        found.map(|interface| interface.state = InterfaceState::Gone).is_some()
    }

    fn read_anew(&mut self, links: &[Link]) -> Vec<(u32, u32)> {
        for interface in &mut self.0 {
            if !links.iter().any(|link| link.index == interface.index) {
                interface.state = InterfaceState::Gone;
            }
        }
        links.iter().filter_map(|link| Some((link.index, self.link_changed(link)?))).collect()
    }
}

fn state(link: &Link) -> InterfaceState {
    if link.up { InterfaceState::Up } else { InterfaceState::Down }
}
