//! Doors for the fuzz targets (`fuzz/`) to what reads what the kernel says, and to what shares rings with it. Compiled for
//! them alone.

use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;

/// Reads a message of the kernel's routing tables as it would be applied; returns whether it says anything to us.
pub fn netlink(bytes: &[u8]) -> bool {
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { return false };
    let NetlinkPayload::InnerMessage(message) = message.payload else { return false };
    crate::netlink::read(message)
}

/// Reads a record of the ring that packets are copied into; returns how many bytes of a frame it holds.
pub fn tap(record: &[u8]) -> Option<usize> {
    crate::tap::captured(record)
}

/// Plays steps of an AF_XDP worker and of the kernel, whatever bytes they are, on rings in ordinary memory.
///
/// # Errors
/// The first thing that is wrong, in words; or there is no memory.
pub fn af_xdp(steps: &[u8]) -> Result<(), String> {
    crate::af_xdp::simulation::play(steps)
}

/// Damages the maps that a predecessor left as `steps` say, whatever bytes they are, and adopts what is left.
///
/// # Errors
/// The first thing that is wrong with what was adopted, in words; or there is no memory.
pub fn adopt(steps: &[u8]) -> Result<(), String> {
    crate::state::damaged::adopt(steps)
}

/// Reads what a connection sends, in pieces as `cuts` say; what waits must stay within its bounds.
///
/// # Errors
/// The first thing that is wrong, in words.
pub fn framed(bytes: &[u8], cuts: &[u8]) -> Result<usize, String> {
    crate::framed::play(bytes, cuts)
}
