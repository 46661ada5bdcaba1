//! The real `culvert run` in relay mode, tied to one processor, between two terminals.

use std::env;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::Topology;

use crate::sipp::Sipp;

/// The processor that the daemon runs on; sipp has the other one.
const CPU: &str = "0";
/// How long the daemon may take until it takes a registration.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running daemon; ended when it is dropped.
pub(crate) struct Gateway {
    process: Child,
    folder: TempDir,
}

impl Gateway {
    /// Starts the daemon that was built with this program.
    pub(crate) fn start(topology: &Topology) -> Result<Self> {
        let program = env::current_exe()?.with_file_name("culvert");
        ensure!(program.is_file(), "{} is missing: `cargo xtask bench` builds it", program.display());
        let folder = tempfile::tempdir()?;
        let configuration = folder.path().join("culvert.toml");
        fs::write(&configuration, text(&folder.path().join("admin.sock").display().to_string()))?;
        let mut command = topology.relay.command("taskset");
        command.args(["--cpu-list", CPU]).arg(program).args(["run", "--config"]).arg(configuration);
        command.stdout(Stdio::null()).stderr(File::create(folder.path().join("log"))?);
        Ok(Self { process: command.spawn().context("starting culvert")?, folder })
    }

    /// Registers the terminal that is called; with that, the daemon is known to run.
    pub(crate) fn register(&self, topology: &Topology) -> Result<()> {
        let start = Instant::now();
        while !Sipp::register(topology)? {
            ensure!(start.elapsed() < PATIENCE, "culvert takes no registration; it says:\n{}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The configuration: defaults, but for a range of ports that is large enough for the rate, and a short quarantine.
fn text(socket: &str) -> String {
    let (viewer, camera) = (Topology::VIEWER, Topology::CAMERA);
    format!(
        r#"
[sip]
listen = ["udp:{viewer_address}:5060", "udp:{camera_address}:5060"]
realm = "culvert.example"
[[account]]
user = "viewer"
authenticate = "never"
from = ["{viewer_address}/24"]
[[account]]
user = "camera"
authenticate = "never"
from = ["{camera_address}/24"]
[relay]
interfaces = ["{viewer_device}", "{camera_device}"]
ports = "10000-59999"
quarantine_seconds = 2
[[network]]
name = "operators"
interface = "{viewer_device}"
address = "{viewer_address}"
[[network]]
name = "cameras"
interface = "{camera_device}"
address = "{camera_address}"
[[rule]]
from = "*"
to = "*"
mode = "relay"
[admin]
socket = "{socket}"
"#,
        viewer_address = viewer.relay,
        viewer_device = viewer.device,
        camera_address = camera.relay,
        camera_device = camera.device,
    )
}
