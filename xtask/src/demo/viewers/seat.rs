//! Where each viewer sits: its address, port and SSRC, and the relay's port that serves it. All are behind one device.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::super::wires::{CAMERA, VIEWER};

/// Where the camera sends to.
pub(super) const ENTRY: SocketAddrV4 = SocketAddrV4::new(CAMERA.relay, 30_000);
/// Where it sends from.
pub(super) const LENS: SocketAddrV4 = SocketAddrV4::new(CAMERA.terminal, 5004);

const FIRST_PORT: u16 = 20_000;
const FIRST_RELAY_PORT: u16 = 30_000;
const FIRST_SSRC: u32 = 1000;

/// One viewer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// From 1.
    pub(super) number: u8,
    /// What it is addressed by; its port is even, as those of RTP are.
    pub(super) address: SocketAddrV4,
    /// Where its packets come from.
    pub(super) relay: SocketAddrV4,
    /// What the stream is called there.
    pub(super) ssrc: u32,
}

impl Seat {
    /// The place of this viewer. The first has the address of the topology's terminal, the next those after it.
    pub(super) fn new(number: u8) -> Self {
        let address = VIEWER.terminal.to_bits() + u32::from(number) - 1;
        let port = 2 * u16::from(number);
        Self {
            number,
            address: SocketAddrV4::new(Ipv4Addr::from_bits(address), FIRST_PORT + port),
            relay: SocketAddrV4::new(VIEWER.relay, FIRST_RELAY_PORT + port),
            ssrc: FIRST_SSRC + u32::from(number),
        }
    }
}
