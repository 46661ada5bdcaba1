//! The file as it is written: keys and defaults, nothing checked across keys yet.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::value::{Listen, PortRange, Prefix, Secret, UserPattern};
use super::{DigestAlgorithm, Mode, RelayMode, Rtcp, Source};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) sip: Sip,
    #[serde(default, rename = "account")]
    pub(super) accounts: Vec<Account>,
    pub(super) relay: Option<Relay>,
    #[serde(default, rename = "network")]
    pub(super) networks: Vec<Network>,
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Rule>,
    pub(super) gb28181: Option<super::gb28181::Table>,
    pub(super) http: Option<Http>,
    #[serde(default)]
    pub(super) admin: Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sip {
    pub(super) listen: Vec<Listen>,
    pub(super) realm: String,
    #[serde(default = "default::min_expires")]
    pub(super) min_expires: u32,
    #[serde(default = "default::default_expires")]
    pub(super) default_expires: u32,
    #[serde(default = "default::max_expires")]
    pub(super) max_expires: u32,
    #[serde(default = "default::contacts_per_account")]
    pub(super) contacts_per_account: usize,
    #[serde(default = "default::session_expires")]
    pub(super) session_expires: u32,
    #[serde(default = "default::min_session_expires")]
    pub(super) min_session_expires: u32,
    #[serde(default = "default::ring_timeout_seconds")]
    pub(super) ring_timeout_seconds: u32,
    #[serde(default = "default::shutdown_seconds")]
    pub(super) shutdown_seconds: u32,
    #[serde(default)]
    pub(super) timers: Timers,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timers {
    pub(super) t1_ms: u32,
    pub(super) t2_ms: u32,
    pub(super) t4_ms: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1_ms: 500, t2_ms: 4_000, t4_ms: 5_000 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) transactions: usize,
    pub(super) calls: usize,
    pub(super) queue: usize,
    pub(super) message_bytes: usize,
    pub(super) tcp_connections: usize,
    pub(super) tcp_connections_per_source: usize,
    pub(super) tcp_idle_seconds: u32,
    pub(super) authentication_failures_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 200_000,
            calls: 10_000,
            queue: 4_096,
            message_bytes: 65_535,
            tcp_connections: 4_096,
            tcp_connections_per_source: 256,
            tcp_idle_seconds: 3_600,
            authentication_failures_per_minute: 20,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ha1: Option<Secret>,
    pub(super) algorithms: Option<Vec<DigestAlgorithm>>,
    #[serde(default)]
    pub(super) authenticate: Authenticate,
    pub(super) from: Option<Vec<Prefix>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Authenticate {
    #[default]
    Always,
    Never,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relay {
    pub(super) interfaces: Vec<String>,
    #[serde(default = "default::mode")]
    pub(super) mode: RelayMode,
    #[serde(default = "default::ports")]
    pub(super) ports: PortRange,
    #[serde(default = "default::legs")]
    pub(super) legs: u32,
    #[serde(default = "default::punt_frames")]
    pub(super) punt_frames: u32,
    #[serde(default = "default::quarantine_seconds")]
    pub(super) quarantine_seconds: u32,
    #[serde(default = "default::source")]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) relearn_after_seconds: u32,
    #[serde(default)]
    pub(super) quality: bool,
    #[serde(default)]
    pub(super) leg_bits_per_second: u64,
    #[serde(default)]
    pub(super) leg_packets_per_second: u32,
    #[serde(default = "default::rtcp")]
    pub(super) rtcp: Rtcp,
    #[serde(default = "default::media_timeout_seconds")]
    pub(super) media_timeout_seconds: u32,
    pub(super) state: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) interface: String,
    pub(super) address: IpAddr,
    pub(super) advertise: Option<IpAddr>,
    #[serde(default)]
    pub(super) vlan: Vec<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: SocketAddr,
    pub(super) token_file: PathBuf,
    #[serde(default = "default::http_connections")]
    pub(super) connections: usize,
    #[serde(default = "default::http_requests")]
    pub(super) requests: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) from: UserPattern,
    pub(super) to: UserPattern,
    pub(super) mode: Mode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) socket: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/culvert/admin.sock") }
    }
}

/// Defaults that serde can call; the values are stated in the example file too, and a test compares them.
mod default {
    use super::{PortRange, RelayMode, Rtcp, Source};

    pub(super) fn min_expires() -> u32 {
        60
    }
    pub(super) fn default_expires() -> u32 {
        3_600
    }
    pub(super) fn max_expires() -> u32 {
        7_200
    }
    pub(super) fn contacts_per_account() -> usize {
        8
    }
    pub(super) fn session_expires() -> u32 {
        1_800
    }
    pub(super) fn min_session_expires() -> u32 {
        90
    }
    pub(super) fn ring_timeout_seconds() -> u32 {
        180
    }
    pub(super) fn shutdown_seconds() -> u32 {
        5
    }
    pub(super) fn mode() -> RelayMode {
        RelayMode::Auto
    }
    pub(super) fn ports() -> PortRange {
        PortRange { first: 30_000, last: 39_999 }
    }
    pub(super) fn legs() -> u32 {
        relay_user::DEFAULT_LEGS
    }
    pub(super) fn punt_frames() -> u32 {
        relay_user::DEFAULT_PUNT_FRAMES
    }
    pub(super) fn quarantine_seconds() -> u32 {
        30
    }
    pub(super) fn source() -> Source {
        Source::Pinned
    }
    pub(super) fn rtcp() -> Rtcp {
        Rtcp::Relay
    }
    pub(super) fn http_connections() -> usize {
        256
    }
    pub(super) fn http_requests() -> usize {
        64
    }
    pub(super) fn media_timeout_seconds() -> u32 {
        300
    }
}
