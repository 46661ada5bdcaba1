//! `culvert tap` on a real call, its file read by Wireshark's own programs.
//!
//! Takes root, iproute2, ethtool and tshark.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::call::{Call, media_address, receive, rtp};
use support::gateway::PATIENCE;
use testbed::Topology;

/// Starts `culvert tap` for a leg.
fn tap(call: &Call, leg: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_culvert"));
    command.args(["tap", "--socket"]).arg(call.gateway.socket()).arg(leg).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How a tap ended: its exit code and what it said.
fn end(tap: Child) -> (i32, String) {
    let output = tap.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A capture exists and has begun.
fn wait_for(file: &Path) {
    let start = Instant::now();
    while std::fs::metadata(file).map_or(0, |facts| facts.len()) == 0 {
        assert!(start.elapsed() < PATIENCE, "{} is not written", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What tshark reads of each packet of a file.
fn tshark(file: &Path, port: u16, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-d", &format!("udp.port=={port},rtp"), "-T", "fields"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark: apt-get install tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// How many packets a file holds that may be in the middle of one.
fn packets(file: &Path) -> usize {
    let output = Command::new("tshark").arg("-r").arg(file).output().expect("tshark: apt-get install tshark");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// The name of the viewer's RTP leg.
fn viewer_leg(call: &Call) -> String {
    let status = call.gateway.status();
    let leg = status.calls[0].legs.iter().find(|leg| leg.side == "caller" && leg.kind == "rtp").unwrap();
    leg.id.clone().unwrap()
}

#[test]
fn wireshark_reads_both_directions_of_a_leg() {
    let call = Call::prepare("");
    let (invite, answer) = call.answer();
    call.acknowledge(&answer);
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leg.pcapng");
    let tap = tap(&call, &viewer_leg(&call), &["-w", file.to_str().unwrap(), "--packets", "2"]);
    wait_for(&file);
    call.viewer_rtp.send_to(&rtp(1), told_viewer).unwrap();
    receive(&call.camera_rtp);
    call.camera_rtp.send_to(&rtp(2), told_camera).unwrap();
    receive(&call.viewer_rtp);
    let (code, said) = end(tap);
    assert_eq!((code, said.contains("2 packets, 0 lost")), (0, true), "{said}");

    let fields = ["frame.packet_flags_direction", "frame.interface_name", "ip.src", "udp.srcport", "rtp.seq"];
    let packets = tshark(&file, told_viewer.port(), &fields);
    let device = Topology::VIEWER.device;
    let (viewer, relay) = (Topology::VIEWER.terminal.to_string(), Topology::VIEWER.relay.to_string());
    let port = told_viewer.port().to_string();
    let inbound = ["0x00000001", device, &viewer, "4000", "1"];
    let outbound = ["0x00000002", device, &relay, &port, "2"];
    assert_eq!(packets, [inbound, outbound]);

    let about =
        Command::new("capinfos").args(["-M", "-F", "-H", "-k", "-t", "-c"]).arg(&file).output().unwrap();
    let text = String::from_utf8(about.stdout).unwrap();
    assert!(about.status.success() && text.contains("pcapng") && text.contains("remote side"), "{text}");
}

#[test]
fn a_pipe_is_fed_until_the_call_ends() {
    let call = Call::prepare("");
    let (_, answer) = call.answer();
    call.acknowledge(&answer);
    let told_viewer = media_address(&answer);
    let mut tap = tap(&call, &viewer_leg(&call), &["-w", "-"]);
    let mut tshark = Command::new("tshark");
    let reader = tshark.args(["-r", "-", "-T", "fields", "-e", "udp.length"]);
    let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut tapped, mut to_reader) = (tap.stdout.take().unwrap(), reader.stdin.take().unwrap());
    // The tap runs when the file begins.
    let mut beginning = [0];
    tapped.read_exact(&mut beginning).unwrap();
    to_reader.write_all(&beginning).unwrap();
    let pipe = std::thread::spawn(move || std::io::copy(&mut tapped, &mut to_reader).unwrap());
    for sequence in 0..50 {
        call.viewer_rtp.send_to(&rtp(sequence), told_viewer).unwrap();
        receive(&call.camera_rtp);
    }
    call.viewer.request_in_dialog("BYE", &answer, 2, "");
    let bye = call.camera.receive_request("BYE");
    call.camera.respond(&bye, 200, "camera1", "");
    let (code, said) = end(tap);
    assert_eq!((code, said.contains("50 packets, 0 lost")), (0, true), "{said}");
    pipe.join().unwrap();
    let read = reader.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap(), "27\n".repeat(50));
}

#[test]
fn ctrl_c_leaves_a_whole_file() {
    let call = Call::prepare("");
    let (_, answer) = call.answer();
    call.acknowledge(&answer);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leg.pcapng");
    let tap = tap(&call, &viewer_leg(&call), &["-w", file.to_str().unwrap()]);
    wait_for(&file);
    for sequence in 0..20 {
        call.viewer_rtp.send_to(&rtp(sequence), media_address(&answer)).unwrap();
        receive(&call.camera_rtp);
    }
    // What it has not read yet when it is interrupted would be missing.
    let start = Instant::now();
    while packets(&file) < 20 {
        assert!(start.elapsed() < PATIENCE, "{} packets were written", packets(&file));
    }
    let id = tap.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let (code, said) = end(tap);
    assert_eq!((code, said.contains("20 packets, 0 lost")), (0, true), "{said}");
    assert_eq!(tshark(&file, 1, &["frame.len"]).len(), 20);
}

#[test]
fn a_leg_that_is_not_there_is_said_and_no_file_is_touched() {
    let call = Call::prepare("");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leg.pcapng");
    std::fs::write(&file, "precious").unwrap();
    for (leg, told) in [("7.1", "leg 7.1 is not installed"), ("nonsense", "`nonsense` names no leg")] {
        let (code, said) = end(tap(&call, leg, &["-w", file.to_str().unwrap()]));
        assert_eq!((code, said.contains(told)), (6, true), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}
