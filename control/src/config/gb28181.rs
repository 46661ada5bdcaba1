//! `[gb28181]`: the platform and its devices, as written and as validated.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::check::{Checker, seconds};
use super::{Account, ConfigError, DigestAlgorithm, Secret};
use crate::gb28181::charset::Charset;
use crate::gb28181::id::DeviceId;

/// Longest time that a camera may be given to answer: commands and the HTTP API wait for a minute.
const MOST_INVITE_SECONDS: u32 = 45;

/// `[gb28181]`.
#[derive(Clone, Debug)]
pub struct Gb28181 {
    /// Our identifier: 20 digits.
    pub platform: DeviceId,
    /// Realm of digest authentication, and the domain in our addresses.
    pub realm: String,
    /// The password of devices that have none of their own; `None`: only the listed devices may register.
    pub password: Option<Secret>,
    /// Algorithms to offer to those, the preferred first.
    pub algorithms: Vec<DigestAlgorithm>,
    /// Devices that differ from the others.
    pub devices: HashMap<DeviceId, Gb28181Device>,
    /// What is written to devices.
    pub charset: Charset,
    /// How often devices say that they live.
    pub keepalive: Duration,
    /// After how many that did not come a device is offline.
    pub keepalive_losses: u32,
    /// What becomes of a keepalive of a device that is not registered.
    pub unregistered_keepalive: UnregisteredKeepalive,
    /// Whether a device may come from another address without registering anew.
    pub roaming: bool,
    /// Whether devices are told the time.
    pub date: bool,
    /// Shortest registration that is accepted.
    pub min_expires: Duration,
    /// Longest registration that is granted, and what a device gets that asks for none.
    pub max_expires: Duration,
    /// How often the catalogue is asked for again; `None`: only after registration.
    pub catalog: Option<Duration>,
    /// How long a camera may take to answer an INVITE.
    pub invite: Duration,
    /// How long a stream goes on after its last viewer.
    pub linger: Duration,
    /// Silence after which a stream is taken for lost.
    pub silence: Duration,
    /// Devices that are remembered.
    pub most_devices: usize,
    /// Channels of one device.
    pub channels_per_device: usize,
    /// REGISTERs of one device in a minute.
    pub registers_per_minute: u32,
    /// Questions to devices that are under way at a time.
    pub questions: usize,
}

/// `[[gb28181.device]]`.
#[derive(Clone, Debug)]
pub struct Gb28181Device {
    /// Its password; `None`: that of all.
    pub password: Option<Secret>,
    /// Algorithms to offer to it, the preferred first.
    pub algorithms: Vec<DigestAlgorithm>,
    /// What is written to it.
    pub charset: Charset,
    /// How often it says that it lives.
    pub keepalive: Duration,
    /// After how many that did not come it is offline.
    pub keepalive_losses: u32,
}

/// What becomes of a keepalive of a device that is not registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnregisteredKeepalive {
    /// No answer: by the standard the device then registers (9.6.1).
    #[default]
    Ignore,
    /// 403, upon which many devices register at once.
    Refuse,
    /// A device that was registered, and comes from where it came from, is online again.
    Accept,
}

impl Gb28181 {
    /// What is said of a device, or else of all.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Gb28181Device {
        self.devices.get(id).cloned().unwrap_or_else(|| Gb28181Device {
            password: None,
            algorithms: self.algorithms.clone(),
            charset: self.charset,
            keepalive: self.keepalive,
            keepalive_losses: self.keepalive_losses,
        })
    }

    /// The password of a device; `None`: it may not register.
    #[must_use]
    pub fn password(&self, id: &DeviceId) -> Option<&Secret> {
        self.devices.get(id).and_then(|device| device.password.as_ref()).or(self.password.as_ref())
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    platform: DeviceId,
    realm: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    #[serde(default = "default::algorithms")]
    algorithms: Vec<DigestAlgorithm>,
    #[serde(default)]
    charset: Charset,
    #[serde(default = "default::keepalive_seconds")]
    keepalive_seconds: u32,
    #[serde(default = "default::keepalive_losses")]
    keepalive_losses: u32,
    #[serde(default)]
    unregistered_keepalive: UnregisteredKeepalive,
    #[serde(default)]
    roaming: bool,
    #[serde(default = "default::date")]
    date: bool,
    #[serde(default = "default::min_expires")]
    min_expires: u32,
    #[serde(default = "default::max_expires")]
    max_expires: u32,
    #[serde(default = "default::catalog_seconds")]
    catalog_seconds: u32,
    #[serde(default = "default::invite_seconds")]
    invite_seconds: u32,
    #[serde(default = "default::linger_seconds")]
    linger_seconds: u32,
    #[serde(default = "default::silence_seconds")]
    silence_seconds: u32,
    #[serde(default = "default::most_devices")]
    most_devices: usize,
    #[serde(default = "default::channels_per_device")]
    channels_per_device: usize,
    #[serde(default = "default::registers_per_minute")]
    registers_per_minute: u32,
    #[serde(default = "default::questions")]
    questions: usize,
    #[serde(default, rename = "device")]
    devices: Vec<Device>,
}

/// `[[gb28181.device]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: DeviceId,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    algorithms: Option<Vec<DigestAlgorithm>>,
    charset: Option<Charset>,
    keepalive_seconds: Option<u32>,
    keepalive_losses: Option<u32>,
}

impl Table {
    pub(super) fn check(self, checker: &Checker<'_>, accounts: &[Account]) -> Result<Gb28181, ConfigError> {
        if !self.platform.is_standard() {
            let found = format!("\"{}\"", self.platform);
            let fix = "Digits 11 to 13 are 200 for a platform, as in 34020000002000000001.";
            return checker.fail("gb28181.platform", &found, "20 digits", fix);
        }
        let realm = self.realm.as_deref().or(self.platform.domain()).unwrap_or_default().to_owned();
        if realm.is_empty()
            || !realm.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        {
            let found = format!("{realm:?}");
            let fix = "Remove the key to have the first ten digits of the platform.";
            return checker.fail("gb28181.realm", &found, "letters, digits, dots and hyphens", fix);
        }
        for (key, value) in [
            ("gb28181.keepalive_seconds", self.keepalive_seconds as usize),
            ("gb28181.keepalive_losses", self.keepalive_losses as usize),
            ("gb28181.min_expires", self.min_expires as usize),
            ("gb28181.invite_seconds", self.invite_seconds as usize),
            ("gb28181.silence_seconds", self.silence_seconds as usize),
            ("gb28181.most_devices", self.most_devices),
            ("gb28181.channels_per_device", self.channels_per_device),
            ("gb28181.registers_per_minute", self.registers_per_minute as usize),
            ("gb28181.questions", self.questions),
        ] {
            checker.positive(key, value)?;
        }
        if self.invite_seconds > MOST_INVITE_SECONDS {
            let found = self.invite_seconds.to_string();
            let fix = "Who asks for a stream waits for a minute at most.";
            return checker.fail("gb28181.invite_seconds", &found, "1 to 45 seconds", fix);
        }
        if self.min_expires > self.max_expires {
            let found = format!("min_expires = {}, max_expires = {}", self.min_expires, self.max_expires);
            let fix = "Put the two values in order.";
            return checker.fail("gb28181.min_expires", &found, "min_expires <= max_expires", fix);
        }
        let given = self.password.is_some() || self.password_file.is_some();
        if self.password.is_some() && self.password_file.is_some() {
            let fix = "Remove one of the two.";
            return checker.fail("gb28181", "password and password_file", "one of the two", fix);
        }
        let password =
            given.then(|| checker.password("gb28181", self.password.as_ref(), self.password_file.as_deref()));
        let password = password.transpose()?;
        algorithms_are_some(checker, "gb28181.algorithms", &self.algorithms)?;
        let devices = self.devices(checker, password.is_some(), accounts)?;
        if password.is_none() && devices.is_empty() {
            let expected = "a password that devices share, or devices with passwords of their own";
            let fix = "There is no default password. Add password_file = \"…\", or [[gb28181.device]].";
            return checker.fail("gb28181.password", "nothing", expected, fix);
        }
        Ok(Gb28181 {
            platform: self.platform,
            realm,
            password,
            algorithms: self.algorithms,
            devices,
            charset: self.charset,
            keepalive: seconds(self.keepalive_seconds),
            keepalive_losses: self.keepalive_losses,
            unregistered_keepalive: self.unregistered_keepalive,
            roaming: self.roaming,
            date: self.date,
            min_expires: seconds(self.min_expires),
            max_expires: seconds(self.max_expires),
            catalog: (self.catalog_seconds > 0).then(|| seconds(self.catalog_seconds)),
            invite: seconds(self.invite_seconds),
            linger: seconds(self.linger_seconds),
            silence: seconds(self.silence_seconds),
            most_devices: self.most_devices,
            channels_per_device: self.channels_per_device,
            registers_per_minute: self.registers_per_minute,
            questions: self.questions,
        })
    }

    fn devices(
        &self,
        checker: &Checker<'_>,
        shared: bool,
        accounts: &[Account],
    ) -> Result<HashMap<DeviceId, Gb28181Device>, ConfigError> {
        let users: HashSet<&str> = accounts.iter().map(|account| account.user.as_str()).collect();
        let mut valid = HashMap::new();
        for (index, device) in self.devices.iter().enumerate() {
            let key = format!("gb28181.device[{index}]");
            let id = format!("\"{}\"", device.id);
            if device.id == self.platform {
                let fix = "Give the device an identifier of its own, in its settings too.";
                return checker.fail(&format!("{key}.id"), &id, "another than the platform's", fix);
            }
            if users.contains(device.id.as_str()) {
                let fix = "Remove the [[account]]: a terminal is one or the other.";
                return checker.fail(&format!("{key}.id"), &id, "a name that no [[account]] has", fix);
            }
            let given = usize::from(device.password.is_some()) + usize::from(device.password_file.is_some());
            if given > 1 || given == 0 && !shared {
                let found = if given == 0 { "none of them" } else { "both of them" };
                let fix = "There is no default password; gb28181.password is for devices without one.";
                return checker.fail(&key, found, "one of password, password_file", fix);
            }
            let password = (given == 1)
                .then(|| checker.password(&key, device.password.as_ref(), device.password_file.as_deref()));
            let algorithms = device.algorithms.clone().unwrap_or_else(|| self.algorithms.clone());
            algorithms_are_some(checker, &format!("{key}.algorithms"), &algorithms)?;
            let keepalive = device.keepalive_seconds.unwrap_or(self.keepalive_seconds);
            let losses = device.keepalive_losses.unwrap_or(self.keepalive_losses);
            checker.positive(&format!("{key}.keepalive_seconds"), keepalive as usize)?;
            checker.positive(&format!("{key}.keepalive_losses"), losses as usize)?;
            let checked = Gb28181Device {
                password: password.transpose()?,
                algorithms,
                charset: device.charset.unwrap_or(self.charset),
                keepalive: seconds(keepalive),
                keepalive_losses: losses,
            };
            if valid.insert(device.id, checked).is_some() {
                let found = format!("{id} a second time");
                return checker.fail(
                    &format!("{key}.id"),
                    &found,
                    "each device once",
                    "Remove one of the two.",
                );
            }
        }
        Ok(valid)
    }
}

fn algorithms_are_some(
    checker: &Checker<'_>,
    key: &str,
    algorithms: &[DigestAlgorithm],
) -> Result<(), ConfigError> {
    if !algorithms.is_empty() {
        return Ok(());
    }
    checker.fail(key, "an empty list", "\"MD5\", \"SM3\" or both", "Remove the key to have its default.")
}

/// Defaults that serde can call; the values are stated in the example file too, and a test compares them.
mod default {
    use super::DigestAlgorithm;

    pub(super) fn algorithms() -> Vec<DigestAlgorithm> {
        vec![DigestAlgorithm::Md5]
    }
    pub(super) fn keepalive_seconds() -> u32 {
        60
    }
    pub(super) fn keepalive_losses() -> u32 {
        3
    }
    pub(super) fn date() -> bool {
        true
    }
    pub(super) fn min_expires() -> u32 {
        60
    }
    pub(super) fn max_expires() -> u32 {
        86_400
    }
    pub(super) fn catalog_seconds() -> u32 {
        3_600
    }
    pub(super) fn invite_seconds() -> u32 {
        10
    }
    pub(super) fn linger_seconds() -> u32 {
        10
    }
    pub(super) fn silence_seconds() -> u32 {
        10
    }
    pub(super) fn most_devices() -> usize {
        20_000
    }
    pub(super) fn channels_per_device() -> usize {
        10_000
    }
    pub(super) fn registers_per_minute() -> u32 {
        20
    }
    pub(super) fn questions() -> usize {
        256
    }
}
