//! `culvert check`: is the configuration file good, and what does it mean?

use clap::Args;

use super::{ConfigFile, Exit};
use crate::config::{Config, Proof};

#[derive(Args)]
#[command(
    after_help = "Example:\n  culvert check --config /etc/culvert.toml\n\nExit code 3 when the file is wrong."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match super::load(&arguments.file.config) {
        Ok(config) => {
            print!("{}", describe(&config));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn describe(config: &Config) -> String {
    let mut lines = Vec::new();
    for listen in &config.sip.listen {
        lines.push(format!("listens on  {listen}"));
    }
    for account in &config.accounts {
        let proof = match &account.proof {
            Proof::Password(..) => "by password",
            Proof::Ha1(_) => "by password hash (MD5 only)",
            Proof::Source(_) => "by its network, without a password",
        };
        lines.push(format!("account     {} proves itself {proof}", account.user));
    }
    match &config.relay {
        Some(relay) => {
            let (first, last) = (relay.ports.first, relay.ports.last);
            lines.push(format!("relay       on {}, ports {first}-{last}", relay.interfaces.join(", ")));
        }
        None => lines.push("relay       none: signalling only, no privilege needed".to_owned()),
    }
    for network in &config.networks {
        lines.push(format!("network     {}: {} on {}", network.name, network.address, network.interface));
    }
    if let Some(platform) = &config.gb28181 {
        let who = match &platform.password {
            Some(_) => "any device that knows the shared password".to_owned(),
            None => format!("{} devices", platform.devices.len()),
        };
        lines
            .push(format!("gb28181     platform {}, realm {}, for {who}", platform.platform, platform.realm));
    }
    if let Some(http) = &config.http {
        lines.push(format!("http        on {}, token in {}", http.listen, http.token_file.display()));
    }
    for rule in &config.rules {
        lines.push(format!("rule        {} may call {}, media {}", rule.from, rule.to, rule.mode));
    }
    if config.rules.is_empty() && config.gb28181.is_none() {
        lines.push("rule        none: every call will be refused with 403; add [[rule]]".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
