//! What one viewer got between joining and leaving, packet by packet, against what the camera sent meanwhile.

use super::super::SETTLING;
use super::super::capture::MediaPacket;
use super::super::measurement::median;
use super::super::wire::Rtp;
use super::film::Film;
use super::relay::Copies;
use super::seat::Seat;

/// From joining to leaving, as the relay was told. Times are in seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub(super) seat: Seat,
    /// When it was to join.
    pub(super) asked: f64,
    /// When the relay said that it has.
    pub(super) joined: f64,
    /// What joining took, in microseconds, as the relay measured it.
    pub(super) join_us: u64,
    /// When it was to leave, and when the relay said that it has; none if it stayed.
    pub(super) left: Option<(f64, f64)>,
    /// What the relay counted for it.
    pub(super) copies: Copies,
}

/// What became of the camera's packets at one viewer.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// Packets that arrived on the viewer's wire, of whatever kind.
    pub(super) arrived: u64,
    /// Packets of the camera that did not.
    pub(super) lost: u64,
    /// Packets that arrived more than once.
    pub(super) repeated: u64,
    /// Packets that arrived after a later one.
    pub(super) reordered: u64,
    /// Packets that are none of the camera's, or have not this viewer's SSRC and ports, or came after it had left.
    pub(super) foreign: u64,
    /// From asking to join to the first packet; for who joined before the camera sent, nothing.
    pub(super) first_packet_ms: Option<f64>,
    /// From asking to join to the first packet of the first whole key picture; as above.
    pub(super) first_picture_ms: Option<f64>,
    /// The number of that picture.
    pub(super) first_picture: Option<usize>,
    /// Pictures before it of which anything arrived: a decoder may show them, damaged, or not.
    pub(super) early_pictures: usize,
    /// Half of the packets passed from the camera's wire to the viewer's within so many microseconds.
    pub(super) transit_us: Option<f64>,
}

impl Stay {
    /// Goes through what arrived for this stay, in the order of arrival.
    pub(super) fn account<'a>(
        &self,
        film: &Film,
        arrivals: impl Iterator<Item = &'a MediaPacket>,
    ) -> Account {
        let mut account = Account::default();
        let mut seen = vec![false; film.shots.len()];
        let media_ran = film.shots.first().is_some_and(|first| first.time < self.asked);
        let (mut latest, mut first_seen, mut transits) = (None, None, Vec::new());
        for packet in arrivals {
            account.arrived += 1;
            let place = film.place(&packet.payload).filter(|_| self.is_for_us(packet));
            let shot = place.and_then(|place| Some((place, film.shots.get(place)?, seen.get_mut(place)?)));
            let Some((place, shot, seen)) = shot.filter(|(_, shot, _)| !self.had_left(shot.time)) else {
                account.foreign += 1;
                continue;
            };
            let since_asked = media_ran.then_some((packet.time - self.asked) * 1000.0);
            if std::mem::replace(seen, true) {
                account.repeated += 1;
                continue;
            }
            account.reordered += u64::from(latest > Some(place));
            if latest.is_none() {
                account.first_packet_ms = since_asked;
            }
            if shot.is_start && account.first_picture.is_none() {
                account.first_picture = Some(shot.picture);
                account.first_picture_ms = since_asked;
                account.early_pictures = shot.picture.saturating_sub(first_seen.unwrap_or(shot.picture));
            }
            first_seen = first_seen.or(Some(shot.picture));
            latest = latest.max(Some(place));
            transits.push((packet.time - shot.time) * 1e6);
        }
        account.lost = self.lost(film, &seen);
        account.transit_us = median(transits);
        account
    }

    /// Gaps, and what should have come before the first packet or after the last: whatever was sent after the viewer had
    /// joined, and was not on its way when it left.
    fn lost(&self, film: &Film, seen: &[bool]) -> u64 {
        let is_due = |time: f64| {
            let leaves = self.left.map_or(f64::INFINITY, |(asked, _)| asked - SETTLING.as_secs_f64());
            time > self.joined && time < leaves
        };
        let first = seen.iter().position(|seen| *seen).unwrap_or(seen.len());
        let last = seen.iter().rposition(|seen| *seen).unwrap_or(0);
        let missing =
            film.shots.iter().zip(seen).enumerate().filter(|(place, (shot, seen))| {
                !**seen && (is_due(shot.time) || (first..last).contains(place))
            });
        missing.count() as u64
    }

    fn is_for_us(&self, packet: &MediaPacket) -> bool {
        packet.terminal == self.seat.address
            && packet.relay_port == self.seat.relay.port()
            && Rtp::parse(&packet.payload).is_some_and(|rtp| rtp.ssrc == self.seat.ssrc)
    }

    fn had_left(&self, time: f64) -> bool {
        self.left.is_some_and(|(_, left)| time > left)
    }
}

#[cfg(test)]
mod tests {
    use super::super::film::tests::{film, shot};
    use super::*;

    /// Viewer 1, who joins within the second after packet 2; of the camera's 24 packets, one comes in a second.
    fn stay(left: Option<f64>) -> Stay {
        let left = left.map(|time| (time, time));
        let (asked, joined) = (2.1, 2.9);
        Stay { seat: Seat::new(1), asked, joined, join_us: 0, left, copies: Copies::default() }
    }

    fn arrival(number: u8) -> MediaPacket {
        let seat = Seat::new(1);
        let mut payload = shot(number, 0);
        payload[8..12].copy_from_slice(&seat.ssrc.to_be_bytes());
        let (relay_port, terminal) = (seat.relay.port(), seat.address);
        MediaPacket { time: f64::from(number) + 0.001, is_outgoing: false, relay_port, terminal, payload }
    }

    fn account(stay: &Stay, numbers: impl IntoIterator<Item = u8>) -> Account {
        let arrivals: Vec<_> = numbers.into_iter().map(arrival).collect();
        stay.account(&film(24), arrivals.iter())
    }

    fn faults(account: &Account) -> [u64; 4] {
        [account.lost, account.repeated, account.reordered, account.foreign]
    }

    #[test]
    fn who_joins_gets_all_that_comes_then() {
        let all = account(&stay(None), 3..24);
        assert_eq!((all.arrived, faults(&all)), (21, [0; 4]));
        assert!((all.first_packet_ms.unwrap() - 901.0).abs() < 1e-6);
        assert_eq!((all.first_picture, all.early_pictures), (Some(2), 1), "picture 1 is none to start at");
        assert!((all.first_picture_ms.unwrap() - 3901.0).abs() < 1e-6);
        assert!((all.transit_us.unwrap() - 1000.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_missing_anywhere_is_lost() {
        assert_eq!(faults(&account(&stay(None), 4..24)), [1, 0, 0, 0], "the first");
        assert_eq!(faults(&account(&stay(None), 3..23)), [1, 0, 0, 0], "the last");
        let gap = (3..24).filter(|number| *number != 9);
        assert_eq!(faults(&account(&stay(None), gap)), [1, 0, 0, 0]);
        assert_eq!(faults(&account(&stay(None), [])), [21, 0, 0, 0]);
    }

    #[test]
    fn repeated_and_reordered_are_told_apart() {
        assert_eq!(faults(&account(&stay(None), [3, 3].into_iter().chain(4..24))), [0, 1, 0, 0]);
        assert_eq!(faults(&account(&stay(None), [4, 3].into_iter().chain(5..24))), [0, 0, 1, 0]);
    }

    #[test]
    fn who_has_left_gets_no_more() {
        let stay = stay(Some(10.5));
        assert_eq!(faults(&account(&stay, 3..11)), [0; 4]);
        assert_eq!(faults(&account(&stay, 3..12)), [0, 0, 0, 1]);
        assert_eq!(faults(&account(&stay, 3..10)), [1, 0, 0, 0]);
    }

    #[test]
    fn another_viewers_copy_is_foreign() {
        let mut packets: Vec<_> = (3..24).map(arrival).collect();
        packets[0].relay_port += 2;
        packets[1].payload[11] ^= 1;
        packets[2].payload[13] ^= 1;
        assert_eq!(faults(&stay(None).account(&film(24), packets.iter())), [3, 0, 0, 3]);
    }
}
