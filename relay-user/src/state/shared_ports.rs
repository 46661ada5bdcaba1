//! Ports that many sources share, each with the number under which the kernel half finds the legs on it.

use std::collections::HashMap;
use std::net::SocketAddr;

use relay_common::limits::SHARED_PORTS;

use crate::error::InstallError;
use crate::leg::LegId;

/// The shared ports.
#[derive(Debug)]
pub(super) struct SharedPorts {
    open: HashMap<SocketAddr, (u16, Option<LegId>)>,
    free: Vec<u16>,
}

impl Default for SharedPorts {
    fn default() -> Self {
        Self { open: HashMap::new(), free: (1..=SHARED_PORTS).rev().collect() }
    }
}

impl SharedPorts {
    /// Takes a number for a port, whose leg is to be installed.
    ///
    /// # Errors
    /// It is open already, or all numbers are taken.
    pub(super) fn open(&mut self, local: SocketAddr) -> Result<(), InstallError> {
        if self.open.contains_key(&local) {
            return Err(InstallError::Taken(local));
        }
        let number = self.free.pop().ok_or(InstallError::SharedPortsFull(SHARED_PORTS))?;
        self.open.insert(local, (number, None));
        Ok(())
    }

    /// Takes over a port that a predecessor opened, with its number. Says whether that was free.
    pub(super) fn adopt(&mut self, local: SocketAddr, number: u16, id: LegId) -> bool {
        let Some(at) = self.free.iter().rposition(|free| *free == number) else { return false };
        self.free.swap_remove(at);
        self.open.insert(local, (number, Some(id)));
        true
    }

    /// The number of an open port.
    pub(super) fn number(&self, local: SocketAddr) -> Option<u16> {
        self.open.get(&local).map(|(number, _)| *number)
    }

    /// Its leg is there.
    pub(super) fn installed(&mut self, local: SocketAddr, id: LegId) {
        if let Some((_, leg)) = self.open.get_mut(&local) {
            *leg = Some(id);
        }
    }

    /// Gives its number back.
    pub(super) fn close(&mut self, local: SocketAddr) {
        if let Some((number, _)) = self.open.remove(&local) {
            self.free.push(number);
        }
    }

    /// The same, if its leg never came: the installation failed.
    pub(super) fn close_unless_installed(&mut self, local: SocketAddr) {
        if self.open.get(&local).is_some_and(|(_, leg)| leg.is_none()) {
            self.close(local);
        }
    }
}
