//! What the camera sent: its packets in order, and the pictures that they carry (H.264 in RTP, RFC 6184).

use std::collections::HashMap;

use super::super::capture::{MediaPacket, Seen};
use super::super::wire::Rtp;
use super::seat::ENTRY;

/// Bytes of an RTP header without extensions (RFC 3550 section 5.1), and where its SSRC lies in it.
const HEADER: usize = 12;
const SSRC: std::ops::Range<usize> = 8..12;

/// A packet of the camera.
pub(super) struct Shot {
    /// When it was sent, in seconds since the epoch.
    pub(super) time: f64,
    /// Number of the picture that it is of.
    pub(super) picture: usize,
    /// Whether it is the first packet of a picture that a decoder can start at.
    pub(super) is_start: bool,
}

/// All packets of the camera.
#[derive(Default)]
pub(super) struct Film {
    pub(super) shots: Vec<Shot>,
    /// Place of each by what it carries, without the SSRC.
    places: HashMap<Vec<u8>, usize>,
}

impl Film {
    /// Reads what was seen on the camera's wire.
    pub(super) fn new(seen: &Seen) -> Self {
        let mut film = Self::default();
        let (mut timestamp, mut pictures) = (None, 0);
        let sent = |packet: &&MediaPacket| packet.is_outgoing && packet.relay_port == ENTRY.port();
        for packet in seen.media.iter().filter(sent) {
            let Some(rtp) = Rtp::parse(&packet.payload) else {
                continue;
            };
            let is_first = timestamp.replace(rtp.timestamp) != Some(rtp.timestamp);
            pictures += usize::from(is_first);
            let is_start = is_first && starts_key_picture(&packet.payload);
            film.places.insert(without_ssrc(&packet.payload), film.shots.len());
            film.shots.push(Shot { time: packet.time, picture: pictures - 1, is_start });
        }
        film
    }

    /// Which of the camera's packets this is a copy of, whatever its SSRC.
    pub(super) fn place(&self, payload: &[u8]) -> Option<usize> {
        self.places.get(&without_ssrc(payload)).copied()
    }
}

fn without_ssrc(payload: &[u8]) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    if let Some(ssrc) = bytes.get_mut(SSRC) {
        ssrc.fill(0);
    }
    bytes
}

/// Whether the packet carries a sequence parameter set, alone or among several units (RFC 6184 section 5.7.1): this camera
/// sends one in the first packet of each key picture.
fn starts_key_picture(payload: &[u8]) -> bool {
    const SEQUENCE_PARAMETERS: u8 = 7;
    const AGGREGATE: u8 = 24;
    let kind = |unit: &[u8]| unit.first().map(|first| first & 0x1f);
    let unit = payload.get(HEADER..).unwrap_or_default();
    if kind(unit) != Some(AGGREGATE) {
        return kind(unit) == Some(SEQUENCE_PARAMETERS);
    }
    let mut rest = unit.get(1..).unwrap_or_default();
    while let Some((length, units)) = rest.split_first_chunk() {
        if kind(units) == Some(SEQUENCE_PARAMETERS) {
            return true;
        }
        rest = units.get(usize::from(u16::from_be_bytes(*length))..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The camera's packet with this number: three packets a picture, a key picture every other.
    pub(crate) fn shot(number: u8, ssrc: u8) -> Vec<u8> {
        let picture = number / 3;
        // Aggregated: supplemental information and a sequence parameter set; or a slice alone.
        let key: &[u8] = &[24, 0, 2, 6, 5, 0, 1, 0x67];
        let unit: &[u8] = if number.is_multiple_of(6) { key } else { &[0x41, 24, 0, 1, 0x67] };
        let mut packet = vec![0x80, 96, 0, number, 0, 0, 0, picture, 0, 0, 0, ssrc];
        packet.extend(unit);
        packet
    }

    /// So many of them, one in a second.
    pub(crate) fn film(packets: u8) -> Film {
        let packet = |number| MediaPacket {
            time: f64::from(number),
            is_outgoing: true,
            relay_port: ENTRY.port(),
            terminal: super::super::seat::LENS,
            payload: shot(number, 0),
        };
        Film::new(&Seen { media: (0..packets).map(packet).collect(), sip: Vec::new() })
    }

    #[test]
    fn a_key_picture_begins_with_its_first_packet() {
        let film = film(12);
        let pictures: Vec<_> = film.shots.iter().map(|shot| shot.picture).collect();
        assert_eq!(pictures, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
        let starts = (0..).zip(&film.shots).filter(|(_, shot)| shot.is_start).map(|(place, _)| place);
        assert_eq!(starts.collect::<Vec<u8>>(), [0, 6]);
    }

    #[test]
    fn a_copy_is_known_whatever_its_ssrc_but_not_when_anything_else_differs() {
        let film = film(12);
        assert_eq!(film.place(&shot(5, 77)), Some(5));
        let mut other = shot(5, 77);
        other[12] ^= 1;
        assert_eq!(film.place(&other), None);
    }
}
