//! Who is to be told what, and when. No clock, no socket and no table of its own: it is told the time and the facts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use relay_common::rtcp::{
    Compound, Packet, Received, Reception, SenderInfo, WriteError, Writer, interval, middle_of_ntp,
};

use super::account::{Account, Sends};
use crate::leg::LegId;

/// Mean time between two reports to the same side: the shortest that RFC 3550 section 6.2 allows.
const INTERVAL: Duration = Duration::from_secs(5);

/// A sender report that is older than this says nothing of what is sent now.
const STALE: Duration = Duration::from_secs(60);

/// Requests that are passed on to the source of a leg: after a burst, one in so long. Two relays that pass each other's requests on
/// in a circle are held to it, and whoever floods.
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);
/// The burst, as the time that it takes.
const REQUEST_BURST: Duration = Duration::from_secs(1);

/// Item type of a canonical name (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;

/// What is remembered of each leg whose RTCP ends here.
pub(crate) struct Desk {
    places: HashMap<LegId, Place>,
    due: BTreeSet<(Instant, LegId)>,
    /// By the leg that the media arrives on.
    sources: HashMap<LegId, Source>,
    /// Our own canonical name: random, and the same for all legs of one run (RFC 7022).
    name: String,
    random: RandomState,
    drawn: u64,
}

/// One leg.
struct Place {
    /// Under which SSRC we report as a receiver.
    ssrc: u32,
    reception: Reception,
    due: Instant,
    /// When all requests that were passed on would have been due, one after the other.
    asked_until: Instant,
}

/// What a source said of itself last.
struct Source {
    ssrc: u32,
    info: SenderInfo,
    at: Instant,
    name: Box<[u8]>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let mut desk = Self {
            places: HashMap::new(),
            due: BTreeSet::new(),
            sources: HashMap::new(),
            name: String::new(),
            random: RandomState::new(),
            drawn: 0,
        };
        desk.name = format!("{:016x}@culvert", desk.draw());
        desk
    }

    /// These are the legs whose RTCP ends here now. New ones are reported to soon, others are forgotten.
    pub(crate) fn keep(&mut self, legs: &[LegId], now: Instant) {
        for leg in legs {
            if !self.places.contains_key(leg) {
                // The first report comes after half the time (RFC 3550 section 6.2).
                let due = now + interval(INTERVAL / 2, self.draw_word());
                let (ssrc, reception) = (self.draw_word(), Reception::default());
                let place = Place { ssrc, reception, due, asked_until: now };
                self.due.insert((due, *leg));
                self.places.insert(*leg, place);
            }
        }
        if self.places.len() > legs.len() {
            let kept: std::collections::HashSet<LegId> = legs.iter().copied().collect();
            self.places.retain(|leg, _| kept.contains(leg));
            self.due.retain(|(_, leg)| kept.contains(leg));
        }
    }

    /// Forgets what sources said whose legs are gone.
    pub(crate) fn keep_sources(&mut self, is_there: impl Fn(LegId) -> bool) {
        self.sources.retain(|leg, _| is_there(*leg));
    }

    /// A leg that is to be reported to now; its next report is due an interval later.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<LegId> {
        let (at, leg) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, leg));
        let random = self.draw_word();
        let place = self.places.get_mut(&leg)?;
        place.due = now + interval(INTERVAL, random);
        self.due.insert((place.due, leg));
        Some(leg)
    }

    /// The SSRC under which we report to the other side of a leg.
    pub(crate) fn own_ssrc(&self, leg: LegId) -> Option<u32> {
        self.places.get(&leg).map(|place| place.ssrc)
    }

    /// Whether one more request may be passed on to the other side of a leg; if so, it is charged.
    pub(crate) fn may_ask(&mut self, leg: LegId, now: Instant) -> bool {
        let Some(place) = self.places.get_mut(&leg) else { return false };
        let next = place.asked_until.max(now) + REQUEST_INTERVAL;
        let may = next <= now + REQUEST_BURST;
        if may {
            place.asked_until = next;
        }
        may
    }

    /// RTCP about the media of leg `media` has arrived from its source's side.
    pub(crate) fn arrived(&mut self, media: LegId, compound: &Compound<'_>, at: Instant) {
        for packet in compound.packets() {
            match packet {
                Packet::SenderReport(report) => {
                    let name = self.sources.remove(&media).filter(|known| known.ssrc == report.ssrc);
                    let name = name.map(|known| known.name).unwrap_or_default();
                    self.sources.insert(media, Source { ssrc: report.ssrc, info: report.info, at, name });
                }
                Packet::Description(description) => {
                    let Some(source) = self.sources.get_mut(&media) else { continue };
                    let own = description.chunks().filter(|(ssrc, _)| *ssrc == source.ssrc);
                    if let Some((_, name)) = own.flat_map(|(_, items)| items).find(|(kind, _)| *kind == CNAME)
                        && *source.name != *name
                    {
                        source.name = name.into();
                    }
                }
                Packet::Goodbye(goodbye) => {
                    let gone = |source: &Source| goodbye.sources().any(|ssrc| ssrc == source.ssrc);
                    if self.sources.get(&media).is_some_and(gone) {
                        self.sources.remove(&media);
                    }
                }
                _ => {}
            }
        }
    }

    /// Writes the report for the other side of a leg.
    ///
    /// # Errors
    /// It does not fit the buffer.
    pub(crate) fn report<'b>(
        &mut self,
        leg: LegId,
        account: &Account,
        now: Instant,
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], WriteError> {
        let last = self.sources.get(&account.media);
        let received = account.received.as_ref().and_then(|quality| {
            Some(Received {
                ssrc: quality.ssrc?,
                start: quality.ssrc_changes,
                expected: quality.expected,
                packets: quality.packets,
                highest: quality.highest_sequence,
                jitter: quality.jitter,
            })
        });
        let sender_report = last
            .filter(|last| received.is_some_and(|received| received.ssrc == last.ssrc))
            .map(|last| (middle_of_ntp(last.info.ntp), in_65536ths(now.duration_since(last.at))));
        let place = self.places.get_mut(&leg);
        let (own, block) = match place {
            Some(place) => {
                (place.ssrc, received.map(|received| place.reception.report(received, sender_report)))
            }
            None => (0, None),
        };
        let blocks = block.as_slice();
        let mut writer = Writer::new(buffer);
        match account.sends.as_ref().and_then(|sends| self.sender_info(sends, now)) {
            Some((ssrc, info, name)) => {
                writer.sender_report(ssrc, &info, blocks)?;
                writer.description(ssrc, if name.is_empty() { self.name.as_bytes() } else { name })?;
            }
            None => {
                writer.receiver_report(own, blocks)?;
                writer.description(own, self.name.as_bytes())?;
            }
        }
        Ok(writer.finish())
    }

    /// What the source of a stream would say now, in the identity that its receiver sees.
    fn sender_info(&self, sends: &Sends, now: Instant) -> Option<(u32, SenderInfo, &[u8])> {
        let source = self.sources.get(&sends.feeder)?;
        let elapsed = now.duration_since(source.at);
        if sends.source.is_some_and(|ssrc| ssrc != source.ssrc) || elapsed > STALE {
            return None;
        }
        // Without the rate of its clock, what it said last is repeated.
        let (ntp, ticks) = match sends.clock_rate {
            Some(rate) => (in_2_32nds(elapsed), ticks(elapsed, rate)),
            None => (0, 0),
        };
        let info = SenderInfo {
            ntp: source.info.ntp.wrapping_add(ntp),
            rtp_timestamp: source.info.rtp_timestamp.wrapping_add(ticks).wrapping_add(sends.timestamp),
            packets: low(sends.packets),
            bytes: low(sends.bytes),
        };
        Some((sends.ssrc.unwrap_or(source.ssrc), info, &source.name))
    }

    fn draw_word(&mut self) -> u32 {
        low(self.draw())
    }

    /// A random number: the keys of the hasher come from the system.
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.random.hash_one(self.drawn)
    }
}

/// In units of 2^-16 s.
fn in_65536ths(time: Duration) -> u32 {
    u32::try_from(time.as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}

/// In units of 2^-32 s.
fn in_2_32nds(time: Duration) -> u64 {
    (time.as_secs() << 32) + (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000
}

/// In ticks of a clock, modulo 2^32.
fn ticks(time: Duration, rate: u32) -> u32 {
    low(u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or_default())
}

#[expect(clippy::cast_possible_truncation, reason = "counters of reports are modulo 2^32")]
const fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use relay_common::rtcp::ReportBlock;

    use super::*;
    use crate::statistics::Quality;

    const CAMERA: LegId = LegId { slot: 1, generation: 1 };
    const VIEWER: LegId = LegId { slot: 2, generation: 1 };
    const NTP: u64 = 0xe000_0000_4000_0000;

    fn quality() -> Quality {
        Quality {
            ssrc: Some(7),
            packets: 90,
            expected: 100,
            lost: 10,
            jitter: 33,
            highest_sequence: 199,
            ..Quality::default()
        }
    }

    fn account(media: LegId) -> Account {
        Account {
            local: "10.0.0.1:4001".parse().unwrap(),
            remote: Some("10.0.0.2:5001".parse().unwrap()),
            media,
            received: None,
            sends: None,
        }
    }

    /// A desk that knows two legs, and the camera's sender report of `at`.
    fn desk(at: Instant) -> Desk {
        let mut desk = Desk::new();
        desk.keep(&[CAMERA, VIEWER], at);
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        let info = SenderInfo { ntp: NTP, rtp_timestamp: 1_000, packets: 5, bytes: 6 };
        writer.sender_report(7, &info, &[]).unwrap();
        writer.description(7, b"camera").unwrap();
        desk.arrived(CAMERA, &Compound::parse(writer.finish()).unwrap(), at);
        desk
    }

    fn report(desk: &mut Desk, leg: LegId, account: &Account, now: Instant) -> Vec<u8> {
        desk.report(leg, account, now, &mut [0; 512]).unwrap().to_vec()
    }

    #[test]
    fn reports_come_within_half_and_one_and_a_half_intervals_for_ever() {
        let (mut desk, start) = (Desk::new(), Instant::now());
        desk.keep(&[CAMERA, VIEWER], start);
        let mut last = HashMap::from([(CAMERA, start), (VIEWER, start)]);
        let mut count = 0;
        for millisecond in 0..200_000 {
            let now = start + Duration::from_millis(millisecond);
            while let Some(leg) = desk.next_due(now) {
                let waited = now - last.insert(leg, now).unwrap();
                let least = if waited == now - start { INTERVAL / 4 } else { INTERVAL / 2 };
                assert!(
                    (least..=INTERVAL * 3 / 2 + Duration::from_millis(1)).contains(&waited),
                    "{waited:?}"
                );
                count += 1;
            }
        }
        assert!((70..90).contains(&count), "{count} reports in 200 s to two sides");
        desk.keep(&[VIEWER], start);
        let later = start + Duration::from_secs(1_000);
        assert_eq!((desk.next_due(later), desk.next_due(later)), (Some(VIEWER), None));
    }

    #[test]
    fn requests_are_passed_on_in_bursts_but_not_without_end() {
        let (mut desk, start) = (Desk::new(), Instant::now());
        desk.keep(&[CAMERA, VIEWER], start);
        let passed = |desk: &mut Desk, leg, at| (0..1_000).filter(|_| desk.may_ask(leg, at)).count();
        assert_eq!(passed(&mut desk, CAMERA, start), 100);
        assert_eq!(passed(&mut desk, CAMERA, start + Duration::from_millis(50)), 5);
        assert_eq!(passed(&mut desk, VIEWER, start), 100, "each source for itself");
        assert_eq!(passed(&mut desk, CAMERA, start + Duration::from_secs(60)), 100);
        assert!(!desk.may_ask(LegId { slot: 9, generation: 1 }, start), "a leg that is not there");
    }

    #[test]
    fn a_source_is_told_what_arrived_and_when_it_reported_last() {
        let start = Instant::now();
        let mut desk = desk(start);
        let account = Account { received: Some(quality()), ..account(CAMERA) };
        let bytes = report(&mut desk, CAMERA, &account, start + Duration::from_millis(1_500));
        let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
        let [Packet::ReceiverReport(report), Packet::Description(names)] = packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(
            report.blocks().collect::<Vec<_>>(),
            [ReportBlock {
                ssrc: 7,
                fraction_lost: 25,
                cumulative_lost: 10,
                extended_highest: 199,
                jitter: 33,
                last_sender_report: 0x0000_4000,
                delay: 98_304,
            }]
        );
        let (ssrc, mut items) = names.chunks().next().unwrap();
        assert_eq!((ssrc, Some(ssrc)), (report.ssrc, desk.own_ssrc(CAMERA)));
        assert!(items.next().unwrap().1.ends_with(b"@culvert"));
    }

    #[test]
    fn a_source_that_sent_nothing_yet_gets_an_empty_report() {
        let start = Instant::now();
        let bytes = report(&mut desk(start), CAMERA, &account(CAMERA), start);
        let Some(Packet::ReceiverReport(report)) = Compound::parse(&bytes).unwrap().packets().next() else {
            panic!()
        };
        assert_eq!(report.blocks().count(), 0);
    }

    #[test]
    fn a_receiver_gets_the_report_that_the_source_would_make_now() {
        let start = Instant::now();
        let mut desk = desk(start);
        let sends = Sends {
            feeder: CAMERA,
            feeder_rtcp: None,
            source: Some(7),
            ssrc: Some(99),
            timestamp: 500,
            sequence: 0,
            clock_rate: Some(90_000),
            packets: (1 << 32) + 12,
            bytes: 3_400,
        };
        let account = Account { sends: Some(sends), received: None, ..account(VIEWER) };
        let later = start + Duration::from_millis(1_500);
        let bytes = report(&mut desk, VIEWER, &account, later);
        let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
        let [Packet::SenderReport(report), Packet::Description(names)] = packets[..] else {
            panic!("{packets:?}")
        };
        let info = SenderInfo {
            ntp: NTP + (3 << 31),
            rtp_timestamp: 1_000 + 135_000 + 500,
            packets: 12,
            bytes: 3_400,
        };
        assert_eq!((report.ssrc, report.info), (99, info));
        let (ssrc, mut items) = names.chunks().next().unwrap();
        assert_eq!(
            (ssrc, items.next()),
            (99, Some((CNAME, &b"camera"[..]))),
            "whose streams belong together"
        );

        let is_receiver_report = |desk: &mut Desk, sends, now| {
            let account = Account { sends: Some(sends), ..account };
            let bytes = desk.report(VIEWER, &account, now, &mut [0; 512]).unwrap().to_vec();
            bytes[1] == relay_common::rtcp::RECEIVER_REPORT
        };
        assert!(
            is_receiver_report(&mut desk, Sends { source: Some(8), ..sends }, later),
            "another source by now"
        );
        assert!(is_receiver_report(&mut desk, sends, start + STALE * 2), "it has long been silent");
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        writer.goodbye(&[7], b"").unwrap();
        desk.arrived(CAMERA, &Compound::parse(writer.finish()).unwrap(), later);
        assert!(is_receiver_report(&mut desk, sends, later), "it has left");
    }
}
