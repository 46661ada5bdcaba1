//! Reports, requests, farewells and silence, without clock or network.

use super::*;
use relay_common::rtcp::Writer;

const SOURCE: LegId = LegId { slot: 1, generation: 1 };

fn receiver(number: u32) -> LegId {
    LegId { slot: 10 + number, generation: 1 }
}

fn audience() -> Audience {
    Audience::new(Duration::from_secs(1), Some(Duration::from_secs(30)))
}

/// A receiver says what it loses of stream 7, and what else these bytes say.
fn says(audience: &mut Audience, number: u32, lost: u8, more: &[u8], now: Instant) -> Vec<Event> {
    let blocks = [(8, 99), (7, lost)].map(|(ssrc, fraction_lost)| ReportBlock {
        ssrc,
        fraction_lost,
        jitter: u32::from(lost) * 2,
        ..ReportBlock::default()
    });
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(number, &blocks).unwrap();
    if !more.is_empty() {
        writer.packet(more).unwrap();
    }
    let compound = Compound::parse(writer.finish()).unwrap();
    let speaker = Speaker { receiver: receiver(number), source: SOURCE, stream: Some(7) };
    audience.heard(speaker, &compound, now)
}

#[test]
fn the_worst_and_the_median_are_of_those_who_report() {
    let (mut audience, now) = (audience(), Instant::now());
    let everybody: Vec<LegId> = (0..6).map(receiver).collect();
    assert_eq!(audience.group_quality(&everybody, now), None);
    for (number, lost) in [(0, 3), (1, 200), (2, 0), (3, 4)] {
        assert_eq!(says(&mut audience, number, lost, &[], now), []);
    }
    let quality = audience.group_quality(&everybody, now).unwrap();
    assert_eq!((quality.reporting, quality.worst_receiver), (4, receiver(1)));
    assert_eq!((quality.worst.fraction_lost, quality.worst.jitter), (200, 400));
    assert_eq!((quality.median.fraction_lost, quality.median.jitter), (4, 8));
    // Who reports no more does not count, and who left neither.
    let later = now + STALE;
    says(&mut audience, 2, 1, &[], later);
    says(&mut audience, 3, 5, &[], later);
    audience.left(receiver(3), SOURCE, false);
    let quality = audience.group_quality(&everybody, later).unwrap();
    assert_eq!((quality.reporting, quality.worst.fraction_lost), (1, 1));
}

#[test]
fn key_frames_are_asked_for_once_in_an_interval_and_none_is_forgotten() {
    let (mut audience, start) = (audience(), Instant::now());
    let wanted = Event::KeyFrameWanted { leg: SOURCE };
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let picture_loss = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7];
    let full_intra = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0];
    assert_eq!(audience.want_key_frame(SOURCE, start), Some(wanted));
    assert_eq!(says(&mut audience, 1, 0, &picture_loss, at(100)), []);
    assert_eq!(says(&mut audience, 2, 0, &full_intra, at(200)), []);
    assert_eq!(audience.look(at(999)), []);
    assert_eq!(audience.look(at(1_000)), [wanted]);
    assert_eq!(audience.look(at(5_000)), [], "both were asked for at once");
    assert_eq!(says(&mut audience, 1, 0, &full_intra, at(5_000)), [wanted]);
    // Another group has a time of its own.
    let other = LegId { slot: 2, generation: 1 };
    assert_eq!(audience.want_key_frame(other, at(5_000)), Some(Event::KeyFrameWanted { leg: other }));
    // A group that ended needs none; and who comes anew waits all the same.
    assert_eq!(audience.want_key_frame(SOURCE, at(5_100)), None);
    audience.left(receiver(1), SOURCE, true);
    assert_eq!(audience.look(at(6_500)), []);
    // A slice loss indication asks for no picture.
    assert_eq!(says(&mut audience, 1, 0, &[0x82, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7], at(9_000)), []);
}

#[test]
fn who_says_goodbye_is_gone_and_who_only_mentions_another_is_not() {
    let (mut audience, now) = (audience(), Instant::now());
    let goodbye = |ssrc: u8| [0x81, 203, 0, 1, 0, 0, 0, ssrc];
    assert_eq!(says(&mut audience, 1, 9, &goodbye(5), now), []);
    let gone = Event::ReceiverGone { leg: receiver(1), source: SOURCE, leaving: Leaving::Goodbye };
    assert_eq!(says(&mut audience, 1, 9, &goodbye(1), now), [gone]);
    assert_eq!(audience.quality(receiver(1)), None);
    assert_eq!(audience.look(now + Duration::from_secs(60)), [], "it is not expected to speak");
}

#[test]
fn silence_is_reported_once_and_ends_with_a_word() {
    let (mut audience, start) = (audience(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let gone = Event::ReceiverGone { leg: receiver(1), source: SOURCE, leaving: Leaving::Silence };
    says(&mut audience, 1, 0, &[], start);
    assert_eq!(audience.look(at(29)), []);
    assert_eq!(audience.look(at(30)), [gone]);
    assert_eq!(audience.look(at(40)), []);
    says(&mut audience, 1, 0, &[], at(50));
    assert_eq!(audience.look(at(60)), []);
    assert_eq!(audience.look(at(80)), [gone]);
    audience.silence = None;
    says(&mut audience, 1, 0, &[], at(90));
    assert_eq!(audience.look(at(900)), []);
}

#[test]
fn unreachable_receivers_are_reported_now_and_then() {
    let (mut audience, start) = (audience(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let gone = Event::ReceiverGone { leg: receiver(1), source: SOURCE, leaving: Leaving::Unreachable };
    assert_eq!(audience.unreachable(receiver(1), SOURCE, start), Some(gone));
    assert_eq!(audience.unreachable(receiver(1), SOURCE, at(9)), None);
    assert_eq!(audience.unreachable(receiver(1), SOURCE, at(10)), Some(gone));
    audience.left(receiver(1), SOURCE, false);
    assert_eq!(audience.unreachable(receiver(1), SOURCE, at(11)), Some(gone));
}

#[test]
fn what_receivers_said_stays_when_their_source_is_switched() {
    const NEXT: LegId = LegId { slot: 2, generation: 1 };
    let (mut audience, now) = (audience(), Instant::now());
    says(&mut audience, 0, 9, &[], now);
    assert!(audience.want_key_frame(SOURCE, now).is_some());
    assert_eq!(audience.want_key_frame(SOURCE, now), None, "it waits");
    audience.switched(SOURCE, NEXT);
    assert_eq!(audience.quality(receiver(0)).unwrap().fraction_lost, 9);
    assert_eq!(audience.want_key_frame(NEXT, now), Some(Event::KeyFrameWanted { leg: NEXT }));
    let silent = Event::ReceiverGone { leg: receiver(0), source: NEXT, leaving: Leaving::Silence };
    assert_eq!(audience.look(now + Duration::from_secs(30)), [silent], "and nothing of the source before");
}
