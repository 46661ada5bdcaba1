//! REGISTER and the proofs of terminals.

use super::*;
use crate::sip::digest;
use crate::sip::message::Method;

/// The credentials that answer the challenge of a response.
fn credentials(challenge: &Message, name: HeaderName, method: &Method, uri: &str, password: &str) -> String {
    let challenge = challenge.auth_params(name).unwrap().remove(0);
    digest::respond(&challenge, method, uri, ("guarded", password), "cnonce", 1).unwrap().to_string()
}

fn register(world: &mut World, cseq: u32, headers: &[&str]) -> Message {
    world.receive(
        VIEWER,
        &request("REGISTER", "guarded", VIEWER, "guarded", "reg-guarded", cseq, headers, ""),
    );
    world.response_to(VIEWER)
}

fn with_password(world: &mut World, cseq: u32, password: &str) -> u16 {
    let challenge = register(world, cseq, &[]);
    assert_eq!(challenge.status_code(), Some(401));
    let uri = "sip:guarded@192.0.2.1";
    let answer = credentials(&challenge, HeaderName::WwwAuthenticate, &Method::REGISTER, uri, password);
    register(world, cseq + 1, &[&format!("Authorization: {answer}")]).status_code().unwrap()
}

#[test]
fn every_registration_brings_its_proof() {
    let mut world = World::new();
    assert_eq!(with_password(&mut world, 1, "wrong horse"), 403);
    assert_eq!(with_password(&mut world, 3, "correct horse"), 200);
    assert_eq!(register(&mut world, 5, &[]).status_code(), Some(401), "not only the first");
    assert_eq!(with_password(&mut world, 6, "correct horse"), 200);
}

#[test]
fn guessing_is_stopped_for_a_minute() {
    let mut world = World::with("[sip.limits]\nauthentication_failures_per_minute = 2", "direct");
    assert_eq!(with_password(&mut world, 1, "guess 1"), 403);
    assert_eq!(with_password(&mut world, 3, "guess 2"), 403);
    assert_eq!(register(&mut world, 5, &[]).status_code(), Some(403), "not even challenged");
    world.wait(Duration::from_secs(61));
    assert_eq!(with_password(&mut world, 6, "correct horse"), 200);
}

#[test]
fn account_of_a_network_is_refused_from_elsewhere() {
    let mut world = World::new();
    let elsewhere = "198.51.100.1:5060";
    world.receive(elsewhere, &request("REGISTER", "camera", elsewhere, "camera", "x", 1, &[], ""));
    assert_eq!(world.status_to(elsewhere), 403);
}

#[test]
fn caller_proves_itself_too_and_cannot_pose_as_another() {
    let mut world = World::new();
    let invite = |cseq, from: &str, headers: &[&str]| {
        request("INVITE", from, VIEWER, "camera", "call", cseq, headers, "offer")
    };
    world.receive(VIEWER, &invite(1, "guarded", &[]));
    let challenge = world.response_to(VIEWER);
    assert_eq!(challenge.status_code(), Some(407));
    let uri = "sip:camera@192.0.2.1";
    let answer =
        credentials(&challenge, HeaderName::ProxyAuthenticate, &Method::INVITE, uri, "correct horse");
    world.receive(VIEWER, &invite(2, "guarded", &[&format!("Proxy-Authorization: {answer}")]));
    let invited = world.request_to(CAMERA);
    assert!(invited.headers.get(HeaderName::ProxyAuthorization).is_none(), "the proof is for us alone");
    world.receive(VIEWER, &invite(3, "somebody", &[&format!("Proxy-Authorization: {answer}")]));
    assert!(matches!(world.status_to(VIEWER), 403 | 407));
    assert_eq!(world.told(CAMERA), [""; 0]);
}

#[test]
fn too_brief_registration_is_told_the_minimum() {
    let mut world = World::new();
    world.receive(CAMERA, &request("REGISTER", "camera", CAMERA, "camera", "reg", 2, &["Expires: 59"], ""));
    let refusal = world.response_to(CAMERA);
    assert_eq!(
        (refusal.status_code(), header(&refusal, HeaderName::MinExpires)),
        (Some(423), "60".to_owned())
    );
}

#[test]
fn call_to_an_expired_registration_is_answered_480() {
    let mut world = World::new();
    world.wait(Duration::from_secs(3_600));
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    assert_eq!(world.status_to(VIEWER), 480);
}
