//! What is ours, as far as the packet path must know: our addresses, and the ports that media may arrive on. It tells by
//! them what comes to a port that no leg has, and what pretends to come from us.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use aya::maps::{HashMap, MapData};
use relay_common::address::Ipv6;
use relay_common::limits::LOCAL_ADDRESSES;

use crate::kernel::SharedArray;
use crate::local_addresses::LocalAddresses;

/// Writes the tables of them: the kernel's, where there is a program, and that of this process's own workers.
pub(crate) struct Ours {
    map: Option<HashMap<MapData, Ipv6, u32>>,
    known: HashSet<IpAddr>,
    for_workers: LocalAddresses,
}

impl Ours {
    /// Tables that nobody has written yet; from now on media may arrive on `ports`.
    pub(crate) fn new(
        map: HashMap<MapData, Ipv6, u32>,
        words: &SharedArray<u64>,
        ports: &[RangeInclusive<u16>],
    ) -> Self {
        for port in ports.iter().cloned().flatten() {
            words.word64(u32::from(port >> 6), 0).fetch_or(1 << (port & 63), Ordering::Relaxed);
        }
        // Whoever pinned the map before may have left addresses in it.
        let known = map.keys().filter_map(Result::ok).map(|address| to_std(&address)).collect();
        Self { map: Some(map), known, for_workers: LocalAddresses::default() }
    }

    /// The same without a program. What comes to a port without a socket is answered by the network stack.
    pub(crate) fn without_program() -> Self {
        Self { map: None, known: HashSet::new(), for_workers: LocalAddresses::default() }
    }

    /// The addresses, as the workers of this process see them.
    pub(crate) fn local_addresses(&self) -> LocalAddresses {
        self.for_workers.clone()
    }

    /// These are our addresses now.
    pub(crate) fn set_addresses(&mut self, addresses: &[IpAddr]) {
        let wanted: HashSet<IpAddr> = addresses.iter().copied().take(LOCAL_ADDRESSES as usize).collect();
        if addresses.len() > wanted.len() {
            tracing::debug!(
                addresses = addresses.len(),
                "more addresses than the packet path knows, or some twice"
            );
        }
        self.for_workers.replace(wanted.iter().copied().map(from_std));
        let Some(map) = &mut self.map else { return };
        for gone in self.known.difference(&wanted) {
            // One that is not there needs no removal.
            let _ = map.remove(&from_std(*gone));
        }
        let mut known: HashSet<IpAddr> = wanted.intersection(&self.known).copied().collect();
        for address in wanted.difference(&self.known) {
            match map.insert(from_std(*address), 0, 0) {
                Ok(()) => {
                    known.insert(*address);
                }
                // Tried again when addresses are read the next time.
                Err(error) => {
                    tracing::warn!(%address, %error, "the packet path does not know one of our addresses");
                }
            }
        }
        self.known = known;
    }
}

/// In the form of the maps: IPv4 as ::ffff:a.b.c.d.
fn from_std(address: IpAddr) -> Ipv6 {
    Ipv6::from_octets(match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    })
}

fn to_std(address: &Ipv6) -> IpAddr {
    IpAddr::from(address.octets()).to_canonical()
}
