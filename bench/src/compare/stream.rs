//! One stream as a subject relays it, and its records for the instruments. Packets are made and checksummed by a library that
//! shares no code with the relay.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use etherparse::PacketBuilder;

use crate::records::{ArrivingStream, SentStream};
use crate::wire::{self, Family};

/// Bytes in front of the RTP header: Ethernet, IPv4, UDP.
const OVERHEAD: usize = 42;
/// Where the kernel half puts what changes from packet to packet, from the RTP header on; each is there inverted, too.
const INVERTED: [(usize, usize); 3] = [(16, 4), (24, 4), (28, 2)];
/// Bytes of the shortest payload: the RTP header, those fields, and the last word.
const SHORTEST: usize = 34;
/// As senders set it; what arrives may have another one.
const TIME_TO_LIVE: u8 = 64;

/// Where packets of a stream come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// A stream on both sides of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// From the camera to the subject.
    pub(crate) sent: Path,
    /// To the viewer.
    pub(crate) arrives: Path,
}

impl Stream {
    /// The stream of this number as a subject relays it that was told which ports to use.
    pub(crate) fn relayed(number: u32) -> Self {
        let (camera, viewer) = (wire::camera_ends(Family::V4, number), wire::viewer_ends(Family::V4, number));
        Self {
            sent: Path { from: camera.terminal, to: camera.relay },
            arrives: Path { from: viewer.relay, to: viewer.terminal },
        }
    }

    /// The same if nothing is rewritten.
    pub(crate) fn unchanged(number: u32) -> Self {
        let sent = Self::relayed(number).sent;
        Self { sent, arrives: sent }
    }

    /// Its records; `number` is its number, and its packets have `length` bytes from the Ethernet header on.
    pub(crate) fn records(&self, number: u32, length: usize) -> Result<(SentStream, ArrivingStream)> {
        let sent = frame(self.sent, number, length)?;
        let arrives = frame(self.arrives, number, length)?;
        let bytes = u32::try_from(length)?;
        let going = SentStream {
            destination: word(&sent, 30)?,
            ports: word(&sent, 34)?,
            version: word(&sent, 14)?,
            hops: word(&sent, 22)?,
            udp: word(&sent, 38)?,
            length: bytes,
            ..SentStream::default()
        };
        let coming = ArrivingStream {
            source: word(&arrives, 26)?,
            destination: word(&arrives, 30)?,
            ports: word(&arrives, 34)?,
            udp: word(&arrives, 38)?,
            length: bytes,
            ..ArrivingStream::default()
        };
        Ok((going, coming))
    }

    /// A whole frame; the instruments write its headers anew.
    pub(crate) fn template(&self, length: usize) -> Result<Vec<u8>> {
        frame(self.sent, 0, length)
    }
}

/// An IPv4 address as it lies in a packet.
pub(crate) fn address(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

fn frame(path: Path, number: u32, length: usize) -> Result<Vec<u8>> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (path.from.ip(), path.to.ip()) else {
        bail!("streams are compared over IPv4, not from {} to {}", path.from, path.to);
    };
    let payload = payload(number, length)?;
    let mut frame = Vec::with_capacity(length);
    let ip = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(from.octets(), to.octets(), TIME_TO_LIVE);
    ip.udp(path.from.port(), path.to.port()).write(&mut frame, &payload)?;
    Ok(frame)
}

/// The payload of a stream's first packet, sent at time 0.
fn payload(number: u32, length: usize) -> Result<Vec<u8>> {
    let size = length
        .checked_sub(OVERHEAD)
        .filter(|size| *size >= SHORTEST)
        .with_context(|| format!("a test packet has at least {} bytes, not {length}", OVERHEAD + SHORTEST))?;
    let mut payload = vec![0; size];
    let stream = number.to_be_bytes();
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in payload.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, &[0x80, 96]);
    put(8, &stream);
    put(size - stream.len(), &stream);
    for (at, bytes) in INVERTED {
        put(at, &[0xff; 4][..bytes.min(4)]);
    }
    Ok(payload)
}

/// Four bytes as they lie in the packet.
fn word(frame: &[u8], at: usize) -> Result<u32> {
    let bytes = frame.get(at..at + 4).context("a frame shorter than its headers")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}
