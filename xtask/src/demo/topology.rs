//! Three network namespaces, two wires: camera – relay – viewer.
//!
//! Nothing of it touches the machine's own network. Several demos can run at once.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::leftovers;
use crate::command::output;

const NAMESPACES: &str = "/run/netns";
/// `ip netns exec` shows the files of this folder to the program as `/etc`.
const NAMESPACE_FILES: &str = "/etc/netns";

/// The relay's interface and address towards a terminal, and the terminal's address.
pub(super) struct Wire {
    /// Name of the network, and of the terminal.
    pub(super) name: &'static str,
    /// The relay's interface.
    pub(super) interface: &'static str,
    /// The relay's address.
    pub(super) relay: Ipv4Addr,
    /// The terminal's address.
    pub(super) terminal: Ipv4Addr,
}

/// Between relay and camera.
pub(super) const CAMERA: Wire = Wire {
    name: "camera",
    interface: "to-camera",
    relay: Ipv4Addr::new(10, 77, 2, 1),
    terminal: Ipv4Addr::new(10, 77, 2, 2),
};

/// Between relay and viewer.
pub(super) const VIEWER: Wire = Wire {
    name: "viewer",
    interface: "to-viewer",
    relay: Ipv4Addr::new(10, 77, 1, 1),
    terminal: Ipv4Addr::new(10, 77, 1, 2),
};

/// The terminals' interface.
pub(super) const TERMINAL_INTERFACE: &str = "eth0";

/// A network namespace; it is removed with this value.
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    fn create(role: &str) -> Result<Self> {
        let namespace = Self {
            name: leftovers::name(role),
        };
        let files = Path::new(NAMESPACE_FILES).join(&namespace.name);
        // Without this, programs in the namespace wait for name servers that they cannot reach.
        fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        fs::write(
            files.join("resolv.conf"),
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )?;
        ip(&["netns", "add", &namespace.name])?;
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The file whose descriptor lets a thread enter the namespace.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.name)
    }

    /// A command that runs inside.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref())
            .stdin(Stdio::null());
        command
    }

    fn ethtool(&self, interface: &str, settings: &[&str]) -> Result<()> {
        quietly(self.command("ethtool").args(["-K", interface]).args(settings))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// The namespaces of one demo.
pub(super) struct Topology {
    pub(super) camera: Namespace,
    pub(super) relay: Namespace,
    pub(super) viewer: Namespace,
}

impl Topology {
    /// Makes the namespaces and the wires between them.
    pub(super) fn create() -> Result<Self> {
        remove_leftovers();
        let topology = Self {
            camera: Namespace::create("camera")?,
            relay: Namespace::create("relay")?,
            viewer: Namespace::create("viewer")?,
        };
        topology.connect(&topology.camera, &CAMERA)?;
        topology.connect(&topology.viewer, &VIEWER)?;
        Ok(topology)
    }

    fn connect(&self, terminal: &Namespace, wire: &Wire) -> Result<()> {
        let (relay, far) = (&self.relay.name, &terminal.name);
        let (relay_address, far_address) = (format!("{}/24", wire.relay), format!("{}/24", wire.terminal));
        let peer = ["type", "veth", "peer", "name", TERMINAL_INTERFACE, "netns", far];
        ip(&[&["-n", relay, "link", "add", wire.interface], peer.as_slice()].concat())?;
        ip(&[
            "-n",
            relay,
            "address",
            "add",
            &relay_address,
            "dev",
            wire.interface,
        ])?;
        ip(&[
            "-n",
            far,
            "address",
            "add",
            &far_address,
            "dev",
            TERMINAL_INTERFACE,
        ])?;
        ip(&["-n", relay, "link", "set", wire.interface, "up"])?;
        ip(&["-n", far, "link", "set", TERMINAL_INTERFACE, "up"])?;
        ip(&[
            "-n",
            far,
            "route",
            "add",
            "default",
            "via",
            &wire.relay.to_string(),
        ])?;
        // A veth leaves checksums to a card that does not exist; what XDP forwards must carry real ones.
        self.relay.ethtool(wire.interface, &["tx", "off"])?;
        // A veth takes redirected frames only if its far end has GRO (or an XDP program of its own).
        terminal.ethtool(TERMINAL_INTERFACE, &["tx", "off", "gro", "on"])
    }
}

/// Removes the namespaces of demos that ended without doing so: their process is gone.
fn remove_leftovers() {
    for folder in [NAMESPACES, NAMESPACE_FILES] {
        for name in leftovers::among(leftovers::names_in(folder)) {
            remove(&name);
        }
    }
}

/// Ends what still runs in the namespace, which can only be what a demo started, and removes it.
fn remove(name: &str) {
    for process in output(Command::new("ip").args(["netns", "pids", name]))
        .unwrap_or_default()
        .lines()
    {
        if let Ok(process) = process.trim().parse() {
            // SAFETY: kill has no preconditions; the process was found in a namespace that only demos use.
            unsafe { libc::kill(process, libc::SIGKILL) };
        }
    }
    // Either may be missing when a run was interrupted between the two.
    let _ = ip(&["netns", "delete", name]);
    let _ = fs::remove_dir_all(Path::new(NAMESPACE_FILES).join(name));
}

fn ip(arguments: &[&str]) -> Result<()> {
    quietly(Command::new("ip").args(arguments))
}

/// Runs a command whose output matters only when it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let result = command.stdin(Stdio::null()).output();
    let output = result.with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr).ok();
        bail!("{command:?} failed ({}); its message is above", output.status);
    }
    Ok(())
}
