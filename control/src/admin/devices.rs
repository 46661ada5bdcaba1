//! What is said of GB/T 28181 devices, over the admin socket. These are the names that scripts read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Quality;
use crate::gb28181::id::DeviceId;

/// A device that has registered at least once since the daemon started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Its identifier.
    pub id: DeviceId,
    /// Whether it is registered and lives.
    pub online: bool,
    /// What the identifier says that it is; `null` where it says nothing.
    pub kind: Option<String>,
    /// What it calls itself; empty while it has not said.
    pub name: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// Where it really is: `udp:192.0.2.1:5060`.
    pub address: String,
    /// `X-GB-Ver`, as it announced it: `2.0` is the standard of 2016, `3.0` that of 2022.
    pub version: Option<String>,
    /// Seconds since it came.
    pub registered_seconds: u64,
    /// Seconds until its registration ends; `null`: it has ended.
    pub expires_in_seconds: Option<u64>,
    /// Seconds since it was heard of.
    pub silent_seconds: f64,
    /// How often it said that it lives.
    pub keepalives: u64,
    /// How often its address or port changed.
    pub address_changes: u64,
    /// Another address that registers with the same identifier.
    pub rival: Option<String>,
    /// Whether it says that it works; `null` while it has not said.
    pub works: Option<bool>,
    /// Whether it says that it records.
    pub records: Option<bool>,
    /// Parts that it says do not work.
    pub faulty: Vec<DeviceId>,
    /// How many channels are known.
    pub channels: usize,
    /// Whether these are all.
    pub catalog: CatalogState,
}

/// How much of a catalogue is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum CatalogState {
    /// None came yet.
    Unknown,
    /// All that the device announced.
    Complete,
    /// Less than the device announced, though it was asked again.
    Partial {
        /// Channels that came.
        received: usize,
        /// Channels that were announced.
        expected: usize,
    },
}

/// A channel of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Its identifier.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// What the identifier says that it is.
    pub kind: Option<String>,
    /// Whether the device says that it is on; `null` where it says nothing.
    pub on: Option<bool>,
    /// The directory that it is in.
    pub parent: Option<DeviceId>,
    /// Whether it is a directory.
    pub directory: bool,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// The administrative region.
    pub civil_code: String,
    /// Where it is, in words.
    pub address: String,
    /// What it can turn: 1 ball, 2 half ball, 3 fixed, 4 remote; `null` where it says nothing.
    pub ptz: Option<u8>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Degrees north.
    pub latitude: Option<f64>,
}

/// A viewer that gets a channel's media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playing {
    /// Its name in `culvert streams` and `culvert hangup`.
    pub viewer: String,
    /// The device.
    pub device: DeviceId,
    /// The channel.
    pub channel: DeviceId,
    /// Where the packets come from, as the viewer sees it.
    pub from: SocketAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// Their SSRC.
    pub ssrc: u32,
}

/// Media of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// The device.
    pub device: DeviceId,
    /// The channel.
    pub channel: DeviceId,
    /// Where it stands.
    pub state: StreamState,
    /// Seconds since the first viewer asked for it.
    pub age_seconds: f64,
    /// INVITEs that the camera was sent.
    pub invites: u64,
    /// The SSRC that the camera was told to send with.
    pub ssrc: u32,
    /// The one that it says it sends with, where that is another.
    pub answered_ssrc: Option<u32>,
    /// Where its packets come from; `null` while none came.
    pub source: Option<SocketAddr>,
    /// Packets that came from it.
    pub received: u64,
    /// Bytes that came from it, Ethernet header included.
    pub received_bytes: u64,
    /// Packets to its port that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// How well its media arrives; `null` while none came.
    pub quality: Option<Quality>,
    /// Who watches, in the order in which they came.
    pub viewers: Vec<Viewer>,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamState {
    /// The camera was asked, and has not answered.
    Inviting,
    /// The camera has accepted.
    Running,
    /// The camera does not send, and will be asked again.
    Waiting,
}

/// Somebody who watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Viewer {
    /// Its name in `culvert hangup`.
    pub viewer: String,
    /// Where packets go.
    pub to: SocketAddr,
    /// Where they come from, as the viewer sees it; `null` while that is being prepared.
    pub from: Option<SocketAddr>,
    /// Their SSRC.
    pub ssrc: u32,
    /// Its leg in `culvert tap`.
    pub leg: Option<String>,
    /// Packets that left.
    pub sent: u64,
    /// Bytes that left.
    pub sent_bytes: u64,
    /// Copies that did not leave, by reason.
    pub lost: BTreeMap<String, u64>,
}

/// What a channel can be ordered to do, beside moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Send a key frame now
    KeyFrame,
    /// Record
    Record,
    /// Do not record
    StopRecord,
    /// Guard: raise alarms
    Guard,
    /// Do not guard
    Unguard,
    /// Forget the alarm that was raised
    ResetAlarm,
    /// Start the device anew
    Reboot,
}
