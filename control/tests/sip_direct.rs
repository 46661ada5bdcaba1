//! Calls in direct mode: the real binary on loopback, driven by sipp.
//!
//! Takes sip-tester. Each test has a loopback address of its own, so that all can run at the same time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod support;

use std::net::SocketAddr;

use support::gateway::Gateway;
use support::sipp::{Sipp, SippOptions};

const PASSWORD: &str = "correct horse";

/// One TCP connection.
const TCP: [&str; 2] = ["-t", "t1"];

/// The gateway and the addresses around it.
struct Host {
    gateway: Gateway,
    address: SocketAddr,
    caller: SocketAddr,
    called: SocketAddr,
}

impl Host {
    fn start(number: u8) -> Self {
        let at = |host: u8, port: u16| SocketAddr::from(([127, 78, number, host], port));
        let address = at(1, 5060);
        let configuration = format!(
            r#"
[sip]
listen = ["udp:{address}", "tcp:{address}"]
realm = "culvert.example"
[[account]]
user = "viewer"
authenticate = "never"
from = ["127.78.{number}.0/24"]
[[account]]
user = "camera"
authenticate = "never"
from = ["127.78.{number}.0/24"]
[[account]]
user = "guarded"
password = "{PASSWORD}"
[[rule]]
from = "viewer"
to = "camera"
mode = "direct"
"#
        );
        Self {
            gateway: Gateway::start(None, &configuration),
            address,
            caller: at(2, 5070),
            called: at(3, 5070),
        }
    }

    fn play<'a>(&self, scenario: &'a str, local: SocketAddr) -> SippOptions<'a> {
        SippOptions::new(None, scenario, local)
    }

    /// Registers the camera, and has it play a scenario when it is called.
    fn called(&self, scenario: &str) -> Sipp {
        self.play("register_open", self.called).to(self.address, "camera").run();
        let sipp = self.play(scenario, self.called).start();
        sipp.wait_for_port(self.called);
        sipp
    }

    fn caller(&self, scenario: &str) {
        self.play(scenario, self.caller).to(self.address, "camera").run();
    }

    /// One side plays one scenario, the other another, and both succeed.
    fn call(&self, caller: &str, called: &str) {
        let called = self.called(called);
        self.caller(caller);
        called.succeed();
    }
}

#[test]
fn terminal_registers_with_its_password_only() {
    let host = Host::start(1);
    let register = |scenario, password| {
        host.play(scenario, host.caller)
            .to(host.address, "guarded")
            .with(&["-au", "guarded", "-ap", password])
            .run();
    };
    register("register_wrongly", "wrong horse");
    assert!(host.gateway.status().registrations.is_empty());
    register("register", PASSWORD);
    let status = host.gateway.status();
    let registration = status.registrations.first().expect("a registration");
    assert_eq!(
        (registration.user.as_str(), registration.source.as_str()),
        ("guarded", "udp:127.78.1.2:5070")
    );
}

#[test]
fn call_is_set_up_and_ended_by_the_caller() {
    let host = Host::start(2);
    host.call("caller_calls", "called_answers");
    host.gateway.wait_for_end("the caller hung up");
}

#[test]
fn call_is_ended_by_the_called() {
    let host = Host::start(3);
    host.call("caller_is_hung_up", "called_hangs_up");
    host.gateway.wait_for_end("the called hung up");
}

#[test]
fn caller_cancels_while_it_rings() {
    let host = Host::start(4);
    host.call("caller_cancels", "called_is_cancelled");
    host.gateway.wait_for_end("cancelled by the caller");
}

#[test]
fn busy_is_passed_on() {
    let host = Host::start(5);
    host.call("caller_hears_busy", "called_is_busy");
    host.gateway.wait_for_end("refused with 486");
}

#[test]
fn repeated_invite_makes_one_call() {
    let host = Host::start(6);
    host.call("caller_repeats_invite", "called_answers_late");
    host.gateway.wait_for_end("the caller hung up");
    assert!(host.gateway.count("sip_requests_retransmitted") >= 2);
    assert_eq!(host.gateway.count("calls_started"), 1);
}

#[test]
fn answer_is_repeated_until_its_ack_arrives() {
    let host = Host::start(7);
    host.call("caller_loses_ack", "called_answers");
    host.gateway.wait_for_end("the caller hung up");
    assert!(host.gateway.count("sip_answers_repeated") >= 1);
}

#[test]
fn caller_holds_the_call_with_a_reinvite() {
    let host = Host::start(8);
    host.call("caller_holds", "called_is_held");
    host.gateway.wait_for_end("the caller hung up");
}

#[test]
fn call_over_tcp() {
    let host = Host::start(9);
    host.play("register_open", host.called).to(host.address, "camera").with(&TCP).run();
    let registered = host.gateway.status().registrations;
    assert!(
        registered.iter().all(|registration| registration.source == "tcp:127.78.9.3:5070"),
        "{registered:?}"
    );
    let called = host.play("called_answers", host.called).with(&TCP).start();
    called.wait_for_port(host.called);
    host.play("caller_calls", host.caller).to(host.address, "camera").with(&TCP).run();
    called.succeed();
    host.gateway.wait_for_end("the caller hung up");
}

#[test]
fn caller_over_udp_reaches_the_called_over_tcp() {
    let host = Host::start(10);
    host.play("register_open", host.called).to(host.address, "camera").with(&TCP).run();
    let called = host.play("called_answers", host.called).with(&TCP).start();
    called.wait_for_port(host.called);
    host.caller("caller_calls");
    called.succeed();
}
