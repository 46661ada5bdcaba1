//! Nonces: a time and a number, signed, so that nothing is kept for a challenge that nobody answers. What is kept is
//! which counts of an accepted nonce were used, within a bound. It must not know users or hashes of passwords.

use std::collections::BTreeMap;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::NonceOptions;
use super::compute::to_hex;

/// What a nonce is: when it was issued (milliseconds since the start), and its number. Orders by age.
type NonceId = (u64, u64);

/// Counts below the highest seen that are still told apart: requests may overtake each other.
const WINDOW: u32 = 64;

/// Whether a nonce may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It may, and now has been.
    Fresh,
    /// It is not ours, too old, forgotten, or used with this count before.
    Stale,
}

/// Issues nonces and remembers the use of those that were accepted.
pub(super) struct Nonces {
    key: [u8; 64],
    options: NonceOptions,
    start: Instant,
    issued: u64,
    used: BTreeMap<NonceId, Use>,
    /// Nonces up to this one may have been used and forgotten.
    forgotten: Option<NonceId>,
}

#[derive(Clone, Copy, Debug)]
enum Use {
    /// Without a count: good once.
    Once,
    /// With counts: the highest, and which of the 64 counts up to it were used (bit 0 is the highest).
    Counted { highest: u32, seen: u64 },
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces")
            .field("issued", &self.issued)
            .field("used", &self.used.len())
            .finish_non_exhaustive()
    }
}

impl Nonces {
    pub(super) fn new(key: [u8; 64], options: NonceOptions, now: Instant) -> Self {
        Self { key, options, start: now, issued: 0, used: BTreeMap::new(), forgotten: None }
    }

    pub(super) fn issue(&mut self, now: Instant) -> String {
        self.issued += 1;
        let id = (self.millis(now), self.issued);
        format!("{:016x}{:016x}{}", id.0, id.1, self.signature(id))
    }

    /// Uses a nonce, with a count (`qop=auth`) or without. To be called only once the response has proved right, so
    /// that strangers can neither use nonces up nor make us remember any.
    pub(super) fn spend(&mut self, nonce: &str, count: Option<u32>, now: Instant) -> Freshness {
        let Some(id) = self.verify(nonce) else {
            return Freshness::Stale;
        };
        let lifetime = u64::try_from(self.options.lifetime.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.millis(now).saturating_sub(lifetime);
        while self.used.first_key_value().is_some_and(|(used, _)| used.0 < oldest) {
            self.used.pop_first();
        }
        if id.0 < oldest {
            return Freshness::Stale;
        }
        let next = match (self.used.get(&id), count) {
            (None, _) if self.forgotten.is_some_and(|forgotten| id <= forgotten) => None,
            (None, None) => Some(Use::Once),
            (None, Some(count)) => Some(Use::Counted { highest: count, seen: 1 }),
            (Some(Use::Counted { highest, seen }), Some(count)) => advance(*highest, *seen, count),
            (Some(_), _) => None,
        };
        let Some(next) = next else { return Freshness::Stale };
        self.used.insert(id, next);
        while self.used.len() > self.options.most {
            self.forgotten = self.used.pop_first().map(|(id, _)| id).max(self.forgotten);
        }
        Freshness::Fresh
    }

    fn verify(&self, nonce: &str) -> Option<NonceId> {
        let (time, rest) = nonce.split_at_checked(16)?;
        let (number, signature) = rest.split_at_checked(16)?;
        let id = (u64::from_str_radix(time, 16).ok()?, u64::from_str_radix(number, 16).ok()?);
        bool::from(self.signature(id).as_bytes().ct_eq(signature.as_bytes())).then_some(id)
    }

    fn signature(&self, id: NonceId) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        mac.update(&id.0.to_be_bytes());
        mac.update(&id.1.to_be_bytes());
        let signature = mac.finalize().into_bytes();
        to_hex(signature.get(..16).unwrap_or_default())
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Marks a count as used; `None` when it was used before or is too far behind to tell.
fn advance(highest: u32, seen: u64, count: u32) -> Option<Use> {
    if count > highest {
        let shifted = seen.checked_shl(count - highest).unwrap_or(0);
        return Some(Use::Counted { highest: count, seen: shifted | 1 });
    }
    let behind = highest - count;
    let bit = 1u64.checked_shl(behind).filter(|_| behind < WINDOW)?;
    (seen & bit == 0).then_some(Use::Counted { highest, seen: seen | bit })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Freshness, NonceOptions, Nonces};

    fn nonces(most: usize) -> (Nonces, Instant) {
        let now = Instant::now();
        (Nonces::new([7; 64], NonceOptions { lifetime: Duration::from_secs(300), most }, now), now)
    }

    #[test]
    fn each_count_is_good_once_in_any_order_within_the_window() {
        let (mut nonces, now) = nonces(8);
        let nonce = nonces.issue(now);
        let mut spend = |count| nonces.spend(&nonce, Some(count), now);
        for count in [1, 3, 2, 100, 99, 37] {
            assert_eq!(spend(count), Freshness::Fresh, "{count}");
        }
        for count in [1, 2, 3, 100, 99, 37, 36] {
            assert_eq!(spend(count), Freshness::Stale, "{count}");
        }
    }

    #[test]
    fn without_a_count_a_nonce_is_good_once() {
        let (mut nonces, now) = nonces(8);
        let nonce = nonces.issue(now);
        assert_eq!(nonces.spend(&nonce, None, now), Freshness::Fresh);
        assert_eq!(nonces.spend(&nonce, None, now), Freshness::Stale);
        assert_eq!(nonces.spend(&nonce, Some(1), now), Freshness::Stale);
    }

    #[test]
    fn old_and_foreign_nonces_are_stale() {
        let (mut nonces, now) = nonces(8);
        let nonce = nonces.issue(now);
        assert_eq!(nonces.spend(&nonce, Some(1), now + Duration::from_secs(301)), Freshness::Stale);
        let forged = format!("{}{}", "0".repeat(32), nonce.split_at(32).1);
        for foreign in
            ["", "b7b9f68d8c1d4f6f90c0", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", &forged]
        {
            assert_eq!(nonces.spend(foreign, Some(1), now), Freshness::Stale);
        }
    }

    #[test]
    fn what_is_forgotten_for_lack_of_room_cannot_be_replayed() {
        let (mut nonces, now) = nonces(2);
        let issued: Vec<String> = (0..4).map(|_| nonces.issue(now)).collect();
        for nonce in &issued {
            assert_eq!(nonces.spend(nonce, Some(1), now), Freshness::Fresh);
        }
        assert_eq!(nonces.used.len(), 2);
        for nonce in &issued {
            assert_eq!(nonces.spend(nonce, Some(1), now), Freshness::Stale);
        }
        assert_eq!(nonces.spend(&issued[3], Some(2), now), Freshness::Fresh);
    }
}
