//! Finds RTP and RTCP packets in the bytes of a connection. Two framings are in use: a length of two bytes in front of each
//! packet (RFC 4571), and the interleaving of RTSP, `$`, a channel and the length (RFC 2326 section 10.12), which many cameras
//! use outside of RTSP too. Which one it is, the first packet tells. No I/O, and no memory but the caller's.

/// Bytes in front of a packet with a length alone.
const LENGTH: usize = 2;
/// Bytes in front of a packet with a mark, a channel and a length.
const MARKED: usize = 4;
/// The mark.
const MARK: u8 = b'$';
/// The shortest RTP header (RFC 3550 section 5.1), and the shortest RTCP packet.
const RTP: usize = 12;
const RTCP: usize = 4;
/// Where the SSRC of an RTP packet is.
const SSRC: std::ops::Range<usize> = 8..12;

/// Bytes of the longest packet with what is in front of it: who reads needs room for so many.
pub(super) const LONGEST: usize = MARKED + u16::MAX as usize;

/// How packets are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A length in front of each (RFC 4571).
    Length,
    /// `$`, a channel, and the length (RFC 2326 section 10.12).
    Interleaved,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'b> {
    /// A packet; with what is in front of it, it takes so many bytes.
    Packet {
        /// RTP or RTCP.
        payload: &'b [u8],
        /// Bytes until the next.
        used: usize,
    },
    /// So many bytes are nothing that anybody needs.
    Skip(usize),
    /// Too few bytes are there to say.
    More,
}

/// Knows what came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deframer {
    framing: Option<Framing>,
    /// The SSRC of the source, which the first packet tells, or two that follow each other: what is looked for where something
    /// else came between the packets.
    ssrc: Option<[u8; 4]>,
    /// That of the last RTP packet.
    last: Option<[u8; 4]>,
    /// The last bytes were no packet.
    is_lost: bool,
    /// How many bytes were no packet, altogether.
    skipped: u64,
}

impl Deframer {
    /// How packets are told apart, once the first has come.
    pub(super) fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Bytes that were no packet.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What the first of these bytes are; the caller takes away what it is told, and asks again.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> Next<'b> {
        let mut undecided = false;
        for framing in self.candidates() {
            match split(framing, bytes) {
                Split::Nothing { used } if !self.is_lost && self.framing.is_some() => {
                    return Next::Skip(used);
                }
                Split::Packet { payload, used } if self.is_believed(payload) => {
                    self.framing = Some(framing);
                    self.is_lost = false;
                    self.saw(payload);
                    return Next::Packet { payload, used };
                }
                Split::Begun { head } if self.may_become(head) => undecided = true,
                _ => {}
            }
        }
        if undecided {
            return Next::More;
        }
        self.is_lost = true;
        self.skipped += 1;
        Next::Skip(1)
    }

    /// The framings that are possible. The one with a mark first: its mark would be the upper half of a length of 9,216 and more.
    fn candidates(&self) -> impl Iterator<Item = Framing> + use<> {
        let both = [Framing::Interleaved, Framing::Length];
        let known = self.framing;
        both.into_iter().filter(move |framing| known.is_none_or(|known| known == *framing))
    }

    /// Whether this is a packet. Where the place was lost, only one of the known source is: by chance, one byte in four looks
    /// like the first of a packet.
    fn is_believed(&self, payload: &[u8]) -> bool {
        match self.ssrc {
            Some(ssrc) if self.is_lost => ssrc_of(payload) == Some(ssrc),
            _ => is_packet(payload),
        }
    }

    fn saw(&mut self, payload: &[u8]) {
        let Some(ssrc) = ssrc_of(payload) else { return };
        // What looks like one packet of another source may be the middle of something.
        if self.ssrc.is_none() || self.last == Some(ssrc) {
            self.ssrc = Some(ssrc);
        }
        self.last = Some(ssrc);
    }

    /// The same by the first bytes of what is not whole yet.
    fn may_become(&self, head: &[u8]) -> bool {
        if head.first().is_some_and(|first| !is_version_2(*first)) {
            return false;
        }
        let expected = self.ssrc.filter(|_| self.is_lost);
        expected.zip(head.get(SSRC)).is_none_or(|(ssrc, found)| ssrc == *found)
    }
}

/// What the bytes are in one framing.
enum Split<'b> {
    Packet {
        payload: &'b [u8],
        used: usize,
    },
    /// A packet without bytes, which keeps a connection alive.
    Nothing {
        used: usize,
    },
    /// The beginning of one, as far as it is there.
    Begun {
        head: &'b [u8],
    },
    /// None.
    Other,
}

fn split(framing: Framing, bytes: &[u8]) -> Split<'_> {
    let (front, length) = match (framing, bytes) {
        (Framing::Interleaved, [MARK, _, a, b, ..]) => (MARKED, [*a, *b]),
        (Framing::Interleaved, [MARK, ..] | []) => return Split::Begun { head: &[] },
        (Framing::Interleaved, _) => return Split::Other,
        (Framing::Length, [a, b, ..]) => (LENGTH, [*a, *b]),
        (Framing::Length, _) => return Split::Begun { head: &[] },
    };
    let length = usize::from(u16::from_be_bytes(length));
    let rest = bytes.get(front..).unwrap_or_default();
    match rest.get(..length) {
        Some([]) => Split::Nothing { used: front },
        Some(payload) => Split::Packet { payload, used: front + length },
        None => Split::Begun { head: rest },
    }
}

const fn is_version_2(first: u8) -> bool {
    first >> 6 == 2
}

/// RFC 5761 section 4: RTCP packet types lie from 192 to 223.
fn is_rtcp(payload: &[u8]) -> bool {
    payload.get(1).is_some_and(|kind| kind >> 5 == 6)
}

fn is_packet(payload: &[u8]) -> bool {
    let shortest = if is_rtcp(payload) { RTCP } else { RTP };
    payload.len() >= shortest && payload.first().is_some_and(|first| is_version_2(*first))
}

/// The SSRC of an RTP packet.
fn ssrc_of(payload: &[u8]) -> Option<[u8; 4]> {
    if !is_packet(payload) || is_rtcp(payload) {
        return None;
    }
    payload.get(SSRC)?.try_into().ok()
}

/// Reads the bytes in pieces, as a connection brings them; how many packets there were. After each piece less than one packet must
/// wait, and every step must take something away.
#[cfg(any(test, fuzzing))]
pub(crate) fn play(bytes: &[u8], cuts: &[u8]) -> Result<usize, String> {
    let mut deframer = Deframer::default();
    let (mut waiting, mut rest, mut packets) = (Vec::new(), bytes, 0);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = usize::from(*cuts.next().unwrap_or(&u8::MAX)) * 7 + 1;
        let (piece, left) = rest.split_at(cut.min(rest.len()));
        waiting.extend_from_slice(piece);
        rest = left;
        let mut at = 0;
        while let Some(bytes) = waiting.get(at..).filter(|bytes| !bytes.is_empty()) {
            match deframer.next(bytes) {
                Next::Packet { payload, used } if is_packet(payload) && used > payload.len() => {
                    packets += 1;
                    at += used;
                }
                Next::Packet { payload, used } => {
                    return Err(format!("a packet of {} bytes took {used}", payload.len()));
                }
                Next::Skip(0) => return Err("nothing was skipped".to_owned()),
                Next::Skip(bytes) => at += bytes,
                Next::More => break,
            }
        }
        if at > waiting.len() {
            return Err(format!("{at} bytes were taken of {}", waiting.len()));
        }
        waiting.drain(..at);
        if waiting.len() >= LONGEST {
            return Err(format!("{} bytes wait for the end of a packet", waiting.len()));
        }
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rtp(sequence: u16, ssrc: u32, length: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend(u32::from(sequence).wrapping_mul(3_600).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.resize(length.max(RTP), 0x5a);
        packet
    }

    fn framed(framing: Framing, packet: &[u8]) -> Vec<u8> {
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        let front: &[u8] = if framing == Framing::Length { &[] } else { &[MARK, 0] };
        [front, &length, packet].concat()
    }

    /// Feeds the bytes in pieces, as a connection does; the packets.
    fn packets(deframer: &mut Deframer, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut waiting, mut found) = (Vec::new(), Vec::new());
        for piece in pieces {
            waiting.extend_from_slice(piece);
            let mut at = 0;
            loop {
                match deframer.next(&waiting[at..]) {
                    Next::Packet { payload, used } => {
                        found.push(payload.to_vec());
                        at += used;
                    }
                    Next::Skip(bytes) if at < waiting.len() => at += bytes,
                    Next::Skip(_) | Next::More => break,
                }
            }
            waiting.drain(..at);
            assert!(waiting.len() <= LONGEST);
        }
        found
    }

    #[test]
    fn the_first_packet_tells_the_framing() {
        for framing in [Framing::Length, Framing::Interleaved] {
            let mut deframer = Deframer::default();
            let sent = [rtp(1, 7, 172), vec![0x80, 200, 0, 0], rtp(2, 7, 1_400)];
            let bytes: Vec<u8> = sent.iter().flat_map(|packet| framed(framing, packet)).collect();
            assert_eq!(packets(&mut deframer, &[&bytes]), sent);
            assert_eq!((deframer.framing(), deframer.skipped()), (Some(framing), 0));
        }
    }

    /// A length of 0x2480 and more looks like a mark, a channel and a long length.
    #[test]
    fn a_long_packet_is_not_taken_for_a_mark() {
        let mut deframer = Deframer::default();
        let sent = [rtp(1, 7, 0x2490), rtp(2, 7, 0x2490)];
        let bytes: Vec<u8> = sent.iter().flat_map(|packet| framed(Framing::Length, packet)).collect();
        assert_eq!(packets(&mut deframer, &[&bytes]), sent);
    }

    #[test]
    fn a_packet_without_bytes_keeps_the_connection_alive() {
        let mut deframer = Deframer::default();
        let bytes =
            [framed(Framing::Length, &rtp(1, 7, 40)), vec![0, 0], framed(Framing::Length, &rtp(2, 7, 40))];
        assert_eq!(packets(&mut deframer, &[&bytes.concat()]).len(), 2);
        assert_eq!(deframer.skipped(), 0);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_packets(
            interleaved in any::<bool>(),
            lengths in prop::collection::vec(12_usize..2_000, 1..20),
            cuts in prop::collection::vec(1_usize..700, 1..60),
        ) {
            let framing = if interleaved { Framing::Interleaved } else { Framing::Length };
            let sent: Vec<Vec<u8>> = (0..).zip(&lengths).map(|(number, length)| rtp(number, 9, *length)).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|packet| framed(framing, packet)).collect();
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            let mut deframer = Deframer::default();
            prop_assert_eq!(packets(&mut deframer, &pieces), sent);
            prop_assert_eq!(deframer.skipped(), 0);
        }

        /// Something came between; the source is found again, and none of its later packets is lost but those that a wrong
        /// length covers.
        #[test]
        fn packets_are_found_again_after_rubbish(
            interleaved in any::<bool>(),
            rubbish in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let framing = if interleaved { Framing::Interleaved } else { Framing::Length };
            let stream = |numbers: std::ops::Range<u16>| -> Vec<u8> {
                numbers.flat_map(|number| framed(framing, &rtp(number, 0x0102_0304, 200))).collect()
            };
            // As many packets as the longest wrong length may cover, and some.
            let bytes = [stream(0..3), rubbish, stream(3..400)].concat();
            let mut deframer = Deframer::default();
            let found = packets(&mut deframer, &[&bytes]);
            let last: Vec<Vec<u8>> = (395..400).map(|number| rtp(number, 0x0102_0304, 200)).collect();
            prop_assert_eq!(&found[found.len() - 5..], &last[..]);
        }

        #[test]
        fn any_bytes_are_taken_away_sooner_or_later(
            bytes in prop::collection::vec(any::<u8>(), 0..3_000),
            cuts in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            prop_assert!(play(&bytes, &cuts).is_ok());
        }
    }
}
