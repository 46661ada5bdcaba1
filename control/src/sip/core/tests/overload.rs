//! Limits: what is over them is refused with 503 and Retry-After, what ends calls is not.

use super::*;

fn is_refused(world: &mut World) -> bool {
    let refusal = world.response_to(VIEWER);
    refusal.status_code() == Some(503) && !header(&refusal, HeaderName::RetryAfter).is_empty()
}

#[test]
fn calls_are_limited() {
    let mut world = World::with("[sip.limits]\ncalls = 1", "direct");
    let (_, answer) = world.call(&[], &[]);
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "second", 1, &[], "offer"));
    assert!(is_refused(&mut world));
    world.receive(VIEWER, &in_dialog("BYE", &answer, 2, &[], ""));
    assert_eq!(world.status_to(VIEWER), 200);
}

#[test]
fn transactions_are_limited_and_bye_has_a_reserve() {
    // The registration, the INVITE and its onward INVITE are three of ten; a tenth is kept for what frees.
    let mut world = World::with("[sip.limits]\ntransactions = 10", "direct");
    let (_, answer) = world.call(&[], &[]);
    for number in 0..6 {
        world.receive(
            VIEWER,
            &request("OPTIONS", "viewer", VIEWER, "camera", &format!("o{number}"), 1, &[], ""),
        );
        assert_eq!(world.status_to(VIEWER), 200);
    }
    world.receive(VIEWER, &request("OPTIONS", "viewer", VIEWER, "camera", "last", 1, &[], ""));
    assert!(is_refused(&mut world));
    world.receive(VIEWER, &in_dialog("BYE", &answer, 2, &[], ""));
    assert_eq!(world.status_to(VIEWER), 200);
}

#[test]
fn new_work_is_refused_while_too_much_waits_and_calls_go_on() {
    let mut world = World::new();
    let (_, answer) = world.call(&[], &[]);
    world.core.set_overloaded(true);
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "second", 1, &[], "offer"));
    assert!(is_refused(&mut world));
    world.receive(VIEWER, &in_dialog("BYE", &answer, 2, &[], ""));
    assert_eq!(world.status_to(VIEWER), 200);
}

#[test]
fn same_request_by_two_paths_is_answered_once() {
    let mut world = World::new();
    let options = request("OPTIONS", "viewer", VIEWER, "camera", "o", 1, &[], "");
    world.receive(VIEWER, &options);
    assert_eq!(world.status_to(VIEWER), 200);
    world.receive(VIEWER, &options.replace("z9hG4bK", "z9hG4bKother"));
    assert_eq!(world.status_to(VIEWER), 482);
    world.receive(VIEWER, &options);
    assert_eq!(world.status_to(VIEWER), 200, "a retransmission gets the response again");
}

#[test]
fn nothing_is_left_of_a_call_when_its_timers_have_run() {
    let mut world = World::new();
    let (_, answer) = world.call(&[], &[]);
    world.receive(VIEWER, &in_dialog("BYE", &answer, 2, &[], ""));
    let bye = world.request_to(CAMERA);
    world.answer(CAMERA, &bye, 200, &[], "");
    world.wait(Duration::from_secs(64));
    let core = &world.core;
    assert!(
        core.calls.is_empty()
            && core.tags.is_empty()
            && core.timers.is_empty()
            && core.transactions.is_empty()
    );
}
