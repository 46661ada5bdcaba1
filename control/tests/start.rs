//! What stops the daemon from starting: each cause is named, with what to do, and leaves nothing behind.
//!
//! Takes root, iproute2 and util-linux (`setpriv`).
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Output};

use tempfile::TempDir;
use testbed::Topology;

const PROGRAM: &str = env!("CARGO_BIN_EXE_culvert");

struct Attempt {
    folder: TempDir,
    output: Output,
}

impl Attempt {
    /// Starts the daemon by this command, with a configuration that cannot work.
    fn new(mut command: Command, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("culvert.toml");
        let socket = folder.path().join("admin.sock");
        fs::write(&file, format!("{configuration}\n[admin]\nsocket = \"{}\"\n", socket.display())).unwrap();
        let output = command.args(["run", "--config"]).arg(file).output().unwrap();
        Self { folder, output }
    }

    fn failed(&self, code: i32, words: &[&str]) {
        let message = String::from_utf8_lossy(&self.output.stderr);
        assert_eq!(self.output.status.code(), Some(code), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(!self.folder.path().join("admin.sock").exists(), "the admin socket is left behind");
    }
}

fn sip(listen: &str) -> String {
    format!("[sip]\nlisten = [\"{listen}\"]\nrealm = \"culvert.example\"\n")
}

fn relay(interface: &str, address: &str) -> String {
    format!(
        "[relay]\ninterfaces = [\"{interface}\"]\n[[network]]\nname = \"n\"\ninterface = \"{interface}\"\n\
         address = \"{address}\"\n"
    )
}

#[test]
fn wrong_configuration_is_exit_code_3() {
    Attempt::new(Command::new(PROGRAM), "[sip]\nlisten = 5060\n")
        .failed(3, &["culvert.toml", "line 2", "listen"]);
}

#[test]
fn wrong_command_line_is_exit_code_2() {
    let output = Command::new(PROGRAM).args(["run", "--confg", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn nobody_to_ask_is_exit_code_4() {
    let output = Command::new(PROGRAM).args(["status", "--socket", "nowhere.sock"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is `culvert run` running"));
}

#[test]
fn port_in_use_is_named() {
    let taken = UdpSocket::bind("127.77.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let attempt = Attempt::new(Command::new(PROGRAM), &sip(&format!("udp:{address}")));
    attempt.failed(1, &["sip.listen", &address, "another program listens there"]);
}

#[test]
fn address_of_another_host_is_named() {
    let attempt = Attempt::new(Command::new(PROGRAM), &sip("udp:192.0.2.1:5060"));
    attempt.failed(1, &["sip.listen", "udp:192.0.2.1:5060", "no address of this host"]);
}

#[test]
fn relay_without_privilege_is_refused_and_direct_mode_needs_none() {
    let unprivileged = || {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", PROGRAM]);
        command
    };
    let native = relay("lo", "127.77.0.2").replace("[relay]", "[relay]\nmode = \"native\"");
    let attempt = Attempt::new(unprivileged(), &(sip("udp:127.77.0.2:5060") + &native));
    attempt.failed(1, &["[relay] needs", "CAP_NET_ADMIN", "setcap"]);
    // It comes as far as its listener, which is all that is wrong.
    let attempt = Attempt::new(unprivileged(), &sip("udp:192.0.2.1:5060"));
    attempt.failed(1, &["no address of this host"]);
}

#[test]
fn interface_that_is_missing_and_address_that_is_not_its_own_are_named() {
    let topology = Topology::create().expect("this test takes root, iproute2 and ethtool");
    let (device, ours) = (Topology::CAMERA.device, Topology::CAMERA.relay.to_string());
    let start = |interface, address: &str| {
        let configuration = sip(&format!("udp:{ours}:5060")) + &relay(interface, address);
        Attempt::new(topology.relay.command(PROGRAM), &configuration)
    };
    start("eth77", &ours).failed(1, &["[relay]", "eth77", "does not exist"]);
    start(device, "192.0.2.1").failed(1, &["[[network]] n", "192.0.2.1", "ip address show dev"]);
}
