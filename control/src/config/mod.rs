//! The one configuration file: read, typed and validated before anything starts.
//!
//! A value of these types is valid: nothing downstream checks again. Every error names the file, the key, what was
//! found, what was expected and how to fix it. `docs/culvert.example.toml` explains every key.

mod check;
mod error;
mod file;
mod gb28181;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use relay_user::{RateLimit, Tags};

pub use error::ConfigError;
pub use gb28181::{Gb28181, Gb28181Device, UnregisteredKeepalive};
pub use value::{Listen, PortRange, Prefix, Secret, Transport, UserPattern};

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Signalling: listeners, registrations, timers, limits.
    pub sip: Sip,
    /// Who may register and call, in the order of the file. User names are unique.
    pub accounts: Vec<Account>,
    /// The data plane; `None` when no rule needs it.
    pub relay: Option<Relay>,
    /// The networks that media is relayed between, one for each interface of the relay.
    pub networks: Vec<Network>,
    /// Who may call whom; the first match decides.
    pub rules: Vec<Rule>,
    /// The GB/T 28181 platform; `None` where there is none.
    pub gb28181: Option<Gb28181>,
    /// The HTTP API; `None` where there is none.
    pub http: Option<Http>,
    /// Where `culvert status` asks.
    pub admin_socket: PathBuf,
}

/// `[sip]`.
#[derive(Clone, Debug)]
pub struct Sip {
    /// Listeners; at least one.
    pub listen: Vec<Listen>,
    /// Realm of digest authentication; never empty.
    pub realm: String,
    /// Shortest registration that is accepted.
    pub min_expires: Duration,
    /// Registration time of a terminal that asks for none.
    pub default_expires: Duration,
    /// Longest registration that is granted.
    pub max_expires: Duration,
    /// Most contacts of one account at a time.
    pub contacts_per_account: usize,
    /// Session interval that we ask for (RFC 4028).
    pub session_expires: Duration,
    /// Shortest session interval that we accept.
    pub min_session_expires: Duration,
    /// How long a call may ring.
    pub ring_timeout: Duration,
    /// How long a graceful stop may take.
    pub shutdown: Duration,
    /// Base values of the transaction timers.
    pub timers: Timers,
    /// What strangers may make grow.
    pub limits: Limits,
}

/// `[sip.timers]`: RFC 3261 section 17.1.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round-trip time.
    pub t1: Duration,
    /// Longest interval between retransmissions of anything but an INVITE.
    pub t2: Duration,
    /// How long a message may linger in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// `[sip.limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transactions alive at a time.
    pub transactions: usize,
    /// Calls alive at a time.
    pub calls: usize,
    /// Messages between the sockets and the core.
    pub queue: usize,
    /// Bytes of one SIP message.
    pub message_bytes: usize,
    /// TCP connections.
    pub tcp_connections: usize,
    /// TCP connections from one address.
    pub tcp_connections_per_source: usize,
    /// Silence after which a TCP connection is closed.
    pub tcp_idle: Duration,
    /// Failed authentications from one address in a minute.
    pub authentication_failures_per_minute: u32,
}

/// `[[account]]`: a terminal that may register and call.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user part of its address; also its name in digest authentication.
    pub user: String,
    /// How it proves itself.
    pub proof: Proof,
}

/// How a terminal proves that it is who it says.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Digest authentication with a password, and the algorithms to offer, the preferred first; at least one.
    Password(Secret, Vec<DigestAlgorithm>),
    /// Digest authentication with MD5 and its hash of user, realm and password.
    Ha1(Secret),
    /// None, but its requests must come from one of these networks.
    Source(Vec<Prefix>),
}

/// A hash of digest authentication (RFC 8760).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum DigestAlgorithm {
    /// What every terminal knows.
    #[serde(rename = "MD5")]
    Md5,
    /// What terminals should know.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// What GB/T 28181-2022 recommends.
    #[serde(rename = "SM3")]
    Sm3,
}

/// `[relay]`.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Interfaces that the XDP program is attached to; at least one.
    pub interfaces: Vec<String>,
    /// In the driver, in the stack, or whichever works.
    pub mode: RelayMode,
    /// Media ports, on every network.
    pub ports: PortRange,
    /// Legs that fit into the kernel's table.
    pub legs: u32,
    /// AF_XDP frames for each receive queue, for packets that need user space.
    pub punt_frames: u32,
    /// How long a port rests after its call.
    pub quarantine: Duration,
    /// Who may send to a port.
    pub source: Source,
    /// Silence of a learned source after which another may be learned; `None`: never.
    pub relearn_after: Option<Duration>,
    /// Whether loss, order and jitter of RTP are measured.
    pub quality: bool,
    /// What one port may receive in a second, in bits and in packets; `None` for no limit.
    pub limit: Option<RateLimit>,
    /// What becomes of RTCP.
    pub rtcp: Rtcp,
    /// Silence of both sides after which a call ends; `None`: never.
    pub media_timeout: Option<Duration>,
    /// What keeps media running when the daemon ends otherwise than by being stopped.
    pub state: State,
}

/// Where maps and links are pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nowhere: media ends with the daemon.
    None,
    /// In [`DEFAULT_STATE`] if that is possible, else nowhere.
    Default,
    /// In this folder, or the daemon does not start.
    Folder(PathBuf),
}

/// The state folder where the configuration names none.
pub const DEFAULT_STATE: &str = "/sys/fs/bpf/culvert/default";

/// Who forwards media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayMode {
    /// The XDP program: in the driver where it can, else in the network stack; sockets where there is no XDP.
    Auto,
    /// The XDP program in the driver, or nothing.
    Native,
    /// The XDP program in the network stack.
    Generic,
    /// Sockets of the daemon, which take no privilege.
    User,
}

/// Who may send media to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The address and the port of the SDP.
    Pinned,
    /// The address of the SDP, any port.
    LearnPort,
    /// Whoever sends the first packet that looks right.
    Learn,
}

/// What becomes of RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rtcp {
    /// It goes the way of the media.
    Relay,
    /// It ends here, and we report ourselves.
    Terminate,
}

/// `[[network]]`: a network that terminals are reached on.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name in logs and status; unique.
    pub name: String,
    /// The interface that leads to it; one of the relay's.
    pub interface: String,
    /// Our media address there.
    pub address: IpAddr,
    /// The address that terminals there are told: [`Network::address`], unless a NAT stands before us.
    pub advertise: IpAddr,
    /// VLAN tags of frames towards it.
    pub vlan: Tags,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file with the token that requests must have; it is made if it is not there.
    pub token_file: PathBuf,
    /// Connections at a time.
    pub connections: usize,
    /// Requests that are worked on at a time.
    pub requests: usize,
}

/// `[[rule]]`: who may call whom, and how media travels.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Pattern of the caller's user part.
    pub from: UserPattern,
    /// Pattern of the called user part.
    pub to: UserPattern,
    /// How media travels.
    pub mode: Mode,
}

/// How the media of a call travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// From terminal to terminal; SDP passes unchanged.
    Direct,
    /// Through our data plane; terminals see our address only.
    Relay,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        })
    }
}

impl Config {
    /// Reads and validates the file, and the password files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] when a file cannot be read, is not TOML of the known keys, or holds a value that cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { file: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    /// Like [`Config::load`], with the text of the file already read. `path` is for messages and relative names.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let parsed = toml::from_str(text)
            .map_err(|error| ConfigError::Syntax { file: path.to_owned(), error: Box::new(error) })?;
        check::validate(path, parsed)
    }

    /// The rule that decides a call; `None`: the call is not allowed.
    #[must_use]
    pub fn rule(&self, from: &str, to: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.from.matches(from) && rule.to.matches(to))
    }
}

#[cfg(test)]
mod tests;
