//! sipp (Debian package `sip-tester`) with the scenarios of `tests/sipp`.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::Namespace;

use super::gateway::PATIENCE;

/// One run of sipp.
pub(crate) struct Sipp {
    process: Child,
    folder: TempDir,
    scenario: String,
}

/// What sipp is to do; [`SippOptions::start`] starts it.
pub(crate) struct SippOptions<'a> {
    command: Command,
    scenario: &'a str,
    folder: TempDir,
}

impl<'a> SippOptions<'a> {
    /// Plays a scenario from `local`, once, over UDP.
    pub(crate) fn new(namespace: Option<&Namespace>, scenario: &'a str, local: SocketAddr) -> Self {
        let mut command =
            namespace.map_or_else(|| Command::new("sipp"), |namespace| namespace.command("sipp"));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(format!("{scenario}.xml"));
        let folder = tempfile::tempdir().unwrap();
        let (address, port) = (local.ip().to_string(), local.port().to_string());
        // sipp writes its reports into the current folder.
        command.current_dir(folder.path()).stdin(Stdio::null()).arg("-sf").arg(file);
        command.args(["-i", &address, "-p", &port, "-m", "1", "-nostdin", "-trace_err"]);
        Self { command, scenario, folder }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Towards the gateway, about the account `service`.
    pub(crate) fn to(self, gateway: SocketAddr, service: &str) -> Self {
        let gateway = gateway.to_string();
        self.with(&[&gateway, "-s", service])
    }

    pub(crate) fn start(mut self) -> Sipp {
        let output = File::create(self.folder.path().join("output")).unwrap();
        self.command.stdout(output.try_clone().unwrap()).stderr(output);
        let process =
            self.command.spawn().unwrap_or_else(|error| panic!("sipp: {error}: apt-get install sip-tester"));
        Sipp { process, folder: self.folder, scenario: self.scenario.to_owned() }
    }

    /// Plays the scenario to its end, which must be success.
    pub(crate) fn run(self) {
        self.start().succeed();
    }
}

impl Sipp {
    /// Waits for the end, which must be success.
    pub(crate) fn succeed(mut self) {
        let start = Instant::now();
        let exit = loop {
            if let Some(exit) = self.process.try_wait().unwrap() {
                break exit;
            }
            assert!(
                start.elapsed() < PATIENCE * 3,
                "sipp {} does not end:\n{}",
                self.scenario,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(exit.success(), "sipp {} failed ({exit}):\n{}", self.scenario, self.output());
    }

    /// Waits until sipp listens, on an IPv4 address of this host. The kernel's lists say so (proc_net(5)); to try whether the
    /// port is free would take it from sipp for a moment.
    pub(crate) fn wait_for_port(&self, address: SocketAddr) {
        let SocketAddr::V4(at) = address else { panic!("{address} is no address of IPv4") };
        let (ip, port) = (u32::from_ne_bytes(at.ip().octets()), at.port());
        let listens = |list, state| {
            let entry = format!(" {ip:08X}:{port:04X} 00000000:0000 {state} ");
            std::fs::read_to_string(list).unwrap().contains(&entry)
        };
        let start = Instant::now();
        while !listens("/proc/net/udp", "07") && !listens("/proc/net/tcp", "0A") {
            assert!(start.elapsed() < PATIENCE, "sipp {} does not listen:\n{}", self.scenario, self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn output(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let files =
            std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        files.map(read).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
