//! Capabilities: what the data plane needs is kept, everything else is dropped.

use caps::{CapSet, Capability, CapsHashSet};

use crate::config::{Config, RelayMode, Rtcp};

/// Why privileges are not right.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The data plane needs more than we have.
    #[error(
        "[relay] needs {missing}, which this process does not have; run as root, or grant it: \
         setcap cap_net_admin,cap_bpf,cap_perfmon,cap_net_raw,cap_ipc_lock+ep /path/to/culvert. A configuration without [relay] needs no privilege"
    )]
    Missing {
        /// The capabilities.
        missing: String,
    },
    /// The system refuses.
    #[error("capabilities cannot be read or dropped: {0}")]
    Refused(#[from] caps::errors::CapsError),
}

/// What the data plane needs: to attach and to change its maps (CAP_BPF; CAP_PERFMON lets the verifier read map values
/// through pointers), and routes and links (CAP_NET_ADMIN).
const RELAY: [Capability; 3] = [Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON];

/// What packets take that need user space: sockets of AF_XDP, and raw ones (CAP_NET_RAW), and memory for their frames
/// (CAP_IPC_LOCK, where RLIMIT_MEMLOCK is low). Without these such packets are left to the network stack.
const USER_SPACE: [Capability; 2] = [Capability::CAP_NET_RAW, Capability::CAP_IPC_LOCK];

/// Keeps what the configuration needs, in this thread and all that it starts.
pub(super) fn drop_unneeded(config: &Config) -> Result<(), PrivilegeError> {
    let mut needed = CapsHashSet::new();
    if let Some(relay) = &config.relay {
        let permitted = caps::read(None, CapSet::Permitted)?;
        // Without them `auto` takes sockets, and `user` does anyway.
        let has_xdp = RELAY.iter().all(|capability| permitted.contains(capability));
        let wants_xdp = match relay.mode {
            RelayMode::Native | RelayMode::Generic => true,
            RelayMode::Auto => has_xdp,
            RelayMode::User => false,
        };
        if wants_xdp {
            needed.extend(RELAY);
            needed.extend(USER_SPACE.iter().filter(|capability| permitted.contains(capability)));
        }
        // The program hands RTCP to sockets of AF_XDP, or to the kernel path; sockets have it anyway.
        if wants_xdp && (relay.rtcp == Rtcp::Terminate || config.gb28181.is_some()) {
            needed.insert(Capability::CAP_NET_RAW);
        }
        let missing: Vec<String> = needed.difference(&permitted).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(PrivilegeError::Missing { missing: missing.join(", ") });
        }
    }
    let http = config.http.iter().map(|http| http.listen);
    if config.sip.listen.iter().map(|listen| listen.address).chain(http).any(|address| address.port() < 1024)
    {
        let permitted = caps::read(None, CapSet::Permitted)?;
        needed.extend(permitted.get(&Capability::CAP_NET_BIND_SERVICE));
    }
    caps::set(None, CapSet::Effective, &needed)?;
    caps::set(None, CapSet::Permitted, &needed)?;
    caps::clear(None, CapSet::Inheritable)?;
    Ok(())
}
