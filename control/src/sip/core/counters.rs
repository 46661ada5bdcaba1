//! What the core counts, by name.

use std::collections::BTreeMap;

/// Named counters. A name appears when it is first counted.
#[derive(Debug, Default)]
pub struct Counters {
    counts: BTreeMap<&'static str, u64>,
    requests: BTreeMap<String, u64>,
    responses: [u64; 7],
}

/// Methods that are counted by name; a stranger cannot make the list grow.
const METHODS: [&str; 9] =
    ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "UPDATE", "INFO", "MESSAGE"];

impl Counters {
    /// Adds one to a counter.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_insert(0) += 1;
    }

    /// Counts a received request by its method.
    pub fn count_request(&mut self, method: &str) {
        let method = if METHODS.contains(&method) { method } else { "other" };
        match self.requests.get_mut(method) {
            Some(count) => *count += 1,
            None => {
                self.requests.insert(method.to_owned(), 1);
            }
        }
    }

    /// Counts a response that we sent by its class.
    pub fn count_response(&mut self, status: u16) {
        if let Some(count) = self.responses.get_mut(usize::from(status / 100)) {
            *count += 1;
        }
    }

    /// All counters by name.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> =
            self.counts.iter().map(|(&name, &count)| (name.to_owned(), count)).collect();
        for (method, &count) in &self.requests {
            all.insert(format!("sip_requests_received_{}", method.to_ascii_lowercase()), count);
        }
        for (class, &count) in self.responses.iter().enumerate().filter(|(_, count)| **count > 0) {
            all.insert(format!("sip_responses_sent_{class}xx"), count);
        }
        all
    }
}
