//! Media outlives the daemon: killed, or left for an upgrade; the real binary, the real XDP program.
//!
//! Takes root, iproute2 and ethtool.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::process::Command;

use control::admin::{self, Reply, Request};
use support::call::{Call, media_address, receive, rtp};
use tempfile::TempDir;

/// A BPF file system, gone with this.
struct State(TempDir);

impl State {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status().unwrap().success()
        );
        Self(folder)
    }

    fn keys(&self, timeout: u32) -> String {
        format!("state = \"{}/gateway\"\nmedia_timeout_seconds = {timeout}", self.0.path().display())
    }

    fn is_empty(&self) -> bool {
        !self.0.path().join("gateway").exists()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn media_of_a_killed_daemon_runs_on_is_shown_and_ends_when_it_is_silent() {
    let state = State::mount();
    // Nothing falls silent while the test looks.
    let mut call = Call::prepare(&format!("{}\nports = \"30000-30003\"", state.keys(600)));
    let (invite, answer) = call.answer();
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    call.acknowledge(&answer);
    call.viewer_rtp.send_to(&rtp(1), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(1), told_camera));

    call.gateway.kill();
    // Nobody is there.
    call.viewer_rtp.send_to(&rtp(2), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(2), told_camera));
    call.gateway.start_again(Some(&call.topology.relay));
    call.viewer_rtp.send_to(&rtp(3), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(3), told_camera));

    let relay = call.gateway.status().relay.unwrap();
    let leg = relay.adopted.iter().find(|leg| leg.local == told_viewer.to_string());
    let leg = leg.unwrap_or_else(|| panic!("{relay:#?}"));
    assert_eq!((leg.side.as_str(), leg.received), ("adopted", 3), "{leg:#?}");
    assert_eq!(relay.port_pairs.in_use, 2, "their ports are not given out: {:#?}", relay.port_pairs);

    // Another life, which gives up sooner.
    call.gateway.kill();
    call.gateway.reconfigure("media_timeout_seconds = 600", "media_timeout_seconds = 1");
    call.gateway.start_again(Some(&call.topology.relay));
    // Ports are given back once the legs are gone.
    call.gateway.wait_for("the end of silent media", |status| {
        status.relay.as_ref().is_some_and(|relay| relay.adopted.is_empty() && relay.port_pairs.in_use == 0)
    });
    call.gateway.terminate();
    assert!(call.gateway.wait(), "{}", call.gateway.log());
    assert!(call.gateway.log().contains("adopted media fell silent"), "{}", call.gateway.log());
    assert!(state.is_empty(), "a daemon that is stopped leaves nothing");
}

#[test]
fn a_daemon_may_leave_for_an_upgrade_and_says_nothing_to_anybody() {
    let state = State::mount();
    let mut call = Call::prepare(&state.keys(60));
    let (invite, answer) = call.answer();
    let (told_camera, told_viewer) = (media_address(&invite), media_address(&answer));
    call.acknowledge(&answer);

    let reply = admin::ask(&call.gateway.socket(), &Request::Stop { keep_media: true }).unwrap();
    assert!(matches!(reply, Reply::Stopping), "{reply:?}");
    assert!(call.gateway.wait(), "{}", call.gateway.log());
    call.viewer_rtp.send_to(&rtp(1), told_viewer).unwrap();
    assert_eq!(receive(&call.camera_rtp), (rtp(1), told_camera));
    call.gateway.start_again(Some(&call.topology.relay));
    assert!(!call.gateway.status().relay.unwrap().adopted.is_empty());
    call.camera_rtp.send_to(&rtp(2), told_camera).unwrap();
    assert_eq!(receive(&call.viewer_rtp), (rtp(2), told_viewer));
}

#[test]
fn without_state_media_cannot_be_kept_and_the_daemon_says_so() {
    let call = Call::prepare("state = \"none\"");
    let reply = admin::ask(&call.gateway.socket(), &Request::Stop { keep_media: true }).unwrap();
    assert!(matches!(&reply, Reply::Refused { message } if message.contains("state")), "{reply:?}");
    assert_eq!(call.gateway.status().relay.unwrap().state, None);
}
