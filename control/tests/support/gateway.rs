//! The real `culvert run`, with a configuration of the test, ended when it is dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use control::admin::{self, Reply, Request, Status};
use tempfile::TempDir;
use testbed::Namespace;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    process: Child,
    folder: TempDir,
}

impl Gateway {
    /// Starts the daemon, in a namespace or on this host, and waits until it answers. The admin socket is added to the
    /// configuration.
    pub(crate) fn start(namespace: Option<&Namespace>, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = configuration.to_owned();
        let socket = folder.path().join("admin.sock");
        write!(configuration, "\n[admin]\nsocket = \"{}\"\n", socket.display()).unwrap();
        let file = folder.path().join("culvert.toml");
        fs::write(&file, configuration).unwrap();
        let process = spawn(namespace, &folder);
        let mut gateway = Self { process, folder };
        gateway.wait_until_it_answers();
        gateway
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Changes the configuration of the next daemon.
    pub(crate) fn reconfigure(&self, old: &str, new: &str) {
        let file = self.folder.path().join("culvert.toml");
        let configuration = fs::read_to_string(&file).unwrap();
        assert!(configuration.contains(old), "{old} is not in {configuration}");
        fs::write(&file, configuration.replace(old, new)).unwrap();
    }

    /// Another daemon with the same configuration, after this one has ended.
    pub(crate) fn start_again(&mut self, namespace: Option<&Namespace>) {
        self.process = spawn(namespace, &self.folder);
        self.wait_until_it_answers();
    }

    pub(crate) fn status(&self) -> Status {
        match admin::ask(&self.socket(), &Request::Status).unwrap() {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn hang_up(&self, call: &str) -> Reply {
        admin::ask(&self.socket(), &Request::Hangup { call: call.to_owned() }).unwrap()
    }

    /// Waits until the daemon's account of itself is as wanted.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not come about: {status:#?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        admin::ask(&self.socket(), request).unwrap()
    }

    /// GB/T 28181 devices.
    pub(crate) fn devices(&self) -> Vec<admin::Device> {
        match self.ask(&Request::Devices) {
            Reply::Devices { devices } => devices,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a device is as wanted.
    pub(crate) fn wait_for_device(&self, id: &str, wanted: impl Fn(&admin::Device) -> bool) -> admin::Device {
        let start = Instant::now();
        loop {
            let devices = self.devices();
            if let Some(device) = devices.iter().find(|device| device.id.as_str() == id && wanted(device)) {
                return device.clone();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{id} is not as wanted: {devices:#?}\n{:#?}\n{}",
                self.status().counters,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The channels of a GB/T 28181 device.
    pub(crate) fn channels(&self, device: &str) -> Vec<admin::Channel> {
        match self.ask(&Request::Channels { device: device.parse().unwrap() }) {
            Reply::Channels { channels } => channels,
            other => panic!("{other:?}"),
        }
    }

    /// A counter; 0 if it never counted.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.status().counters.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits for the log line of a call that ended for this reason.
    pub(crate) fn wait_for_end(&self, reason: &str) {
        let start = Instant::now();
        while !self.log().lines().any(|line| line.contains("call ended") && line.contains(reason)) {
            assert!(start.elapsed() < PATIENCE, "no call ended with {reason:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Whether the daemon ended, and how, within its patience.
    pub(crate) fn wait(&mut self) -> bool {
        let start = Instant::now();
        loop {
            if let Some(exit) = self.process.try_wait().unwrap() {
                return exit.success();
            }
            assert!(start.elapsed() < PATIENCE, "still running:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn wait_until_it_answers(&mut self) {
        let start = Instant::now();
        while admin::ask(&self.socket(), &Request::Status).is_err() {
            if let Some(exit) = self.process.try_wait().unwrap() {
                panic!("culvert ended at once ({exit}):\n{}", self.log());
            }
            assert!(start.elapsed() < PATIENCE, "culvert does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn spawn(namespace: Option<&Namespace>, folder: &TempDir) -> Child {
    let program = env!("CARGO_BIN_EXE_culvert");
    let mut command = namespace.map_or_else(|| Command::new(program), |namespace| namespace.command(program));
    command.args(["run", "--config"]).arg(folder.path().join("culvert.toml")).stdin(Stdio::null());
    command.stderr(File::create(folder.path().join("log")).unwrap());
    command.spawn().unwrap()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
