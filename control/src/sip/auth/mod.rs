//! Who may register and call: accounts, their proofs, and a limit on guessing. Every request that needs a proof brings
//! one; nothing is remembered of earlier ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::core::Core;
use super::digest::{Account, Algorithm, Authenticator as Digest, NonceOptions, Secret, Verdict};
use super::message::{HeaderName, Message, Method};
use super::transport::Flow;
use crate::attempts::Attempts;
use crate::config::{Config, DigestAlgorithm, Proof};

/// For whom the proof is asked (RFC 3261 section 22.2, 22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// 401, WWW-Authenticate, Authorization.
    Registrar,
    /// 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Asks {
    fn status(self) -> u16 {
        match self {
            Self::Registrar => 401,
            Self::Proxy => 407,
        }
    }

    fn challenge(self) -> HeaderName {
        match self {
            Self::Registrar => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    fn credentials(self) -> HeaderName {
        match self {
            Self::Registrar => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// The accounts, and what it takes to check them.
#[derive(Debug)]
pub struct Authenticator {
    accounts: HashMap<String, Proof>,
    digest: Digest,
    failures: Attempts<IpAddr>,
}

/// What a proof is worth.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Challenge { algorithms: Vec<Algorithm>, stale: bool },
    Refused(&'static str),
    Malformed(&'static str),
}

impl Authenticator {
    /// The accounts of the configuration.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(config: &Config) -> Result<Self, getrandom::Error> {
        let accounts = config.accounts.iter().map(|account| (account.user.clone(), account.proof.clone()));
        Ok(Self {
            accounts: accounts.collect(),
            digest: Digest::new(&config.sip.realm, NonceOptions::default(), Instant::now())?,
            failures: Attempts::new(config.sip.limits.authentication_failures_per_minute),
        })
    }

    /// Whether there is an account of this name.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.accounts.contains_key(user)
    }

    fn check(&mut self, now: Instant, flow: &Flow, request: &Message, user: &str, asks: Asks) -> Outcome {
        let source = flow.remote().ip();
        if self.failures.is_over_limit(now, &source) {
            return Outcome::Refused("too many failed attempts from your address; wait a minute");
        }
        if let Some(Proof::Source(networks)) = self.accounts.get(user) {
            if networks.iter().any(|network| network.contains(source)) {
                return Outcome::Accepted;
            }
            self.failures.note(now, source);
            return Outcome::Refused("this account may not be used from your address");
        }
        let Ok(fields) = request.auth_params(asks.credentials()) else {
            return Outcome::Malformed("credentials");
        };
        let method = request.method().cloned().unwrap_or(Method::REGISTER);
        let accounts = &self.accounts;
        let verdict = self.digest.check(&fields, &method, |user| account(accounts.get(user)?), now);
        match verdict {
            Verdict::Accepted { user: proven } if proven == user => Outcome::Accepted,
            Verdict::Accepted { .. } => Outcome::Refused("these credentials are for another account"),
            Verdict::Challenge { stale } => {
                let offered = self.accounts.get(user).and_then(account).map(|account| account.algorithms);
                // An unknown account is challenged like a known one, so that names cannot be tried out.
                Outcome::Challenge { algorithms: offered.unwrap_or_else(|| vec![Algorithm::Md5]), stale }
            }
            Verdict::Refused { .. } => {
                self.failures.note(now, source);
                Outcome::Refused("wrong user name or password")
            }
            Verdict::Malformed { parameter } => Outcome::Malformed(parameter),
        }
    }
}

impl Core {
    /// Checks that a request comes from the account; the error is the response to give.
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        flow: &Flow,
        request: &Message,
        user: &str,
        asks: Asks,
    ) -> Result<(), Box<Message>> {
        match self.authenticator.check(now, flow, request, user, asks) {
            Outcome::Accepted => Ok(()),
            Outcome::Challenge { algorithms, stale } => {
                self.counters.count("sip_authentication_challenges");
                let mut response = self.response(request, asks.status());
                for challenge in self.authenticator.digest.challenges(&algorithms, stale, now) {
                    response.headers.push(asks.challenge(), challenge);
                }
                Err(response.into())
            }
            Outcome::Refused(why) => {
                self.counters.count("sip_authentication_failures");
                Err(self.refusal(flow, request, 403, why).into())
            }
            Outcome::Malformed(what) => {
                let text = format!("{} cannot be read: {what}", asks.credentials());
                Err(self.refusal(flow, request, 400, &text).into())
            }
        }
    }
}

fn account(proof: &Proof) -> Option<Account> {
    match proof {
        Proof::Password(password, algorithms) => Some(Account {
            secret: Secret::Password(password.reveal().to_owned()),
            algorithms: algorithms.iter().copied().map(offered).collect(),
        }),
        Proof::Ha1(digits) => Some(Account {
            secret: Secret::Ha1 { hash: super::digest::Hash::Md5, hex: digits.reveal().to_owned() },
            algorithms: vec![Algorithm::Md5],
        }),
        Proof::Source(_) => None,
    }
}

/// The algorithm that the configuration names.
#[must_use]
pub fn offered(algorithm: DigestAlgorithm) -> Algorithm {
    match algorithm {
        DigestAlgorithm::Md5 => Algorithm::Md5,
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Sm3 => Algorithm::Sm3,
    }
}
