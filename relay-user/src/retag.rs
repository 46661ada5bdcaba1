//! How RTP headers change on the way to a receiver, as the caller describes it.

/// What becomes of sequence numbers and timestamps (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continuity {
    /// They stay as the sender made them.
    #[default]
    Keep,
    /// These are added to them, modulo 2^16 and 2^32.
    Offset {
        /// Added to the sequence number.
        sequence: u16,
        /// Added to the timestamp, in units of the RTP clock.
        timestamp: u32,
    },
    /// They go on where the receiver's running stream stands: when another leg becomes its source
    /// ([`crate::Relay::switch`]), the first packet has the next sequence number, and a timestamp that is as much later
    /// as the clock went on meanwhile. The first source of all keeps its own numbers. Needs
    /// [`crate::LegSpec::clock_rate`], an SSRC of its own ([`RetagSpec::ssrc`]), and one source at a time.
    Continue,
}

/// How packets change that leave towards a leg's remote side. Each part is optional; checksums follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetagSpec {
    /// The SSRC that every packet gets.
    pub ssrc: Option<u32>,
    /// Pairs of payload types, 0 to 127: a packet of the first becomes one of the second. Others stay as they are.
    pub payload_types: Vec<(u8, u8)>,
    /// Sequence numbers and timestamps.
    pub continuity: Continuity,
    /// Differentiated services code point, 0 to 63 (RFC 2474). The ECN bits stay as they are.
    pub dscp: Option<u8>,
}

impl RetagSpec {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it changes anything inside the RTP header.
    pub(crate) fn changes_rtp(&self) -> bool {
        self.ssrc.is_some() || !self.payload_types.is_empty() || self.continuity != Continuity::Keep
    }

    /// Whether RTCP must be translated, which names a stream by its SSRC and tells its times and numbers.
    pub(crate) fn changes_rtcp(&self) -> bool {
        self.ssrc.is_some() || self.continuity != Continuity::Keep
    }

    /// Every packet gets this SSRC.
    #[must_use]
    pub fn ssrc(self, ssrc: u32) -> Self {
        Self { ssrc: Some(ssrc), ..self }
    }

    /// Packets of payload type `from` become packets of type `to`.
    #[must_use]
    pub fn payload_type(mut self, from: u8, to: u8) -> Self {
        self.payload_types.push((from, to));
        self
    }

    /// What becomes of sequence numbers and timestamps.
    #[must_use]
    pub fn continuity(self, continuity: Continuity) -> Self {
        Self { continuity, ..self }
    }

    /// Every packet gets this code point.
    #[must_use]
    pub fn dscp(self, dscp: u8) -> Self {
        Self { dscp: Some(dscp), ..self }
    }

    /// What contradicts itself or the wire, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(dscp) = self.dscp.filter(|dscp| *dscp > 63) {
            return Some(format!("DSCP {dscp} does not exist; code points end at 63"));
        }
        let mut seen = 0_u128;
        for (from, to) in &self.payload_types {
            if let Some(wrong) = [*from, *to].into_iter().find(|payload_type| *payload_type > 127) {
                return Some(format!("payload type {wrong} does not exist; they end at 127"));
            }
            if seen >> from & 1 == 1 {
                return Some(format!("payload type {from} is mapped twice"));
            }
            seen |= 1 << from;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_holds_is_named() {
        let problem = |spec: RetagSpec| spec.problem().unwrap_or_default();
        assert!(problem(RetagSpec::default().dscp(64)).contains("DSCP 64"));
        assert!(problem(RetagSpec::default().payload_type(96, 128)).contains("128"));
        assert!(problem(RetagSpec::default().payload_type(200, 8)).contains("200"));
        let twice = RetagSpec::default().payload_type(96, 97).payload_type(96, 98);
        assert!(problem(twice).contains("mapped twice"));
        let swap = RetagSpec::default().payload_type(96, 97).payload_type(97, 96).dscp(63);
        assert_eq!(swap.problem(), None);
    }

    #[test]
    fn a_code_point_alone_leaves_rtp_as_it_is() {
        assert!(RetagSpec::default().is_empty());
        assert!(!RetagSpec::default().dscp(46).changes_rtp());
        assert!(RetagSpec::default().ssrc(7).changes_rtp());
    }
}
