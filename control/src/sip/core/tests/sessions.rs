//! Session timers (RFC 4028): the death of either side is noticed.

use super::*;

/// Half of the default session interval: when we refresh.
const HALF: Duration = Duration::from_secs(900);

#[test]
fn side_that_knows_no_session_timer_is_asked_by_us_and_its_silence_ends_the_call() {
    let mut world = World::new();
    // The viewer refreshes by itself, the camera cannot.
    let viewer = ["Supported: timer", "Session-Expires: 1800;refresher=uac", "Allow: UPDATE"];
    world.call(&viewer, &[(HeaderName::Allow, "INVITE, UPDATE")]);
    world.wait(HALF);
    let update = world.request_to(CAMERA);
    assert_eq!(header(&update, HeaderName::CSeq), "2 UPDATE");
    assert!(update.body.is_empty());
    world.answer(CAMERA, &update, 200, &[], "");
    assert_eq!(world.reasons(), [""; 0]);
    world.wait(HALF - Duration::from_secs(32) - Duration::from_secs(1));
    assert_eq!(world.told(VIEWER), [""; 0]);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.reasons(), ["the caller did not refresh its session"]);
    assert_eq!((world.told(VIEWER), world.told(CAMERA)), (vec!["BYE".to_owned()], vec!["BYE".to_owned()]));
}

#[test]
fn side_without_update_is_refreshed_by_its_last_session_description() {
    let mut world = World::new();
    world.call(&[], &[(HeaderName::SessionExpires, "1800;refresher=uas")]);
    world.wait(HALF);
    let refresh = world.request_to(VIEWER);
    assert_eq!(
        (header(&refresh, HeaderName::CSeq).as_str(), refresh.body.as_ref()),
        ("1 INVITE", &b"answer"[..])
    );
    world.answer(VIEWER, &refresh, 200, &[], "offer");
    assert_eq!(world.told(VIEWER), ["ACK"]);
}

#[test]
fn dead_side_is_noticed_by_our_refresh() {
    let mut world = World::new();
    world.call(&[], &[(HeaderName::SessionExpires, "1800;refresher=uas")]);
    world.wait(HALF + Duration::from_secs(32));
    assert_eq!(world.reasons(), ["the caller does not answer any more"]);
    assert!(world.told(CAMERA).contains(&"BYE".to_owned()));
}

#[test]
fn interval_is_settled_with_each_side_and_too_short_ones_are_refused() {
    let mut world = World::new();
    let short = ["Supported: timer", "Session-Expires: 89"];
    world.receive(VIEWER, &request("INVITE", "viewer", VIEWER, "camera", "short", 1, &short, "offer"));
    let refusal = world.response_to(VIEWER);
    assert_eq!((refusal.status_code(), header(&refusal, HeaderName::MinSe)), (Some(422), "90".to_owned()));
    let (invite, answer) = world.call(&["Supported: timer", "Session-Expires: 600"], &[]);
    assert_eq!(header(&invite, HeaderName::SessionExpires), "1800");
    assert_eq!(header(&answer, HeaderName::SessionExpires), "600;refresher=uac");
    assert_eq!(header(&answer, HeaderName::Require), "timer");
}

#[test]
fn update_of_a_side_restarts_its_timer() {
    let mut world = World::new();
    let viewer = ["Supported: timer", "Session-Expires: 600;refresher=uac"];
    let (_, answer) = world.call(&viewer, &[(HeaderName::SessionExpires, "1800;refresher=uas")]);
    world.wait(Duration::from_secs(500));
    world.receive(VIEWER, &in_dialog("UPDATE", &answer, 2, &viewer, ""));
    assert_eq!(world.status_to(VIEWER), 200);
    world.wait(Duration::from_secs(567));
    assert_eq!(world.reasons(), [""; 0]);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.reasons(), ["the caller did not refresh its session"]);
}
