//! What became of every media packet: matches what entered the relay on one wire with what left it on the other.
//!
//! The relay changes addresses and ports and nothing else, so a packet is known again by its payload.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::capture::{MediaPacket, Seen};
use super::rtp_stream::RtpStream;
use super::wire::{PayloadFormat, Rtp};

/// One direction of one medium's RTP or RTCP.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// `video H264`, `video RTCP`.
    pub(super) medium: String,
    /// The relay's port that the sender sends to.
    pub(super) entry_port: u16,
    /// The relay's port that the receiver sees; none if nothing arrived.
    pub(super) exit_port: Option<u16>,
    /// Packets that the sender put on its wire.
    pub(super) entered: u64,
    /// Of those, packets that came out of the receiver's wire.
    pub(super) delivered: u64,
    /// Interarrival jitter at the receiver, RFC 3550, in milliseconds; the worst of the flow's sources.
    pub(super) jitter_ms: Option<f64>,
    /// Half of the packets passed from wire to wire within so many microseconds.
    pub(super) transit_us: Option<f64>,
}

impl Flow {
    /// Packets that entered and did not arrive.
    pub(super) fn lost(&self) -> u64 {
        self.entered - self.delivered
    }
}

/// A terminal's name and what was seen on its wire.
pub(super) struct Side<'a> {
    pub(super) name: &'static str,
    pub(super) seen: &'a Seen,
}

/// All flows from one side to the other, by the relay's port.
pub(super) fn flows(from: &Side<'_>, to: &Side<'_>, formats: &[PayloadFormat]) -> Vec<Flow> {
    let mut arrivals: HashMap<&[u8], VecDeque<&MediaPacket>> = HashMap::new();
    for packet in to.seen.media.iter().filter(|packet| !packet.is_outgoing) {
        arrivals.entry(&packet.payload).or_default().push_back(packet);
    }
    let mut by_port: BTreeMap<u16, Vec<&MediaPacket>> = BTreeMap::new();
    for packet in from.seen.media.iter().filter(|packet| packet.is_outgoing) {
        by_port.entry(packet.relay_port).or_default().push(packet);
    }
    let formats_by_port: BTreeMap<u16, &PayloadFormat> =
        by_port.iter().filter_map(|(port, packets)| Some((*port, format_of(packets, formats)?))).collect();
    let flow = |(port, packets): (&u16, &Vec<&MediaPacket>)| {
        let pairs: Vec<_> = packets
            .iter()
            .filter_map(|sent| Some((*sent, arrivals.get_mut(sent.payload.as_slice())?.pop_front()?)))
            .collect();
        Flow {
            from: from.name,
            to: to.name,
            medium: medium(*port, &formats_by_port),
            entry_port: *port,
            exit_port: pairs.first().map(|(_, received)| received.relay_port),
            entered: packets.len() as u64,
            delivered: pairs.len() as u64,
            jitter_ms: jitter(pairs.iter().map(|(_, received)| *received), formats),
            transit_us: median(
                pairs.iter().map(|(sent, received)| (received.time - sent.time) * 1e6).collect(),
            ),
        }
    };
    by_port.iter().map(flow).collect()
}

/// The format of the first packet that has a known one.
fn format_of<'a>(packets: &[&MediaPacket], formats: &'a [PayloadFormat]) -> Option<&'a PayloadFormat> {
    packets.iter().find_map(|packet| format(Rtp::parse(&packet.payload)?.payload_type, formats))
}

fn format(payload_type: u8, formats: &[PayloadFormat]) -> Option<&PayloadFormat> {
    formats.iter().find(|format| format.payload_type == payload_type)
}

/// RTCP goes to the port above its RTP (RFC 3550 section 11).
fn medium(port: u16, formats: &BTreeMap<u16, &PayloadFormat>) -> String {
    match (formats.get(&port), formats.get(&(port & !1))) {
        (Some(format), _) => format!("{} {}", format.medium, format.encoding),
        (None, Some(format)) => format!("{} RTCP", format.medium),
        (None, None) if port % 2 == 1 => "RTCP".to_owned(),
        (None, None) => "RTP of unknown format".to_owned(),
    }
}

fn jitter<'a>(packets: impl Iterator<Item = &'a MediaPacket>, formats: &[PayloadFormat]) -> Option<f64> {
    let mut sources: HashMap<u32, RtpStream> = HashMap::new();
    for packet in packets {
        let Some(rtp) = Rtp::parse(&packet.payload) else {
            continue;
        };
        let Some(format) = format(rtp.payload_type, formats) else {
            continue;
        };
        let source = sources.entry(rtp.ssrc).or_insert_with(|| RtpStream::new(format.clock_rate));
        source.arrived(rtp.timestamp, packet.time);
    }
    sources.values().map(RtpStream::jitter_ms).max_by(f64::total_cmp)
}

/// The value in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::super::wires::VIEWER;
    use super::*;

    fn rtp(sequence: u8, relay_port: u16, time: f64, is_outgoing: bool) -> MediaPacket {
        let timestamp = u8::try_from(u16::from(sequence) * 160 % 256).unwrap();
        let payload = vec![0x80, 0, 0, sequence, 0, 0, 0, timestamp, 0, 0, 0, 1];
        let terminal = SocketAddrV4::new(VIEWER.terminal, 20_000);
        MediaPacket { time, is_outgoing, relay_port, terminal, payload }
    }

    fn measure(sent: Vec<MediaPacket>, received: Vec<MediaPacket>) -> Vec<Flow> {
        let format = PayloadFormat {
            payload_type: 0,
            medium: "audio".to_owned(),
            encoding: "PCMU".to_owned(),
            clock_rate: 8000,
        };
        let (sent, received) =
            (Seen { media: sent, sip: Vec::new() }, Seen { media: received, sip: Vec::new() });
        flows(&Side { name: "camera", seen: &sent }, &Side { name: "viewer", seen: &received }, &[format])
    }

    #[test]
    fn a_packet_that_does_not_arrive_is_lost() {
        let sent = (0..4).map(|n| rtp(n, 30_000, 0.0, true)).collect();
        let received = (1..4).map(|n| rtp(n, 30_010, 0.5, false)).collect();
        let flows = measure(sent, received);
        assert_eq!((flows[0].entered, flows[0].delivered, flows[0].lost()), (4, 3, 1));
        assert_eq!((flows[0].entry_port, flows[0].exit_port), (30_000, Some(30_010)));
        assert_eq!(flows[0].transit_us, Some(500_000.0));
        assert_eq!(flows[0].medium, "audio PCMU");
    }

    #[test]
    fn one_arrival_does_not_stand_for_two_equal_packets() {
        let sent = vec![rtp(1, 30_000, 0.0, true), rtp(1, 30_000, 0.0, true)];
        assert_eq!(measure(sent, vec![rtp(1, 30_010, 0.1, false)])[0].lost(), 1);
    }

    #[test]
    fn what_the_receiver_itself_sends_did_not_arrive() {
        let sent = vec![rtp(1, 30_000, 0.0, true)];
        assert_eq!(measure(sent, vec![rtp(1, 30_010, 0.1, true)])[0].delivered, 0);
    }

    #[test]
    fn the_port_above_rtp_carries_its_rtcp() {
        let mut report = rtp(0, 30_001, 0.0, true);
        report.payload[1] = 200;
        let flows = measure(vec![rtp(1, 30_000, 0.0, true), report], Vec::new());
        assert_eq!(flows[1].medium, "audio RTCP");
        assert_eq!(flows[1].jitter_ms, None);
    }
}
