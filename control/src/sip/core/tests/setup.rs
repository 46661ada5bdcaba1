//! Setting up and taking down, and what goes wrong in between.

use super::*;

#[test]
fn lost_200_is_repeated_with_doubled_intervals_up_to_t2_until_the_ack() {
    let mut world = World::new();
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let invite = world.request_to(CAMERA);
    world.answer(CAMERA, &invite, 200, &[], "answer");
    let answer = world.response_to(VIEWER);
    for (milliseconds, wanted) in [(499, 0), (1, 1), (999, 0), (1, 1), (2_000, 1), (4_000, 1), (4_000, 1)] {
        world.wait(Duration::from_millis(milliseconds));
        assert_eq!(world.told(VIEWER).len(), wanted, "after {milliseconds} ms more");
    }
    world.receive(VIEWER, &in_dialog("ACK", &answer, 1, &[], ""));
    world.wait(Duration::from_secs(60));
    assert_eq!(world.told(VIEWER), [""; 0]);
    assert_eq!(world.told(CAMERA), ["ACK"]);
}

#[test]
fn called_whose_ack_was_lost_gets_it_again() {
    let mut world = World::new();
    let (invite, _) = world.call(&[], &[]);
    world.answer(CAMERA, &invite, 200, &[], "answer");
    assert_eq!(world.told(CAMERA), ["ACK"]);
    assert_eq!(world.told(VIEWER), [""; 0]);
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut world = World::new();
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let invite = world.request_to(CAMERA);
    world.receive(VIEWER, &request("CANCEL", "viewer", VIEWER, "camera", "call", 1, &[], ""));
    assert_eq!(world.told(VIEWER), ["200", "487"]);
    assert_eq!(world.told(CAMERA), [""; 0], "RFC 3261 section 9.1");
    world.answer(CAMERA, &invite, 180, &[], "");
    assert_eq!(world.told(CAMERA), ["CANCEL"]);
    world.answer(CAMERA, &invite, 487, &[], "");
    assert_eq!(world.told(CAMERA), ["ACK"]);
    assert_eq!(world.reasons(), ["cancelled by the caller"]);
}

#[test]
fn answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut world = World::new();
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let invite = world.request_to(CAMERA);
    world.answer(CAMERA, &invite, 180, &[], "");
    world.receive(VIEWER, &request("CANCEL", "viewer", VIEWER, "camera", "call", 1, &[], ""));
    assert_eq!(world.told(VIEWER), ["180", "200", "487"]);
    assert_eq!(world.told(CAMERA), ["CANCEL"]);
    world.answer(CAMERA, &invite, 200, &[], "answer");
    assert_eq!(world.told(CAMERA), ["ACK", "BYE"]);
    assert_eq!(world.told(VIEWER), [""; 0]);
}

#[test]
fn nobody_answers_within_the_ring_timeout() {
    let mut world = World::with("ring_timeout_seconds = 30", "direct");
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let invite = world.request_to(CAMERA);
    world.answer(CAMERA, &invite, 180, &[], "");
    world.wait(Duration::from_secs(30));
    assert_eq!(world.told(VIEWER).get(..2), Some(&["180".to_owned(), "408".to_owned()][..]));
    assert_eq!(world.told(CAMERA), ["CANCEL"]);
}

#[test]
fn best_refusal_of_several_contacts_is_told() {
    let mut world = World::new();
    let second = "192.0.2.9:5070";
    world.receive(second, &request("REGISTER", "camera", second, "camera", "reg2", 1, &[], ""));
    world.sent_to(second);
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let (first, other) = (world.request_to(CAMERA), world.request_to(second));
    world.answer(second, &other, 404, &[], "");
    assert_eq!(world.told(VIEWER), [""; 0], "the first still rings");
    world.answer(CAMERA, &first, 486, &[(HeaderName::RetryAfter, "60")], "");
    let refusal = world.response_to(VIEWER);
    assert_eq!(
        (refusal.status_code(), header(&refusal, HeaderName::RetryAfter)),
        (Some(486), "60".to_owned())
    );
}

#[test]
fn decline_of_one_contact_counts_for_all() {
    let mut world = World::new();
    let second = "192.0.2.9:5070";
    world.receive(second, &request("REGISTER", "camera", second, "camera", "reg2", 1, &[], ""));
    world.sent_to(second);
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    let (first, other) = (world.request_to(CAMERA), world.request_to(second));
    world.answer(CAMERA, &first, 180, &[], "");
    world.answer(second, &other, 603, &[], "");
    assert_eq!(world.told(VIEWER), ["180", "603"]);
    assert_eq!(world.told(CAMERA), ["CANCEL"]);
}

#[test]
fn request_that_has_been_here_or_may_not_go_further_is_refused() {
    let mut world = World::new();
    let invite = |headers: &[&str], call_id| {
        request("INVITE", "viewer", VIEWER, "camera", call_id, 1, headers, "offer")
    };
    world.receive(VIEWER, &invite(&["Max-Forwards: 0"], "a"));
    assert_eq!(world.status_to(VIEWER), 483);
    world.receive(VIEWER, &invite(&["Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours"], "b"));
    assert_eq!(world.status_to(VIEWER), 482);
    world.receive(VIEWER, &invite(&["Require: 100rel"], "c"));
    let refusal = world.response_to(VIEWER);
    assert_eq!(
        (refusal.status_code(), header(&refusal, HeaderName::Unsupported)),
        (Some(420), "100rel".to_owned())
    );
    world.receive(VIEWER, &invite(&["Max-Forwards: 7"], "d"));
    assert_eq!(world.request_to(CAMERA).max_forwards().unwrap(), Some(6));
}

#[test]
fn header_fields_for_the_far_end_pass_and_claims_of_identity_do_not() {
    let mut world = World::new();
    let headers = ["Subject: 34020000001320000001:0", "X-Site: north", "P-Asserted-Identity: <sip:boss@x>"];
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &headers, "offer"));
    let invite = world.request_to(CAMERA);
    assert_eq!(header(&invite, HeaderName::Subject), "34020000001320000001:0");
    assert!(invite.headers.other("X-Site").is_some());
    assert!(invite.headers.other("P-Asserted-Identity").is_none());
    assert!(invite.headers.all(HeaderName::Via).count() == 1);
}

#[test]
fn reinvite_passes_and_its_answer_and_its_ack_too() {
    let mut world = World::new();
    let (_, answer) = world.call(&[], &[]);
    world.receive(VIEWER, &in_dialog("INVITE", &answer, 2, &[], "hold"));
    let reinvite = world.request_to(CAMERA);
    assert_eq!(reinvite.body.as_ref(), b"hold");
    world.answer(CAMERA, &reinvite, 200, &[], "held");
    let held = world.response_to(VIEWER);
    assert_eq!(held.body.as_ref(), b"held");
    world.receive(VIEWER, &in_dialog("ACK", &answer, 2, &[], ""));
    let ack = world.request_to(CAMERA);
    assert_eq!(header(&ack, HeaderName::CSeq), "2 ACK");
    world.answer(CAMERA, &reinvite, 200, &[], "held");
    assert_eq!(world.told(CAMERA), ["ACK"]);
}

#[test]
fn refused_reinvite_leaves_the_call_as_it_was_but_a_forgotten_call_ends() {
    let mut world = World::new();
    let (_, answer) = world.call(&[], &[]);
    world.receive(VIEWER, &in_dialog("INVITE", &answer, 2, &[], "hold"));
    let reinvite = world.request_to(CAMERA);
    world.answer(CAMERA, &reinvite, 488, &[], "");
    assert_eq!(world.status_to(VIEWER), 488);
    assert_eq!(world.reasons(), [""; 0]);
    world.receive(VIEWER, &in_dialog("INFO", &answer, 3, &[], ""));
    let mut requests: Vec<_> = world.sent_to(CAMERA).into_iter().filter(Message::is_request).collect();
    let info = requests.pop().unwrap();
    world.answer(CAMERA, &info, 481, &[], "");
    assert_eq!(world.reasons(), ["the called has forgotten the call"]);
    assert!(world.told(VIEWER).contains(&"BYE".to_owned()));
}
