//! Between session descriptions and the neutral session model. It must not know calls or legs.
//!
//! What is relayed: RTP over UDP on one port pair per medium (`RTP/AVP`, `RTP/AVPF` and, with keys in the SDP, their
//! secure forms). Other media (RTP over TCP, BFCP, DTLS-SRTP, several port pairs) are refused with port 0 in the
//! description that is passed on; the other media of the call go on. ICE is removed, because its candidates would lead
//! media past the relay.

use std::net::SocketAddr;

use super::sdp::{Connection, Direction, Media, Sdp, SdpError};
use crate::session::{Description, LocalMedia, MediaLine};

/// Reads what a session description says of media.
///
/// # Errors
/// An active medium has no address or one that cannot be relayed to, or no active medium can be relayed.
pub fn describe(sdp: &Sdp) -> Result<Description, SdpError> {
    let session = sdp.connection();
    let direction = sdp.direction();
    let media = sdp
        .media()
        .iter()
        .map(|media| describe_media(media, session.clone(), direction))
        .collect::<Result<Vec<_>, _>>()?;
    let first_active = sdp.media().iter().find(|media| media.field().port != 0);
    match first_active {
        Some(active) if media.iter().all(|line| line.rejected) => {
            let (line, found) = active.first_line();
            Err(SdpError::NothingToRelay { line, found })
        }
        _ => Ok(Description { media }),
    }
}

/// Writes where the relay receives media into a session description that is passed on: addresses and ports, nothing
/// else; lines of ICE are removed. Addresses that say "hold" (`0.0.0.0`, `::`) stay.
///
/// # Errors
/// [`SdpError::MediaCount`] when there is not one address per medium.
pub fn readdress(sdp: &mut Sdp, local: &[LocalMedia]) -> Result<(), SdpError> {
    if sdp.media().len() != local.len() {
        return Err(SdpError::MediaCount {
            found: sdp.media().len(),
            expected: local.len(),
        });
    }
    let session = sdp.connection()?;
    let shared = local
        .iter()
        .find(|local| !local.rejected)
        .map(|local| local.rtp.ip());
    if let Some(address) = shared {
        sdp.set_address(address);
    }
    for (media, local) in sdp.media_mut().iter_mut().zip(local) {
        if local.rejected {
            media.reject();
            continue;
        }
        let own = media.connection()?;
        media.set_address(local.rtp, local.rtcp);
        let inherits = own.is_none() && session.is_some_and(|session| !session.address.is_unspecified());
        if inherits && shared != Some(local.rtp.ip()) {
            media.insert_connection(local.rtp.ip());
        }
    }
    sdp.remove_ice();
    Ok(())
}

fn describe_media(
    media: &Media,
    session: Result<Option<Connection>, SdpError>,
    default: Direction,
) -> Result<MediaLine, SdpError> {
    let field = media.field();
    if field.port == 0 || field.port_pairs != 1 || !field.is_plain_rtp() {
        return Ok(MediaLine {
            rejected: true,
            ..MediaLine::default()
        });
    }
    // A broken c= line of the session part matters only to media that have none of their own.
    let connection = match media.connection()? {
        Some(own) => own,
        None => session?.ok_or_else(|| SdpError::NoConnection {
            line: media.first_line().0,
        })?,
    };
    let told = !connection.address.is_unspecified();
    let rtcp = match media.rtcp()? {
        Some(rtcp) => Some((rtcp.address.unwrap_or(connection.address), rtcp.port)),
        // RFC 3550 section 11: the next port. There is none after the last, and then no RTCP.
        None => field.port.checked_add(1).map(|port| (connection.address, port)),
    };
    Ok(MediaLine {
        remote: told.then(|| SocketAddr::new(connection.address, field.port)),
        rtcp: rtcp
            .filter(|(address, port)| told && *port != 0 && !address.is_unspecified())
            .map(SocketAddr::from),
        rtcp_mux: media.rtcp_mux(),
        payload_types: field.payload_types().collect(),
        silent: !told || media.direction(default) == Direction::Inactive,
        ssrc: announced_ssrc(media, media.direction(default)),
        rejected: false,
    })
}

/// The one SSRC that this side says it will send with. Several announced sources (retransmission, simulcast) say
/// nothing about the first packet. In GB/T 28181 the side that receives chooses the SSRC, and the side that sends
/// repeats it in its answer: a `y=` line counts only from a side that sends.
fn announced_ssrc(media: &Media, direction: Direction) -> Option<u32> {
    match media.announced_sources().as_slice() {
        [] if matches!(direction, Direction::SendOnly | Direction::SendRecv) => media.gb28181_source(),
        [one] => Some(*one),
        _ => None,
    }
}
