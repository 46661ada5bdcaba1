//! The packets that are sent and the headers that have to arrive, made and checksummed by a library that shares no
//! code with the relay.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use etherparse::{PacketBuilder, VlanId};

use crate::records::Headers;

/// Bytes of the Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an 802.1Q tag.
const TAG: usize = 4;
/// Bytes of the UDP header.
const UDP: usize = 8;
/// Bytes of the RTP header.
const RTP: usize = 12;
/// Bytes of the time stamp behind it.
const STAMP: usize = 4;
/// The lower half of the RTP timestamp of flow 0 (see [`Headers`]); the upper half is 0.
const TIMESTAMP: u32 = 0xffff;

/// The headers of a packet of flow 0. Source and destination port are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
    /// Identifier of the VLAN that it is tagged with.
    pub(crate) vlan: Option<u16>,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// From one of the relay's addresses to the next one, if the relay is the source.
    pub(crate) source_step: u32,
    /// The same if the relay is the destination.
    pub(crate) destination_step: u32,
    /// Time to live, or hop limit.
    pub(crate) hops: u8,
    pub(crate) rtp: RtpHeader,
}

/// The part of the RTP header that a relay may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    /// Added to the timestamp of flow 0.
    pub(crate) timestamp_offset: u32,
    pub(crate) ssrc: u32,
}

impl RtpHeader {
    /// As the generator sends it.
    pub(crate) const SENT: Self = Self { payload_type: 96, sequence: 1, timestamp_offset: 0, ssrc: 0 };

    /// As it lies in the packet (RFC 3550 section 5.1).
    fn bytes(self) -> [u8; RTP] {
        let [s1, s0] = self.sequence.to_be_bytes();
        let [t3, t2, t1, t0] = TIMESTAMP.wrapping_add(self.timestamp_offset).to_be_bytes();
        let [r3, r2, r1, r0] = self.ssrc.to_be_bytes();
        [0x80, self.payload_type, s1, s0, t3, t2, t1, t0, r3, r2, r1, r0]
    }
}

impl Template {
    /// Bytes in front of the RTP header.
    pub(crate) fn overhead(&self) -> usize {
        self.ip_at() + self.ip_length() + UDP
    }

    /// A whole frame of flow 0 with so many bytes behind the UDP header.
    pub(crate) fn frame(&self, payload: usize) -> Result<Vec<u8>> {
        let least = RTP + STAMP;
        ensure!(payload >= least, "a test packet has at least {least} bytes of payload, not {payload}");
        let mut bytes = self.rtp.bytes().to_vec();
        bytes.resize(payload, 0);
        let mut frame = Vec::with_capacity(self.overhead() + payload);
        let ethernet = PacketBuilder::ethernet2(self.source_mac, self.destination_mac);
        let (source, destination) = (self.source.port(), self.destination.port());
        match (self.source.ip(), self.destination.ip(), self.vlan) {
            (IpAddr::V4(from), IpAddr::V4(to), None) => {
                let ip = ethernet.ipv4(from.octets(), to.octets(), self.hops);
                ip.udp(source, destination).write(&mut frame, &bytes)?;
            }
            (IpAddr::V4(from), IpAddr::V4(to), Some(vlan)) => {
                let ip =
                    ethernet.single_vlan(VlanId::try_new(vlan)?).ipv4(from.octets(), to.octets(), self.hops);
                ip.udp(source, destination).write(&mut frame, &bytes)?;
            }
            (IpAddr::V6(from), IpAddr::V6(to), None) => {
                let ip = ethernet.ipv6(from.octets(), to.octets(), self.hops);
                ip.udp(source, destination).write(&mut frame, &bytes)?;
            }
            _ => bail!(
                "no test packet goes from {} to {} in VLAN {:?}",
                self.source,
                self.destination,
                self.vlan
            ),
        }
        Ok(frame)
    }

    /// The headers of such a frame, as the kernel half compares and writes them.
    pub(crate) fn headers(&self, payload: usize) -> Result<Headers> {
        ensure!(
            self.source.port() == self.destination.port(),
            "test packets have one port number at both ends"
        );
        let frame = self.frame(payload)?;
        let word = |at| word(&frame, at);
        let (ip, ports) = (self.ip_at(), self.ip_at() + self.ip_length());
        let hops = if self.destination.is_ipv6() { ip + 4 } else { ip + 8 };
        Ok(Headers {
            macs: [word(0)?, word(4)?, word(8)?],
            tag: if self.vlan.is_some() { word(12)? } else { 0 },
            version: word(ip)?,
            hops: word(hops)?,
            source: words(self.source.ip()),
            destination: words(self.destination.ip()),
            source_step: self.source_step,
            destination_step: self.destination_step,
            first_port: self.source.port().into(),
            udp_checksum: word(ports + 6)? & u32::from_ne_bytes([0xff, 0xff, 0, 0]),
            rtp: word(ports + UDP)?,
            first_ssrc: self.rtp.ssrc,
        })
    }

    /// Where the IP header begins.
    fn ip_at(&self) -> usize {
        ETHERNET + if self.vlan.is_some() { TAG } else { 0 }
    }

    /// Bytes of the IP header.
    fn ip_length(&self) -> usize {
        if self.destination.is_ipv6() { 40 } else { 20 }
    }
}

/// Four bytes as they lie in the packet.
fn word(frame: &[u8], at: usize) -> Result<u32> {
    let bytes = frame.get(at..at + 4).context("a frame shorter than its headers")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}

/// An address in the form of [`Headers`].
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [0, 0, 0, address.to_bits()],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            #[expect(clippy::cast_possible_truncation, reason = "each word is cut out on purpose")]
            let word = |shift: u32| (bits >> shift) as u32;
            [word(96).to_be(), word(64).to_be(), word(32).to_be(), word(0)]
        }
    }
}
