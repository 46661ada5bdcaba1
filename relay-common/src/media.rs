//! Telling media from anything else by its first bytes (RFC 3550 sections 5.1 and 6.4, RFC 5761 section 4).

use crate::byte_order::{Be16, Be32};
use crate::leg::{self, Admission};
use crate::packet::Packet;
use crate::verdict::Drop;

/// Bytes of a fixed RTP header.
pub const RTP_HEADER: usize = 12;
/// Bytes of the shortest RTCP packet that names its sender.
pub const RTCP_HEADER: usize = 8;

/// What a leg that is still learning needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// An RTP packet.
    Rtp {
        /// Payload type, 0 to 127.
        payload_type: u8,
        /// Sequence number.
        sequence: Be16,
        /// Timestamp, in ticks of the payload type's clock.
        timestamp: Be32,
        /// Synchronisation source.
        ssrc: Be32,
    },
    /// An RTCP packet.
    Rtcp {
        /// Synchronisation source of its sender.
        ssrc: Be32,
    },
}

impl Media {
    /// Reads the media header at `offset`; `None` if it is neither RTP nor RTCP of version 2.
    #[inline(always)]
    pub fn at(packet: &Packet<'_>, offset: usize) -> Option<Self> {
        let view = packet.view::<RTCP_HEADER>(offset)?;
        if view.u8::<0>() >> 6 != 2 {
            return None;
        }
        let second = view.u8::<1>();
        // RFC 5761 section 4: RTCP packet types lie where marked RTP payload types 64 to 95 would.
        if (192..=223).contains(&second) {
            return Some(Self::Rtcp { ssrc: view.be32::<4>() });
        }
        let view = packet.view::<RTP_HEADER>(offset)?;
        Some(Self::Rtp {
            payload_type: second & 0x7f,
            sequence: view.be16::<2>(),
            timestamp: view.be32::<4>(),
            ssrc: view.be32::<8>(),
        })
    }

    /// Synchronisation source.
    #[inline(always)]
    pub const fn ssrc(self) -> Be32 {
        match self {
            Self::Rtp { ssrc, .. } | Self::Rtcp { ssrc } => ssrc,
        }
    }

    /// Whether a leg that is learning its source may learn it from this packet.
    ///
    /// # Errors
    /// The reason why not.
    #[inline(always)]
    pub fn admit(self, admission: &Admission) -> Result<(), Drop> {
        let ssrc = match self {
            Self::Rtp { payload_type, ssrc, .. } => {
                if admission.flags & leg::RTP == 0 {
                    return Err(Drop::NotMedia);
                }
                if admission.flags & leg::PAYLOAD_TYPES_TOLD != 0
                    && !admission.admits_payload_type(payload_type)
                {
                    return Err(Drop::UnexpectedPayloadType);
                }
                ssrc
            }
            Self::Rtcp { ssrc } => {
                if admission.flags & leg::RTCP == 0 {
                    return Err(Drop::NotMedia);
                }
                ssrc
            }
        };
        if admission.flags & leg::SSRC_TOLD != 0 && ssrc != admission.ssrc {
            return Err(Drop::UnexpectedSsrc);
        }
        Ok(())
    }
}
