//! Culvert itself: its configuration for the demo, its process, and what it says of the call.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use md5::{Digest as _, Md5};
use serde_json::Value;
use testbed::Namespace;

use super::capture::MEDIA_PORTS;
use super::process::Process;
use super::wires::{CAMERA, VIEWER};
use crate::command::output;
use crate::workspace;

const REALM: &str = "culvert.demo";

/// The running gateway.
pub(super) struct Gateway {
    pub(super) process: Process,
    socket: PathBuf,
}

/// What `culvert status --json` says.
pub(super) struct Status(Value);

/// An interface with the XDP program on it.
pub(super) struct AttachedInterface {
    pub(super) name: String,
    /// `native` or `generic`.
    pub(super) mode: String,
    /// Why it is this mode.
    pub(super) reason: String,
}

/// A leg of the call, as the data plane counts it.
pub(super) struct Leg {
    /// Our address and port.
    pub(super) local: String,
    /// Who forwards.
    pub(super) path: String,
    /// Packets that came in.
    pub(super) received: u64,
    /// Packets that went out.
    pub(super) sent: u64,
    /// Packets that came in and were dropped.
    pub(super) dropped: u64,
}

impl Gateway {
    /// Starts the gateway with these passwords for its two accounts.
    pub(super) fn start(namespace: &Namespace, passwords: &Passwords, folder: &Path) -> Result<Self> {
        let socket = folder.join("admin.sock");
        let file = folder.join("culvert.toml");
        fs::write(&file, configuration(passwords, &socket)).context("cannot write the configuration")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let mut command = namespace.command(program());
        command.args(["run", "--config"]).arg(&file);
        let process = Process::start("culvert", command, folder.join("culvert.log"))?;
        Ok(Self { process, socket })
    }

    /// Asks the gateway; nothing while it does not answer yet.
    pub(super) fn status(&self) -> Option<Status> {
        let mut command = Command::new(program());
        let text = output(command.args(["status", "--json", "--socket"]).arg(&self.socket))?;
        serde_json::from_str(&text).ok().map(Status)
    }
}

impl Status {
    /// Where the XDP program is attached.
    pub(super) fn interfaces(&self) -> Vec<AttachedInterface> {
        let list = self.0.pointer("/relay/interfaces").and_then(Value::as_array);
        let attached = |interface: &Value| AttachedInterface {
            name: text(interface, "name"),
            mode: text(interface, "mode"),
            reason: text(interface, "reason"),
        };
        list.into_iter().flatten().map(attached).collect()
    }

    /// How the call is relayed: `relay` or `direct`.
    pub(super) fn call_mode(&self) -> String {
        self.0.pointer("/calls/0").map(|call| text(call, "mode")).unwrap_or_default()
    }

    /// How many calls are in progress.
    pub(super) fn calls(&self) -> usize {
        self.0.get("calls").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The legs of the only call.
    pub(super) fn legs(&self) -> Vec<Leg> {
        let list = self.0.pointer("/calls/0/legs").and_then(Value::as_array);
        let leg = |leg: &Value| Leg {
            local: text(leg, "local"),
            path: text(leg, "path"),
            received: number(leg, "received"),
            sent: number(leg, "sent"),
            dropped: leg
                .get("dropped")
                .and_then(Value::as_object)
                .map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum()),
        };
        list.into_iter().flatten().map(leg).collect()
    }
}

/// Passwords of this run only.
pub(super) struct Passwords {
    pub(super) camera: String,
    pub(super) viewer: String,
}

impl Passwords {
    /// Takes them from the kernel's random numbers.
    pub(super) fn random() -> Result<Self> {
        Ok(Self { camera: random_word()?, viewer: random_word()? })
    }
}

fn random_word() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("cannot read random numbers")?;
    Ok(hexadecimal(&bytes))
}

/// What digest authentication takes instead of a password. An account that has only this is challenged with MD5 only:
/// this baresip gives up when it is offered SHA-256 as well.
fn hash(user: &str, password: &str) -> String {
    hexadecimal(&Md5::digest(format!("{user}:{REALM}:{password}")))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn program() -> PathBuf {
    workspace::program("culvert", false)
}

fn configuration(passwords: &Passwords, socket: &Path) -> String {
    let mut text = format!(
        r#"[sip]
listen = ["udp:{viewer}:5060", "udp:{camera}:5060"]
realm = "{REALM}"

[[account]]
user = "viewer"
ha1 = "{viewer_hash}"

[[account]]
user = "camera"
ha1 = "{camera_hash}"

[relay]
interfaces = ["{viewer_interface}", "{camera_interface}"]
mode = "auto"
ports = "{first_port}-{last_port}"
source = "pinned"

[[rule]]
from = "viewer"
to = "camera"
mode = "relay"

[admin]
socket = "{socket}"
"#,
        viewer = VIEWER.relay,
        camera = CAMERA.relay,
        viewer_hash = hash(VIEWER.name, &passwords.viewer),
        camera_hash = hash(CAMERA.name, &passwords.camera),
        viewer_interface = VIEWER.interface,
        camera_interface = CAMERA.interface,
        first_port = MEDIA_PORTS.start(),
        last_port = MEDIA_PORTS.end(),
        socket = socket.display(),
    );
    for wire in [VIEWER, CAMERA] {
        text.push_str(&format!(
            "\n[[network]]\nname = \"{}\"\ninterface = \"{}\"\naddress = \"{}\"\n",
            wire.name, wire.interface, wire.relay
        ));
    }
    text
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or_default()
}
