//! Tags, branches and Call-IDs: unique, and not to be guessed (RFC 3261 section 19.3).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::transaction::MAGIC_COOKIE;

/// Makes identifiers from a secret that is drawn once, so that drawing cannot fail in the middle of a call.
pub struct Identifiers {
    keyed: Hmac<Sha256>,
    next: u64,
}

impl Identifiers {
    /// Draws the secret.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(Self { keyed: Hmac::<Sha256>::new(&key.into()), next: 0 })
    }

    /// A token of 16 hexadecimal digits.
    pub fn token(&mut self) -> String {
        self.next += 1;
        let mut keyed = self.keyed.clone();
        keyed.update(&self.next.to_be_bytes());
        let digest = keyed.finalize().into_bytes();
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A branch of a new client transaction (RFC 3261 section 8.1.1.7).
    pub fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", self.token())
    }
}
