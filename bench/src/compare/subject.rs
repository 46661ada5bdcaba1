//! What is compared: what a person would use instead of the relay, the relay in each of its modes, and the limit.

use anyhow::Result;
use testbed::Topology;

use super::processes::is_installed;
use super::stream::Stream;
use super::{culvert, nat, rtpengine, socat, sockets};
use crate::records::{CPUS, STREAMS};

/// The processor of subjects that are programs; the generator has the other one.
pub(crate) const OWN_CPU: u32 = 1;

/// A subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// None: generator and sink at the two ends of one wire.
    Instruments,
    /// A program that only redirects: the limit.
    Bare,
    /// The relay as an XDP program of the driver.
    Native,
    /// The relay as an XDP program of the network stack.
    Generic,
    /// The relay without XDP.
    User,
    /// Address translation by the kernel.
    Nftables,
    /// The same with the kernel's short cut for flows that it knows.
    Flowtable,
    /// The relay of another project.
    Rtpengine,
    /// One `recvfrom` and one `sendto` for each packet.
    PlainRelay,
    /// A process for each stream.
    Socat,
}

/// A subject that runs.
pub(crate) trait Running {
    /// The streams that it relays, the first one having the number 0.
    fn streams(&self) -> &[Stream];

    /// Its threads, by the kernel's numbers; none if the kernel does the work wherever packets arrive.
    fn threads(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Makes it whole after more than it can take; streams may have other ports then.
    fn recover(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Subject {
    /// Every subject, in the order in which they take turns.
    pub(crate) const ALL: [Self; 10] = [
        Self::Instruments,
        Self::Bare,
        Self::Native,
        Self::Generic,
        Self::User,
        Self::Nftables,
        Self::Flowtable,
        Self::Rtpengine,
        Self::PlainRelay,
        Self::Socat,
    ];

    /// Its name in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instruments => "instruments",
            Self::Bare => "bare",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::User => "user",
            Self::Nftables => "nftables",
            Self::Flowtable => "flowtable",
            Self::Rtpengine => "rtpengine",
            Self::PlainRelay => "plain_relay",
            Self::Socat => "socat",
        }
    }

    /// Its name in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Instruments => "nothing: generator and sink",
            Self::Bare => "bare XDP redirect",
            Self::Native => "Culvert, native XDP",
            Self::Generic => "Culvert, generic XDP",
            Self::User => "Culvert, sockets",
            Self::Nftables => "nftables NAT",
            Self::Flowtable => "nftables NAT, flowtable",
            Self::Rtpengine => "rtpengine, userspace",
            Self::PlainRelay => "recvfrom/sendto relay",
            Self::Socat => "socat",
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Native | Self::Generic | Self::User)
    }

    /// Whether the kernel does the work, wherever packets arrive, rather than a program.
    pub(crate) fn is_kernel(self) -> bool {
        !matches!(self, Self::User | Self::Rtpengine | Self::PlainRelay | Self::Socat)
    }

    /// Most streams that it is given, and why there are not more.
    pub(crate) fn limit(self) -> (u32, &'static str) {
        match self {
            Self::Native => (STREAMS, "as many as the instruments follow"),
            Self::Instruments | Self::Bare | Self::Generic | Self::Nftables | Self::Flowtable => {
                (10_000, "no more are compared")
            }
            Self::User | Self::PlainRelay => (100, "two sockets for each stream"),
            Self::Rtpengine => (100, "10,000 calls take 40,000 ports, and longer to set up than to measure"),
            Self::Socat => (100, "a process for each stream"),
        }
    }

    /// Processors that send to it. What the kernel does, it does where packets arrive: on both. A program has a processor
    /// of its own, and what the kernel does for what it receives comes on top.
    pub(crate) fn senders(self, streams: u32) -> u32 {
        match self {
            // A stream comes by one queue.
            _ if streams == 1 => 1,
            _ if self.is_kernel() => CPUS,
            _ => 1,
        }
    }

    /// The program that it takes, and the Debian package that brings it.
    pub(crate) fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Nftables | Self::Flowtable => Some(("nft", "nftables")),
            Self::Rtpengine => Some(("rtpengine", "rtpengine-daemon")),
            Self::Socat => Some(("socat", "socat")),
            Self::Instruments | Self::Bare | Self::Native | Self::Generic | Self::User | Self::PlainRelay => {
                None
            }
        }
    }

    /// The package that is missing, if one is.
    pub(crate) fn missing_package(self) -> Option<&'static str> {
        let (program, package) = self.program()?;
        (!is_installed(program)).then_some(package)
    }

    /// Starts it, with so many streams.
    pub(crate) fn start(self, topology: &Topology, streams: u32) -> Result<Box<dyn Running>> {
        Ok(match self {
            Self::Instruments | Self::Bare => {
                Box::new(Unchanged((0..streams).map(Stream::unchanged).collect()))
            }
            Self::Native | Self::Generic | Self::User => Box::new(culvert::start(self, topology, streams)?),
            Self::Nftables => Box::new(nat::start(topology, streams, nat::ShortCut::None)?),
            Self::Flowtable => Box::new(nat::start(topology, streams, nat::ShortCut::Flowtable)?),
            Self::Rtpengine => Box::new(rtpengine::start(topology, streams)?),
            Self::PlainRelay => Box::new(sockets::start(topology, streams)?),
            Self::Socat => Box::new(socat::start(topology, streams)?),
        })
    }
}

/// What leaves packets as they are.
struct Unchanged(Vec<Stream>);

impl Running for Unchanged {
    fn streams(&self) -> &[Stream] {
        &self.0
    }
}
