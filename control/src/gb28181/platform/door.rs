//! Who may come in: digest authentication of devices, and limits on trying. Every REGISTER brings a proof, a refresh too: who
//! knows a Call-ID must not be able to move a device or to log it off.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::super::id::DeviceId;
use crate::attempts::Attempts;
use crate::config::{Config, Gb28181};
use crate::sip::auth::offered;
use crate::sip::digest::{Account, Algorithm, Authenticator, NonceOptions, Secret, Verdict};
use crate::sip::message::{HeaderName, Message, Method};

/// Failures from one address are this many times those of one device: many devices may stand behind one address, and one
/// with a wrong password must not shut the others out.
const DEVICES_BEHIND_AN_ADDRESS: u32 = 16;

/// Checks proofs.
#[derive(Debug)]
pub(super) struct Door {
    settings: Arc<Gb28181>,
    digest: Authenticator,
    /// Failures by address and claimed identifier, and by address alone.
    failures: Attempts<(IpAddr, DeviceId)>,
    failures_of_address: Attempts<IpAddr>,
    /// REGISTERs by address and claimed identifier.
    registers: Attempts<(IpAddr, DeviceId)>,
}

/// What a REGISTER is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is from this device.
    Granted,
    /// Ask for a proof: the values of WWW-Authenticate.
    Challenge(Vec<String>),
    /// 403.
    Refused(&'static str),
    /// 400.
    Malformed(String),
}

impl Door {
    pub(super) fn new(config: &Config, settings: Arc<Gb28181>) -> Result<Self, getrandom::Error> {
        let limit = config.sip.limits.authentication_failures_per_minute;
        Ok(Self {
            digest: Authenticator::new(&settings.realm, NonceOptions::default(), Instant::now())?,
            failures: Attempts::new(limit),
            failures_of_address: Attempts::new(limit.saturating_mul(DEVICES_BEHIND_AN_ADDRESS)),
            registers: Attempts::new(settings.registers_per_minute),
            settings,
        })
    }

    /// Whether a device registers more often than it may. Each call counts.
    pub(super) fn is_crowded(&mut self, now: Instant, source: IpAddr, id: DeviceId) -> bool {
        if self.registers.is_over_limit(now, &(source, id)) {
            return true;
        }
        self.registers.note(now, (source, id));
        false
    }

    /// Checks the proof of a REGISTER.
    pub(super) fn check(&mut self, now: Instant, source: IpAddr, id: DeviceId, request: &Message) -> Entry {
        if self.failures.is_over_limit(now, &(source, id))
            || self.failures_of_address.is_over_limit(now, &source)
        {
            return Entry::Refused("too many failed attempts; wait a minute");
        }
        let fields = match request.auth_params(HeaderName::Authorization) {
            Ok(fields) => fields,
            Err(error) => return Entry::Malformed(error.to_string()),
        };
        let account = |user: &str| {
            let password = self.settings.password(&id).filter(|_| user == id.as_str())?;
            let secret = Secret::Password(password.reveal().to_owned());
            Some(Account { secret, algorithms: self.algorithms(&id) })
        };
        match self.digest.check(&fields, &Method::REGISTER, account, now) {
            Verdict::Accepted { .. } => Entry::Granted,
            Verdict::Challenge { stale } => {
                Entry::Challenge(self.digest.challenges(&self.algorithms(&id), stale, now))
            }
            Verdict::Refused { .. } => {
                self.failures.note(now, (source, id));
                self.failures_of_address.note(now, source);
                Entry::Refused("wrong user name or password")
            }
            Verdict::Malformed { parameter } => {
                Entry::Malformed(format!("the parameter {parameter} of Authorization is absent or wrong"))
            }
        }
    }

    fn algorithms(&self, id: &DeviceId) -> Vec<Algorithm> {
        self.settings.device(id).algorithms.into_iter().map(offered).collect()
    }
}
