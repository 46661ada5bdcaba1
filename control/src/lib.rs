//! Culvert's control plane: sessions, protocols and the daemon `culvert`. Knows sessions; never touches an eBPF map.

pub mod session;
pub mod sip;
