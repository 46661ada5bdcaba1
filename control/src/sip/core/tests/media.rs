//! Relay mode: nothing leaves before the media plane has answered.

use super::*;
use crate::sip::call::{MediaOperation, MediaRefusal, MediaReply, Side};

impl World {
    /// The media plane answers its oldest request, which must be this operation.
    fn media_answers(&mut self, wanted: &str, result: Result<&str, u16>) {
        let asked = self.effects.media.remove(0);
        let found = match &asked.operation {
            MediaOperation::Offer { by: Side::Caller, .. } => "offer of the caller",
            MediaOperation::Offer { by: Side::Called, .. } => "offer of the called",
            MediaOperation::Answer { by: Side::Caller, .. } => "answer of the caller",
            MediaOperation::Answer { by: Side::Called, .. } => "answer of the called",
        };
        assert_eq!(found, wanted);
        let refused = |status| MediaRefusal { status, warning: "because".to_owned() };
        let result = result.map(|text| Bytes::copy_from_slice(text.as_bytes())).map_err(refused);
        self.core.media_reply(self.now, MediaReply { id: asked.id, result });
        self.collect();
    }

    fn ring_through_the_relay(&mut self) -> Message {
        self.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
        assert_eq!(self.told(CAMERA), [""; 0], "the INVITE waits for its offer");
        self.media_answers("offer of the caller", Ok("our offer"));
        let invite = self.request_to(CAMERA);
        assert_eq!(invite.body.as_ref(), b"our offer");
        invite
    }
}

#[test]
fn answer_leaves_when_the_rules_are_installed_and_not_before() {
    let mut world = World::with("", "relay");
    let invite = world.ring_through_the_relay();
    world.answer(CAMERA, &invite, 200, &[], "answer");
    assert_eq!(world.told(VIEWER), [""; 0]);
    world.media_answers("answer of the called", Ok("our answer"));
    let answer = world.response_to(VIEWER);
    assert_eq!((answer.status_code(), answer.body.as_ref()), (Some(200), &b"our answer"[..]));
}

#[test]
fn early_media_is_relayed_and_the_answer_follows_in_order() {
    let mut world = World::with("", "relay");
    let invite = world.ring_through_the_relay();
    world.answer(CAMERA, &invite, 183, &[], "early answer");
    world.answer(CAMERA, &invite, 200, &[], "answer");
    assert_eq!(world.effects.media.len(), 1, "one operation at a time");
    world.media_answers("answer of the called", Ok("our early answer"));
    world.media_answers("answer of the called", Ok("our answer"));
    assert_eq!(world.told(VIEWER), ["200"], "a 183 that comes after the 200 was decided is not sent");
}

#[test]
fn refused_offer_is_told_with_a_warning_and_nobody_is_called() {
    let mut world = World::with("", "relay");
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], "offer"));
    world.media_answers("offer of the caller", Err(488));
    let refusal = world.response_to(VIEWER);
    assert_eq!(refusal.status_code(), Some(488));
    assert!(header(&refusal, HeaderName::Warning).ends_with("\"because\""));
    assert_eq!(world.told(CAMERA), [""; 0]);
    assert_eq!(world.effects.ended.len(), 1);
}

#[test]
fn answer_that_cannot_be_relayed_ends_the_called_and_refuses_the_caller() {
    let mut world = World::with("", "relay");
    let invite = world.ring_through_the_relay();
    world.answer(CAMERA, &invite, 200, &[], "answer");
    world.media_answers("answer of the called", Err(503));
    assert_eq!(world.status_to(VIEWER), 503);
    assert_eq!(world.told(CAMERA), ["ACK", "BYE"]);
}

#[test]
fn cancel_while_the_answer_is_prepared_ends_both_sides_and_then_the_media() {
    let mut world = World::with("", "relay");
    let invite = world.ring_through_the_relay();
    world.answer(CAMERA, &invite, 200, &[], "answer");
    world.receive(VIEWER, &request("CANCEL", "viewer", VIEWER, "camera", "call", 1, &[], ""));
    assert_eq!(world.told(VIEWER), ["200", "487"]);
    assert_eq!(world.told(CAMERA), ["ACK", "BYE"]);
    assert!(world.effects.ended.is_empty(), "legs may be installed behind the operation that is under way");
    world.media_answers("answer of the called", Ok("our answer"));
    assert_eq!(world.told(VIEWER), [""; 0]);
    assert_eq!(world.effects.ended.first().map(|ended| ended.unused_media.len()), Some(1));
}

#[test]
fn offers_of_both_sides_that_cross_in_the_media_plane_are_glare() {
    let mut world = World::with("", "relay");
    let invite = world.ring_through_the_relay();
    world.answer(CAMERA, &invite, 200, &[], "answer");
    world.media_answers("answer of the called", Ok("our answer"));
    let answer = world.response_to(VIEWER);
    world.receive(VIEWER, &in_dialog("ACK", &answer, 1, &[], ""));
    world.receive(VIEWER, &in_dialog("INVITE", &answer, 2, &[], "hold"));
    let to = invite.from().unwrap().to_string();
    let crossing = request("INVITE", "camera", CAMERA, "viewer", &invite.call_id().unwrap(), 1, &[], "hold")
        .replace("To: <sip:viewer@192.0.2.1>", &format!("To: {to}"));
    world.receive(CAMERA, &crossing);
    assert_eq!(world.status_to(CAMERA), 491);
    world.media_answers("offer of the caller", Err(488));
    assert_eq!(world.status_to(VIEWER), 488);
    world.receive(VIEWER, &in_dialog("ACK", &answer, 2, &[], ""));
    world.receive(VIEWER, &in_dialog("INVITE", &answer, 3, &[], "hold"));
    world.media_answers("offer of the caller", Ok("our hold"));
    assert_eq!(world.request_to(CAMERA).body.as_ref(), b"our hold");
}

#[test]
fn offer_in_the_200_is_answered_in_the_ack() {
    let mut world = World::with("", "relay");
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "call", 1, &[], ""));
    let invite = world.request_to(CAMERA);
    world.answer(CAMERA, &invite, 200, &[], "offer");
    world.media_answers("offer of the called", Ok("our offer"));
    let answer = world.response_to(VIEWER);
    assert_eq!(answer.body.as_ref(), b"our offer");
    world.receive(VIEWER, &in_dialog("ACK", &answer, 1, &[], "answer"));
    assert_eq!(world.told(CAMERA), [""; 0], "the ACK waits for its answer");
    world.media_answers("answer of the caller", Ok("our answer"));
    assert_eq!(world.request_to(CAMERA).body.as_ref(), b"our answer");
}
