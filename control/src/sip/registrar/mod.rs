//! Who is registered, where: bindings of accounts to contacts and to the flows that they really came on (RFC 3261
//! section 10.3). It knows neither authentication nor messages on the wire.

mod request;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

pub use request::{Change, RegisterError, Registration};

use super::message::SipUri;
use super::transport::Flow;

/// A contact of an account.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The URI that requests for the terminal carry.
    pub contact: SipUri,
    /// Where the REGISTER came from: requests for the terminal go there, so that they pass its NAT.
    pub flow: Flow,
    /// When the binding ends.
    pub expires_at: Instant,
    /// Preference, 0 to 1000.
    pub preference: u16,
    call_id: String,
    cseq: u32,
    number: u64,
}

/// What the registrar allows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Shortest registration.
    pub min: Duration,
    /// When none is asked for.
    pub default: Duration,
    /// Longest registration.
    pub max: Duration,
    /// Contacts of one account.
    pub contacts: usize,
}

/// Why a registration is refused; nothing of it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Asked for less than [`Bounds::min`]: 423.
    TooBrief,
    /// More than [`Bounds::contacts`]: 403.
    TooManyContacts,
    /// Older than, or as old as, what is registered under the same Call-ID: 500 (RFC 3261 section 10.3, step 7).
    OutOfOrder,
}

/// All bindings.
#[derive(Debug)]
pub struct Registrar {
    bounds: Bounds,
    accounts: HashMap<String, Vec<Binding>>,
    /// When bindings end, in order: finding the expired ones costs nothing while there are none.
    ends: BTreeMap<(Instant, u64), String>,
    next: u64,
}

impl Registrar {
    /// Nobody is registered.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, accounts: HashMap::new(), ends: BTreeMap::new(), next: 0 }
    }

    /// The bindings of an account that are alive, the most preferred first.
    #[must_use]
    pub fn bindings(&self, now: Instant, user: &str) -> Vec<&Binding> {
        let all = self.accounts.get(user).into_iter().flatten();
        let mut alive: Vec<_> = all.filter(|binding| binding.expires_at > now).collect();
        alive.sort_by_key(|binding| std::cmp::Reverse(binding.preference));
        alive
    }

    /// Everybody who is registered, by user name.
    #[must_use]
    pub fn all(&self, now: Instant) -> Vec<(&str, &Binding)> {
        let mut users: Vec<_> = self.accounts.keys().map(String::as_str).collect();
        users.sort_unstable();
        users
            .into_iter()
            .flat_map(|user| self.bindings(now, user).into_iter().map(move |binding| (user, binding)))
            .collect()
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Applies a REGISTER, wholly or not at all.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn register(
        &mut self,
        now: Instant,
        user: &str,
        flow: Flow,
        registration: &Registration,
    ) -> Result<(), Refusal> {
        self.expire(now);
        let mut bindings = self.accounts.get(user).cloned().unwrap_or_default();
        let is_stale =
            |binding: &Binding| binding.call_id == registration.call_id && binding.cseq >= registration.cseq;
        match &registration.change {
            Change::None => return Ok(()),
            Change::RemoveAll => {
                if bindings.iter().any(is_stale) {
                    return Err(Refusal::OutOfOrder);
                }
                bindings.clear();
            }
            Change::Contacts(contacts) => {
                for contact in contacts {
                    let asked = contact.expires.unwrap_or(self.bounds.default);
                    if !asked.is_zero() && asked < self.bounds.min {
                        return Err(Refusal::TooBrief);
                    }
                    let known = bindings.iter().position(|binding| binding.contact.equivalent(&contact.uri));
                    if let Some(known) = known {
                        if bindings.get(known).is_some_and(is_stale) {
                            return Err(Refusal::OutOfOrder);
                        }
                        bindings.remove(known);
                    }
                    if asked.is_zero() {
                        continue;
                    }
                    self.next += 1;
                    bindings.push(Binding {
                        contact: contact.uri.clone(),
                        flow: flow.towards(&contact.uri),
                        expires_at: now + asked.min(self.bounds.max),
                        preference: contact.preference,
                        call_id: registration.call_id.clone(),
                        cseq: registration.cseq,
                        number: self.next,
                    });
                }
                if bindings.len() > self.bounds.contacts {
                    return Err(Refusal::TooManyContacts);
                }
            }
        }
        self.replace(user, bindings);
        Ok(())
    }

    /// Forgets bindings that have ended.
    pub fn expire(&mut self, now: Instant) {
        while let Some(first) = self.ends.first_entry() {
            if first.key().0 > now {
                return;
            }
            let ((_, number), user) = first.remove_entry();
            if let Some(bindings) = self.accounts.get_mut(&user) {
                bindings.retain(|binding| binding.number != number);
                if bindings.is_empty() {
                    self.accounts.remove(&user);
                }
            }
        }
    }

    fn replace(&mut self, user: &str, bindings: Vec<Binding>) {
        for old in self.accounts.get(user).into_iter().flatten() {
            self.ends.remove(&(old.expires_at, old.number));
        }
        for new in &bindings {
            self.ends.insert((new.expires_at, new.number), user.to_owned());
        }
        if bindings.is_empty() {
            self.accounts.remove(user);
        } else {
            self.accounts.insert(user.to_owned(), bindings);
        }
    }
}

#[cfg(test)]
mod tests;
