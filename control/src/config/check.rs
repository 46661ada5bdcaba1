//! From the file as written to a configuration that can work.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use relay_user::{MOST_BITS_PER_SECOND, MOST_PACKETS_PER_SECOND, RateLimit, Tag, Tags};

use super::file::{self, Authenticate};
use super::{
    Account, Config, ConfigError, DEFAULT_STATE, DigestAlgorithm, Http, Limits, Mode, Network, Proof, Relay,
    Rtcp, Rule, Secret, Sip, Source, State, Timers,
};

/// Shortest password that is accepted.
const MIN_PASSWORD: usize = 8;

/// AF_XDP frames that a queue can have.
const PUNT_FRAMES: std::ops::RangeInclusive<u32> = 128..=65_536;

/// Most legs that are worth the kernel memory they are given in advance.
const MOST_LEGS: u32 = 1 << 20;

/// Shortest session interval of RFC 4028 section 4.
const MIN_SESSION_SECONDS: u32 = 90;

pub(super) fn validate(path: &Path, file: file::File) -> Result<Config, ConfigError> {
    let checker = Checker { path };
    let sip = checker.sip(file.sip)?;
    let accounts = checker.accounts(file.accounts)?;
    let relay = file.relay.map(|relay| checker.relay(relay)).transpose()?;
    let networks = checker.networks(file.networks, relay.as_ref())?;
    let rules = checker.rules(file.rules, relay.is_some())?;
    let gb28181 = file.gb28181.map(|table| table.check(&checker, &accounts)).transpose()?;
    let http = file.http.as_ref().map(|http| checker.http(http)).transpose()?;
    Ok(Config { sip, accounts, relay, networks, rules, gb28181, http, admin_socket: file.admin.socket })
}

/// Makes errors that name the file.
pub(super) struct Checker<'a> {
    path: &'a Path,
}

impl Checker<'_> {
    pub(super) fn fail<T>(
        &self,
        key: &str,
        found: &str,
        expected: &str,
        fix: &str,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            file: self.path.to_owned(),
            key: key.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
            fix: fix.to_owned(),
        })
    }

    fn sip(&self, sip: file::Sip) -> Result<Sip, ConfigError> {
        if sip.listen.is_empty() {
            let fix = "Name an address, such as listen = [\"udp:192.0.2.1:5060\"].";
            return self.fail("sip.listen", "an empty list", "at least one listener", fix);
        }
        for (index, listen) in sip.listen.iter().enumerate() {
            if sip.listen.iter().skip(index + 1).any(|other| other == listen) {
                let found = format!("\"{listen}\" twice");
                return self.fail("sip.listen", &found, "each listener once", "Remove one of the two.");
            }
        }
        let realm_is_plain =
            sip.realm.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
        if sip.realm.trim().is_empty() || !realm_is_plain {
            let found = format!("{:?}", sip.realm);
            let expected = "printable ASCII without quotes or backslashes";
            return self.fail("sip.realm", &found, expected, "Use a domain name of yours.");
        }
        self.expiry_bounds(&sip)?;
        self.positive("sip.contacts_per_account", sip.contacts_per_account)?;
        self.positive("sip.ring_timeout_seconds", sip.ring_timeout_seconds as usize)?;
        Ok(Sip {
            min_expires: seconds(sip.min_expires),
            default_expires: seconds(sip.default_expires),
            max_expires: seconds(sip.max_expires),
            contacts_per_account: sip.contacts_per_account,
            session_expires: seconds(sip.session_expires),
            min_session_expires: seconds(sip.min_session_expires),
            ring_timeout: seconds(sip.ring_timeout_seconds),
            shutdown: seconds(sip.shutdown_seconds),
            timers: self.timers(&sip.timers)?,
            limits: self.limits(&sip.limits)?,
            listen: sip.listen,
            realm: sip.realm,
        })
    }

    fn expiry_bounds(&self, sip: &file::Sip) -> Result<(), ConfigError> {
        let (min, default, max) = (sip.min_expires, sip.default_expires, sip.max_expires);
        if min == 0 || min > default || default > max {
            let found = format!("min_expires = {min}, default_expires = {default}, max_expires = {max}");
            let expected = "1 <= min_expires <= default_expires <= max_expires";
            return self.fail("sip.default_expires", &found, expected, "Put the three values in order.");
        }
        if sip.min_session_expires < MIN_SESSION_SECONDS {
            let found = sip.min_session_expires.to_string();
            let fix = "RFC 4028 section 4 allows nothing shorter.";
            return self.fail("sip.min_session_expires", &found, "90 seconds or more", fix);
        }
        if sip.session_expires < sip.min_session_expires {
            let found = sip.session_expires.to_string();
            let expected = format!("min_session_expires ({}) or more", sip.min_session_expires);
            return self.fail("sip.session_expires", &found, &expected, "Raise session_expires.");
        }
        Ok(())
    }

    fn timers(&self, timers: &file::Timers) -> Result<Timers, ConfigError> {
        if timers.t1_ms == 0 || timers.t1_ms > timers.t2_ms || timers.t4_ms == 0 {
            let found =
                format!("t1_ms = {}, t2_ms = {}, t4_ms = {}", timers.t1_ms, timers.t2_ms, timers.t4_ms);
            let fix = "Remove the table [sip.timers] to have the values of RFC 3261.";
            return self.fail("sip.timers", &found, "1 <= t1_ms <= t2_ms and 1 <= t4_ms", fix);
        }
        Ok(Timers {
            t1: milliseconds(timers.t1_ms),
            t2: milliseconds(timers.t2_ms),
            t4: milliseconds(timers.t4_ms),
        })
    }

    fn limits(&self, limits: &file::Limits) -> Result<Limits, ConfigError> {
        self.positive("sip.limits.transactions", limits.transactions)?;
        self.positive("sip.limits.calls", limits.calls)?;
        self.positive("sip.limits.queue", limits.queue)?;
        self.positive("sip.limits.tcp_connections", limits.tcp_connections)?;
        self.positive("sip.limits.tcp_connections_per_source", limits.tcp_connections_per_source)?;
        self.positive("sip.limits.tcp_idle_seconds", limits.tcp_idle_seconds as usize)?;
        let failures = limits.authentication_failures_per_minute;
        self.positive("sip.limits.authentication_failures_per_minute", failures as usize)?;
        if !(1_300..=65_535).contains(&limits.message_bytes) {
            let found = limits.message_bytes.to_string();
            let fix = "A UDP datagram cannot hold more; an INVITE with SDP often needs 1,300.";
            return self.fail("sip.limits.message_bytes", &found, "1300 to 65535 bytes", fix);
        }
        Ok(Limits {
            transactions: limits.transactions,
            calls: limits.calls,
            queue: limits.queue,
            message_bytes: limits.message_bytes,
            tcp_connections: limits.tcp_connections,
            tcp_connections_per_source: limits.tcp_connections_per_source,
            tcp_idle: seconds(limits.tcp_idle_seconds),
            authentication_failures_per_minute: failures,
        })
    }

    pub(super) fn positive(&self, key: &str, value: usize) -> Result<(), ConfigError> {
        if value > 0 {
            return Ok(());
        }
        self.fail(key, "0", "1 or more", "Remove the key to have its default.")
    }

    fn accounts(&self, accounts: Vec<file::Account>) -> Result<Vec<Account>, ConfigError> {
        let mut users = HashSet::new();
        let mut valid = Vec::with_capacity(accounts.len());
        for (index, account) in accounts.into_iter().enumerate() {
            let key = format!("account[{index}]");
            // What a user part may hold without escapes (RFC 3261 section 25.1, `user`), so that one spelling exists.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
            if account.user.is_empty() || !account.user.bytes().all(plain) {
                let found = format!("{:?}", account.user);
                let expected = "letters, digits and -_.!~*'()&=+$,;?/";
                return self.fail(&format!("{key}.user"), &found, expected, "Choose another name.");
            }
            if !users.insert(account.user.clone()) {
                let found = format!("{:?} a second time", account.user);
                return self.fail(
                    &format!("{key}.user"),
                    &found,
                    "each user once",
                    "Remove one of the accounts.",
                );
            }
            let proof = self.proof(&key, &account)?;
            valid.push(Account { user: account.user, proof });
        }
        Ok(valid)
    }

    fn proof(&self, key: &str, account: &file::Account) -> Result<Proof, ConfigError> {
        let secrets = usize::from(account.password.is_some())
            + usize::from(account.password_file.is_some())
            + usize::from(account.ha1.is_some());
        if account.authenticate == Authenticate::Never {
            if secrets > 0 {
                let found = "authenticate = \"never\" and a password";
                return self.fail(
                    key,
                    found,
                    "one of the two",
                    "Remove the password, or remove authenticate.",
                );
            }
            return match &account.from {
                Some(from) if !from.is_empty() => Ok(Proof::Source(from.clone())),
                _ => {
                    let expected = "the networks that this terminal may come from";
                    let fix = "Add from = [\"192.0.2.0/24\"], or give the account a password.";
                    self.fail(&format!("{key}.from"), "nothing", expected, fix)
                }
            };
        }
        if account.from.is_some() {
            let fix = "Add authenticate = \"never\" if the network is proof enough, or remove from.";
            return self.fail(&format!("{key}.from"), "from", "no from beside a password", fix);
        }
        if secrets != 1 {
            let found = if secrets == 0 { "none of them" } else { "more than one of them" };
            let expected = "one of password, password_file, ha1";
            let fix =
                "There is no default password. A terminal that has none: authenticate = \"never\" with from.";
            return self.fail(key, found, expected, fix);
        }
        let algorithms = account.algorithms.clone().unwrap_or_else(|| vec![DigestAlgorithm::Md5]);
        if algorithms.is_empty() {
            let fix = "Remove the key to have its default.";
            return self.fail(
                &format!("{key}.algorithms"),
                "an empty list",
                "\"MD5\", \"SHA-256\" or both",
                fix,
            );
        }
        if let Some(ha1) = &account.ha1 {
            if account.algorithms.is_some() {
                let fix = "Remove algorithms, or use a password.";
                return self.fail(&format!("{key}.algorithms"), "algorithms beside ha1", "MD5 alone", fix);
            }
            return self.ha1(key, ha1);
        }
        let password = self.password(key, account.password.as_ref(), account.password_file.as_deref())?;
        Ok(Proof::Password(password, algorithms))
    }

    /// The password, in the file or in another; one of the two is there.
    pub(super) fn password(
        &self,
        key: &str,
        password: Option<&Secret>,
        file: Option<&Path>,
    ) -> Result<Secret, ConfigError> {
        let (key, password) = match file {
            Some(name) => (format!("{key}.password_file"), self.password_file(key, name)?),
            None => {
                (format!("{key}.password"), password.cloned().unwrap_or_else(|| Secret::new(String::new())))
            }
        };
        let length = password.reveal().chars().count();
        if length < MIN_PASSWORD {
            let found = format!("{length} characters");
            return self.fail(&key, &found, "8 characters or more", "Choose a longer password.");
        }
        Ok(password)
    }

    fn ha1(&self, key: &str, ha1: &Secret) -> Result<Proof, ConfigError> {
        let digits = ha1.reveal();
        if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Proof::Ha1(Secret::new(digits.to_ascii_lowercase())));
        }
        let found = format!("{} characters", digits.chars().count());
        let fix = "Compute it with: printf %s 'user:realm:password' | md5sum";
        self.fail(&format!("{key}.ha1"), &found, "32 hexadecimal digits", fix)
    }

    fn password_file(&self, key: &str, name: &Path) -> Result<Secret, ConfigError> {
        let key = format!("{key}.password_file");
        let name = self.path.parent().map_or_else(|| name.to_owned(), |folder| folder.join(name));
        let shown = name.display();
        let read = std::fs::metadata(&name).and_then(|facts| Ok((facts, std::fs::read_to_string(&name)?)));
        let (facts, text) = match read {
            Ok(read) => read,
            Err(error) => {
                let found = format!("{shown}, which cannot be read ({error})");
                return self.fail(
                    &key,
                    &found,
                    "a readable file",
                    "Create it with chmod 600, owned by Culvert's user.",
                );
            }
        };
        let mode = facts.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let found = format!("{shown} with mode {mode:03o} (owner {})", facts.uid());
            return self.fail(
                &key,
                &found,
                "a file that only its owner can read",
                &format!("Run: chmod 600 {shown}"),
            );
        }
        Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn relay(&self, relay: file::Relay) -> Result<Relay, ConfigError> {
        if relay.interfaces.is_empty() {
            let fix = "Name the interfaces that media arrives on: interfaces = [\"eth1\"].";
            return self.fail("relay.interfaces", "an empty list", "at least one interface", fix);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = relay.interfaces.iter().find(|name| !seen.insert(name.as_str())) {
            let found = format!("\"{twice}\" twice");
            return self.fail("relay.interfaces", &found, "each interface once", "Remove one of the two.");
        }
        if !(8..=MOST_LEGS).contains(&relay.legs) {
            let found = relay.legs.to_string();
            return self.fail("relay.legs", &found, "8 to 1048576", "Remove the key to have its default.");
        }
        if !relay.punt_frames.is_power_of_two() || !PUNT_FRAMES.contains(&relay.punt_frames) {
            let (found, expected) = (relay.punt_frames.to_string(), "a power of two from 128 to 65536");
            return self.fail("relay.punt_frames", &found, expected, "Remove the key to have its default.");
        }
        let relearn_after = (relay.relearn_after_seconds > 0).then(|| seconds(relay.relearn_after_seconds));
        if relearn_after.is_some() && relay.source == Source::Pinned {
            let found = format!("{} beside source = \"pinned\"", relay.relearn_after_seconds);
            let fix = "A pinned source is never learned: choose source = \"learn-port\" or \"learn\", or remove the key.";
            return self.fail("relay.relearn_after_seconds", &found, "0, or a source that is learned", fix);
        }
        if relay.rtcp == Rtcp::Terminate && !relay.quality {
            let fix = "Reports are made of what is measured: set quality = true, or rtcp = \"relay\".";
            return self.fail(
                "relay.rtcp",
                "\"terminate\" beside quality = false",
                "quality = true beside it",
                fix,
            );
        }
        let limit = self.leg_limit(&relay)?;
        let state = self.state(relay.state.as_deref())?;
        Ok(Relay {
            relearn_after,
            quality: relay.quality,
            limit,
            rtcp: relay.rtcp,
            interfaces: relay.interfaces,
            mode: relay.mode,
            ports: relay.ports,
            legs: relay.legs,
            punt_frames: relay.punt_frames,
            quarantine: seconds(relay.quarantine_seconds),
            source: relay.source,
            media_timeout: (relay.media_timeout_seconds > 0).then(|| seconds(relay.media_timeout_seconds)),
            state,
        })
    }

    fn state(&self, folder: Option<&str>) -> Result<State, ConfigError> {
        match folder {
            None | Some(DEFAULT_STATE) => Ok(State::Default),
            Some("" | "none") => Ok(State::None),
            Some(folder) if folder.starts_with('/') => Ok(State::Folder(folder.into())),
            Some(folder) => {
                let fix = format!("Name one below /sys/fs/bpf, such as {DEFAULT_STATE}.");
                self.fail("relay.state", &format!("{folder:?}"), "an absolute path, or \"none\"", &fix)
            }
        }
    }

    /// What one leg may receive; 0 stands for no limit.
    fn leg_limit(&self, relay: &file::Relay) -> Result<Option<RateLimit>, ConfigError> {
        let (bits, packets) = (relay.leg_bits_per_second, relay.leg_packets_per_second);
        for (key, found, most) in [
            ("relay.leg_bits_per_second", bits, MOST_BITS_PER_SECOND),
            ("relay.leg_packets_per_second", u64::from(packets), u64::from(MOST_PACKETS_PER_SECOND)),
        ] {
            if found > most {
                let expected = format!("0 (no limit) to {most}");
                return self.fail(key, &found.to_string(), &expected, "Remove the key to have no limit.");
            }
        }
        Ok((bits > 0 || packets > 0).then_some(RateLimit {
            bits_per_second: (bits > 0).then_some(bits),
            packets_per_second: (packets > 0).then_some(packets),
            burst: RateLimit::DEFAULT_BURST,
        }))
    }

    /// The tags that stand for VLAN identifiers: one is a customer tag, of two the outer is a service tag.
    fn vlan(&self, key: &str, identifiers: &[u16]) -> Result<Tags, ConfigError> {
        if let Some(wrong) = identifiers.iter().find(|id| !(1..=4_094).contains(*id)) {
            let fix = "Write the VLAN's number, or remove the key for untagged frames.";
            return self.fail(&format!("{key}.vlan"), &wrong.to_string(), "1 to 4094", fix);
        }
        match identifiers {
            [] => Ok(Tags::NONE),
            [one] => Ok(Tags::one(Tag::vlan(*one))),
            [outer, inner] => Ok(Tags::two(Tag::service(*outer), Tag::vlan(*inner))),
            _ => {
                let found = format!("{} tags", identifiers.len());
                let fix = "A frame carries one tag, or two: [outer, inner].";
                self.fail(&format!("{key}.vlan"), &found, "2 tags at most", fix)
            }
        }
    }

    fn networks(
        &self,
        networks: Vec<file::Network>,
        relay: Option<&Relay>,
    ) -> Result<Vec<Network>, ConfigError> {
        let Some(relay) = relay else {
            if networks.is_empty() {
                return Ok(Vec::new());
            }
            let fix = "Add [relay] with interfaces, or remove the networks.";
            return self.fail("network", "networks without [relay]", "[relay] beside them", fix);
        };
        let mut names = HashSet::new();
        let mut valid = Vec::with_capacity(networks.len());
        for (index, network) in networks.into_iter().enumerate() {
            let key = format!("network[{index}]");
            if network.name.is_empty() || !names.insert(network.name.clone()) {
                let found = format!("{:?}", network.name);
                return self.fail(
                    &format!("{key}.name"),
                    &found,
                    "a name of its own",
                    "Choose another name.",
                );
            }
            if !relay.interfaces.contains(&network.interface) {
                let found = format!("\"{}\"", network.interface);
                let expected = format!("one of relay.interfaces: {}", relay.interfaces.join(", "));
                let fix = "Add the interface to relay.interfaces.";
                return self.fail(&format!("{key}.interface"), &found, &expected, fix);
            }
            let advertise = network.advertise.unwrap_or(network.address);
            if network.address.is_unspecified() || advertise.is_unspecified() {
                let fix = "Write the address that terminals send media to.";
                return self.fail(&format!("{key}.address"), "an unspecified address", "a concrete one", fix);
            }
            valid.push(Network {
                name: network.name,
                interface: network.interface,
                vlan: self.vlan(&key, &network.vlan)?,
                address: network.address,
                advertise,
            });
        }
        let lonely =
            relay.interfaces.iter().find(|name| !valid.iter().any(|network| &network.interface == *name));
        if let Some(interface) = lonely {
            let found = format!("no network on \"{interface}\"");
            let fix = format!("Add [[network]] with name, interface = \"{interface}\" and address.");
            return self.fail("network", &found, "a network for each interface of the relay", &fix);
        }
        Ok(valid)
    }

    fn http(&self, http: &file::Http) -> Result<Http, ConfigError> {
        self.positive("http.connections", http.connections)?;
        self.positive("http.requests", http.requests)?;
        let token_file = self
            .path
            .parent()
            .map_or_else(|| http.token_file.clone(), |folder| folder.join(&http.token_file));
        Ok(Http { listen: http.listen, token_file, connections: http.connections, requests: http.requests })
    }

    fn rules(&self, rules: Vec<file::Rule>, has_relay: bool) -> Result<Vec<Rule>, ConfigError> {
        for (index, rule) in rules.iter().enumerate() {
            if rule.mode == Mode::Relay && !has_relay {
                let fix = "Add [relay] and [[network]], or use mode = \"direct\".";
                return self.fail(
                    &format!("rule[{index}].mode"),
                    "\"relay\"",
                    "a table [relay] beside it",
                    fix,
                );
            }
        }
        Ok(rules.into_iter().map(|rule| Rule { from: rule.from, to: rule.to, mode: rule.mode }).collect())
    }
}

pub(super) fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(u64::from(count))
}
