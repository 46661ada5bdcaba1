//! A relay of a user who may do nothing: `auto` falls back to sockets, says why, and media flows.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::support::*;
use testbed::Topology;

/// Nobody, on every distribution.
const NOBODY: &str = "65534";

/// The program, in a folder that everybody may enter, which a build folder may not be.
struct Program(PathBuf);

impl Program {
    fn copy() -> Self {
        let built =
            std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("hold");
        assert!(built.exists(), "{}: `cargo build -p relay-user --examples` makes it", built.display());
        let copy = std::env::temp_dir().join(format!("culvert-unprivileged-{}", std::process::id()));
        fs::copy(built, &copy).unwrap();
        Self(copy)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct Unprivileged {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _program: Program,
}

impl Unprivileged {
    fn start(topology: &Topology) -> Self {
        let program = Program::copy();
        let mut command = topology.relay.command("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(&program.0);
        command.args(["-", "8", Topology::CAMERA.device, Topology::VIEWER.device]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output, _program: program }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.hear()
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn without_privilege_media_flows_through_sockets_and_the_relay_says_why() {
    let topology = Topology::create().expect("these tests take root, iproute2 and ethtool");
    let mut relay = Unprivileged::start(&topology);
    assert_eq!(relay.hear(), "ready 0");
    let status = fs::read_to_string(format!("/proc/{}/status", relay.process.id())).unwrap();
    for line in
        ["Uid:\t65534\t65534\t65534\t65534\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n"]
    {
        assert!(status.contains(line), "{line:?} is not in {status}");
    }
    let backend = relay.ask("backend");
    assert!(backend.starts_with("user (") && backend.contains("CAP_NET_ADMIN"), "{backend}");

    let (camera, viewer) = (Topology::CAMERA, Topology::VIEWER);
    let call = format!(
        "call {} {}:{CAMERA_PORT} {} {}:{VIEWER_PORT}",
        to_relay_from_camera(),
        camera.terminal,
        to_relay_from_viewer(),
        viewer.terminal
    );
    assert_eq!(relay.ask(&call), "called");
    let camera = socket(&topology.camera, (camera.terminal, CAMERA_PORT).into());
    let viewer = socket(&topology.viewer, (viewer.terminal, VIEWER_PORT).into());
    for sequence in 0..20 {
        camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
        assert_eq!(receive(&viewer), (rtp(sequence, 7), to_relay_from_viewer()));
        viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
        assert_eq!(receive(&camera), (rtp(sequence, 8), to_relay_from_camera()));
    }
    writeln!(relay.input, "stop").unwrap();
    assert!(relay.process.wait().unwrap().success());
}
