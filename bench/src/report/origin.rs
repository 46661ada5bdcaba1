//! Where figures come from: machine, commit, versions and the command.

use std::env;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::machine;

/// Programs whose versions matter, and how they are asked.
const PROGRAMS: [(&str, &str); 5] =
    [("rtpengine", "--version"), ("nft", "--version"), ("socat", "-V"), ("sipp", "-v"), ("ip", "-Version")];

/// Where figures come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    /// Processor, kernel and load in a line.
    pub(crate) machine: String,
    /// What `git describe` says of the sources.
    pub(crate) commit: String,
    /// Program, and the line in which it says its version.
    pub(crate) versions: Vec<(&'static str, String)>,
    /// The command line.
    pub(crate) command: String,
    /// Seconds since 1970 at the start.
    pub(crate) started: u64,
}

impl Origin {
    /// This run's.
    pub(crate) fn here() -> Self {
        let arguments: Vec<_> = env::args().skip(1).collect();
        let version =
            |(program, argument): (&'static str, &str)| Some((program, version(program, argument)?));
        Self {
            machine: machine::describe(),
            commit: commit(),
            versions: PROGRAMS.into_iter().filter_map(version).collect(),
            command: format!("cargo xtask bench -- {}", arguments.join(" "))
                .trim_end()
                .trim_end_matches(" --")
                .into(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }

    /// As it is in the JSON report.
    pub(super) fn json(&self) -> Value {
        json!({
            "commit": self.commit,
            "command": self.command,
            "started": self.started,
            "versions": self.versions.iter().map(|(name, version)| (*name, version.as_str()))
                .collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

fn commit() -> String {
    // The sources may belong to somebody else than root.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    let said = git.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// The first line of what a program says that has a digit in it; `None` if it is not there.
fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line =
        said.lines().map(str::trim).find(|line| line.contains(|letter: char| letter.is_ascii_digit()))?;
    Some(line.to_owned())
}
