//! Our own addresses, for workers of this process that decide about packets.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use relay_common::address::Ipv6;

/// The addresses. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalAddresses(Arc<RwLock<HashSet<Ipv6>>>);

impl LocalAddresses {
    /// Whether this is one of ours; one of IPv4 as ::ffff:a.b.c.d. Asked only about sources that are not admitted.
    pub(crate) fn contains(&self, address: &Ipv6) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// These are ours from now on, and no others.
    pub(crate) fn replace(&self, addresses: impl Iterator<Item = Ipv6>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses.collect();
    }
}
