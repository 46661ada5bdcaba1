//! The packets that are sent and the headers that have to arrive, made and checksummed by a library that shares no
//! code with the relay.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;

use crate::records::{Headers, SHORTEST};

/// Bytes of the Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;
/// RTP version 2, payload type 96; the timestamp's lower half belongs to flow 0 (see [`Headers`]).
const RTP_OF_FLOW_0: [u8; 12] = [0x80, 96, 0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

/// The addresses of a packet of flow 0. Source and destination port are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) source_mac: [u8; 6],
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) time_to_live: u8,
}

/// A whole frame of flow 0, `size` bytes from the Ethernet header to the end of the payload.
pub(crate) fn frame(addresses: &Addresses, size: usize) -> Result<Vec<u8>> {
    ensure!(size >= SHORTEST, "a test packet has at least {SHORTEST} bytes, not {size}");
    let mut payload = RTP_OF_FLOW_0.to_vec();
    payload.resize(size - HEADERS, 0);
    let mut frame = Vec::with_capacity(size);
    PacketBuilder::ethernet2(addresses.source_mac, addresses.destination_mac)
        .ipv4(addresses.source.ip().octets(), addresses.destination.ip().octets(), addresses.time_to_live)
        .udp(addresses.source.port(), addresses.destination.port())
        .write(&mut frame, &payload)?;
    Ok(frame)
}

/// The headers of such a frame, as the kernel half compares and writes them.
pub(crate) fn headers(addresses: &Addresses, size: usize) -> Result<Headers> {
    ensure!(
        addresses.source.port() == addresses.destination.port(),
        "test packets have one port number at both ends"
    );
    let frame = frame(addresses, size)?;
    Ok(Headers {
        macs: [word(&frame, 0)?, word(&frame, 4)?, word(&frame, 8)?],
        hops_and_checksum: word(&frame, 22)?,
        source: word(&frame, 26)?,
        destination: word(&frame, 30)?,
        first_port: addresses.source.port().into(),
        udp_checksum: word(&frame, 40)? & u32::from_ne_bytes([0xff, 0xff, 0, 0]),
    })
}

/// Four bytes as they lie in the packet.
fn word(frame: &[u8], at: usize) -> Result<u32> {
    let bytes = frame.get(at..at + 4).context("a frame shorter than its headers")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}
