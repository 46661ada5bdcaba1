//! What can become of a packet that is not forwarded: the one table of reasons, from which counters, statistics and
//! documentation take their names.

macro_rules! reasons {
    ($(#[$outer:meta])* $name:ident, $count:ident: $($variant:ident = $text:literal, $description:literal;)+) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $name {
            $(#[doc = $description] $variant,)+
        }

        #[doc = concat!("How many variants [`", stringify!($name), "`] has.")]
        pub const $count: usize = [$($name::$variant),+].len();

        impl $name {
            /// Every variant, in the order of the counters.
            pub const ALL: [Self; $count] = [$(Self::$variant),+];

            /// The name in statistics and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it means, in one sentence.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)+ }
            }
        }
    };
}

reasons! {
    /// Why a packet went to the kernel's network stack untouched.
    Pass, PASSES:
    TooShort = "too_short", "The frame is too short for IP and UDP.";
    NotIp = "not_ip", "The frame carries something else than IP, ARP for example, or more than two VLAN tags.";
    IpOptions = "ip_options", "The IPv4 header carries options.";
    ExtensionHeader = "extension_header", "The IPv6 header is followed by another one than UDP that may lead to it.";
    Fragment = "fragment", "The packet is a fragment.";
    NotUdp = "not_udp", "The packet carries something else than UDP.";
    NoLeg = "no_leg", "No leg has this destination address and port.";
    NoWorker = "no_worker", "The packet is for user space, and no AF_XDP socket takes packets of its queue.";
    NeedsFragments = "needs_fragments", "The packet is larger than the egress device takes, and may be fragmented.";
    NoChecksum = "no_checksum", "The packet has no UDP checksum, and leaves over IPv6, where it must have one.";
}

reasons! {
    /// Why a packet that was addressed to a leg was dropped.
    Drop, DROPS:
    LengthMismatch = "length_mismatch", "The lengths in the IP and UDP headers contradict each other or the frame.";
    BadChecksum = "bad_checksum", "The checksum of the IPv4 header is wrong, or that of UDP over IPv6 is missing.";
    TtlExpired = "ttl_expired", "The time to live was 1 or less: forwarding would go in circles.";
    SourceMismatch = "source_mismatch", "The source is not the one that the leg admits.";
    Looped = "looped", "The source is one of our own addresses: our own output came back, or somebody pretends to be us.";
    Martian = "martian", "The source is an address that no sender can have.";
    UnknownSsrc = "unknown_ssrc", "No leg of the shared port has this source or SSRC.";
    RateExceeded = "rate_exceeded", "The leg receives more than its limit.";
    NotMedia = "not_media", "The leg is learning its source, and this is neither RTP nor RTCP as it expects.";
    UnexpectedSsrc = "unexpected_ssrc", "The leg is learning its source, and this is not the SSRC that was told.";
    UnexpectedPayloadType = "unexpected_payload_type", "The leg is learning its source, and this payload type was not told.";
    NoStream = "no_stream", "Nothing is to be done with what arrives on this leg.";
    RemoteUnknown = "remote_unknown", "The side that it would be sent to has not said, or shown, where it is.";
    NextHopUnresolved = "next_hop_unresolved", "The neighbour that it would be sent through has no MAC address yet.";
    TooBig = "too_big", "The packet is larger than the egress device takes.";
    NoDevice = "no_device", "The egress device is not there, or is down.";
    NoRoute = "no_route", "There is no route any more to where it would be sent.";
    EgressFull = "egress_full", "User space sends it, and the egress device does not take packets fast enough.";
    IngressFull = "ingress_full", "The kernel received it, and user space did not take it fast enough; as seen by one more packet.";
    CopiesFull = "copies_full", "More packets wait to be copied for receivers than there is room for.";
    Orphan = "orphan", "A port of our range that no leg has; counted for leg 0, which is none.";
    NoRoom = "no_room", "The frame has no room for the longer headers that it must leave with.";
    RtcpEnded = "rtcp_ended", "RTCP for the relay itself: that of its leg ends here, and was answered.";
    RtcpUntranslated = "rtcp_untranslated", "RTCP of a retagged stream that is malformed, or tells a time that the stream's next packet decides.";
}

reasons! {
    /// Why a copy was not sent to one receiver of a group.
    Loss, LOSSES:
    Refused = "refused", "The egress device did not take the copy: its ring is full, or it is down.";
    Incomplete = "incomplete", "The kernel had no memory for the copy.";
    TooBig = "too_big", "The packet is larger than the egress device takes, or lies in several buffers.";
    NoDevice = "no_device", "The egress device is not there, or is down.";
    NextHopUnresolved = "next_hop_unresolved", "The neighbour that it would be sent through has no MAC address yet.";
    NoRoute = "no_route", "There is no route any more to where it would be sent.";
    NoChecksum = "no_checksum", "The packet has no UDP checksum, and leaves over IPv6, where it must have one.";
    NoRoom = "no_room", "The frame has no room for the longer headers that it must leave with.";
}

impl From<Drop> for Loss {
    /// Why a copy is lost where a packet would be dropped.
    fn from(reason: Drop) -> Self {
        match reason {
            Drop::TooBig => Self::TooBig,
            Drop::NoRoute => Self::NoRoute,
            Drop::NoDevice => Self::NoDevice,
            Drop::NextHopUnresolved => Self::NextHopUnresolved,
            Drop::NoRoom => Self::NoRoom,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_their_own_index() {
        assert!(Pass::ALL.iter().enumerate().all(|(index, pass)| *pass as usize == index));
        assert!(Drop::ALL.iter().enumerate().all(|(index, drop)| *drop as usize == index));
        assert!(Loss::ALL.iter().enumerate().all(|(index, loss)| *loss as usize == index));
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<_> = Pass::ALL.map(Pass::name).into_iter().chain(Drop::ALL.map(Drop::name)).collect();
        assert!((1..names.len()).all(|at| !names[..at].contains(&names[at])), "{names:?}");
    }
}
