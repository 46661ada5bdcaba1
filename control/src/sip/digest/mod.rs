//! Digest authentication (RFC 7616, RFC 2617, RFC 8760): who may register and call. Every request is checked, a refresh
//! too; a response is checked over the literal text that the terminal sent. It must not know accounts or transactions.
//!
//! Left out: `auth-int` (bodies change on their way), `userhash` and `username*` (no terminal at hand sends them).

mod compute;
mod nonce;
#[cfg(test)]
mod tests;

pub use compute::{Algorithm, Hash, Secret, respond};

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use compute::{Claim, expected_response};
use nonce::{Freshness, Nonces};
use subtle::ConstantTimeEq;

use super::message::{AuthParams, Method};

/// How nonces are made and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceOptions {
    /// How long a nonce is good. Default 300 s.
    pub lifetime: Duration,
    /// Most nonces whose use is remembered. Only terminals that proved who they are take one; over the limit the
    /// oldest are forgotten and become stale. Default 65536.
    pub most: usize,
}

impl Default for NonceOptions {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(300), most: 65_536 }
    }
}

/// What the credentials of a request are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They prove that the request is from this user.
    Accepted {
        /// The user name in the credentials.
        user: String,
    },
    /// There are none for this realm, or the nonce is no longer good: challenge.
    Challenge {
        /// The password was right and only the nonce was not: the terminal need not ask its user.
        stale: bool,
    },
    /// They are wrong: unknown user, wrong password, or an algorithm that was not offered. Which of these is not told
    /// to the peer.
    Refused {
        /// The user name in the credentials, for the log.
        user: String,
    },
    /// They cannot be read: answer 400.
    Malformed {
        /// The parameter that is absent or wrong.
        parameter: &'static str,
    },
}

/// What a user proves itself with, and by which algorithms.
#[derive(Clone, Debug)]
pub struct Account {
    /// Password or stored hash.
    pub secret: Secret,
    /// The algorithms that the user is challenged with; no other is accepted.
    pub algorithms: Vec<Algorithm>,
}

/// Checks credentials for one realm. Its nonces are good for the life of the process at most.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    nonces: Mutex<Nonces>,
}

impl Authenticator {
    /// An authenticator with a random key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(realm: &str, options: NonceOptions, now: Instant) -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self { realm: realm.to_owned(), nonces: Mutex::new(Nonces::new(key, options, now)) })
    }

    /// The values of the WWW-Authenticate fields of a 401: one challenge for each algorithm, in this order, so the
    /// strongest comes first (RFC 8760 section 2.4).
    #[must_use]
    pub fn challenges(&self, algorithms: &[Algorithm], stale: bool, now: Instant) -> Vec<String> {
        let nonce = self.nonces().issue(now);
        let challenge = |algorithm: &Algorithm| {
            let challenge = AuthParams::digest()
                .with_quoted("realm", &self.realm)
                .with_quoted("nonce", &nonce)
                .with_token("algorithm", algorithm.name())
                .with_quoted("qop", "auth");
            let challenge = if stale { challenge.with_token("stale", "true") } else { challenge };
            challenge.to_string()
        };
        algorithms.iter().map(challenge).collect()
    }

    /// Checks the Authorization fields of a request; the first that is Digest and for this realm counts. `account`
    /// finds the account of a user name.
    pub fn check(
        &self,
        fields: &[AuthParams],
        method: &Method,
        account: impl FnOnce(&str) -> Option<Account>,
        now: Instant,
    ) -> Verdict {
        let ours = |field: &&AuthParams| {
            field.scheme.eq_ignore_ascii_case("Digest")
                && field.value("realm").as_deref() == Some(&self.realm)
        };
        let Some(field) = fields.iter().find(ours) else {
            return Verdict::Challenge { stale: false };
        };
        let claim = match Claim::read(field) {
            Ok(claim) => claim,
            Err(parameter) => return Verdict::Malformed { parameter },
        };
        let account = account(&claim.user);
        let known = account.as_ref().is_some_and(|account| account.algorithms.contains(&claim.algorithm));
        // An unknown user costs as much time as a known one, so that the time tells nothing.
        let secret = account.map_or_else(|| Secret::Password(String::new()), |account| account.secret);
        let expected = expected_response(&claim, &self.realm, &secret, method);
        let right =
            expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(claim.response.as_bytes())));
        if !(known && right) {
            return Verdict::Refused { user: claim.user };
        }
        let count = claim.qop.as_ref().map(|qop| qop.count);
        match self.nonces().spend(&claim.nonce, count, now) {
            Freshness::Fresh => Verdict::Accepted { user: claim.user },
            Freshness::Stale => Verdict::Challenge { stale: true },
        }
    }

    /// The data behind the lock is whole after every statement.
    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
