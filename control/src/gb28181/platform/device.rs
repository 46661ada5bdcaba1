//! A device and its channels, as the platform knows them. It must not know messages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::charset::Charset;
use super::super::id::DeviceId;
use super::super::manscdp::{DeviceInfo, DeviceStatus, Item};
use super::super::version::Version;
use crate::sip::transport::Flow;
use crate::timers::TimerHandle;

/// A device that has registered at least once.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    /// Where it really is: not what its Contact says.
    pub(super) flow: Flow,
    /// What it announced, if anything.
    pub(super) version: Option<Version>,
    pub(super) charset: Charset,
    /// Whether it registered, lives, and its connection stands.
    pub(super) online: bool,
    pub(super) registered: Instant,
    /// When its registration ends; `None`: it has ended.
    pub(super) expires: Option<Instant>,
    /// When it was heard of last.
    pub(super) seen: Instant,
    /// After which silence it is offline.
    pub(super) patience: Duration,
    pub(super) keepalives: u64,
    /// How often its address changed.
    pub(super) moves: u64,
    /// Another address from which the same identifier registered, and how often that happened.
    pub(super) rival: Option<(IpAddr, u64)>,
    /// Parts that it said do not work.
    pub(super) faulty: Vec<DeviceId>,
    pub(super) info: Option<DeviceInfo>,
    pub(super) status: Option<DeviceStatus>,
    pub(super) channels: BTreeMap<DeviceId, Item>,
    pub(super) catalog: Catalog,
    pub(super) timer: Option<TimerHandle>,
    pub(super) refresh: Option<TimerHandle>,
}

/// What is known of a device's catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Catalog {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Everything that the device announced came.
    Complete,
    /// Fewer channels came than the device announced, though it was asked again. Those that were known before are kept.
    Partial {
        /// Different ones that came.
        received: usize,
        /// How many were announced.
        expected: usize,
    },
}

impl Device {
    /// When there is something to look at: silence for too long, or the end of the registration.
    pub(super) fn due(&self) -> Option<Instant> {
        let silent = self.online.then(|| self.seen + self.patience);
        self.expires.into_iter().chain(silent).min()
    }

    /// The words that both understand.
    pub(super) fn version(&self) -> Version {
        self.version.unwrap_or(Version::V2016).min(Version::OURS)
    }
}
