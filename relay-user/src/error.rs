//! What can go wrong, in words that say what was found and what to do about it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::af_xdp::EngineError;
use crate::attach::AttachError;
use crate::kernel::LoadError;
use crate::pins::StateError;
use crate::sockets::{OpenFilesError, UdpSocketError};

/// Why the data plane does not start. Nothing stays attached.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel half was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An interface cannot be used.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The path of packets that need user space cannot be set up.
    #[error(transparent)]
    Punts(#[from] EngineError),
    /// No interface was named.
    #[error("no interface was named: the relay needs at least one that media arrives on")]
    NoInterface,
    /// More interfaces than the device map holds.
    #[error("{found} interfaces were named; at most {most} are supported")]
    TooManyInterfaces {
        /// How many were named.
        found: usize,
        /// How many there may be.
        most: u32,
    },
    /// The number of processors cannot be read.
    #[error(
        "the number of processors cannot be read from /sys/devices/system/cpu/possible; is /sys mounted?"
    )]
    Cpus,
    /// An interface is not Ethernet.
    #[error("interface `{0}` is no Ethernet device: the relay rewrites Ethernet frames")]
    NotEthernet(String),
    /// Too few files may be open for the user-space backend.
    #[error(transparent)]
    OpenFiles(#[from] OpenFilesError),
    /// The tables of the user-space backend do not fit into memory.
    #[error("the tables of the user-space backend do not fit into memory; ask for fewer legs")]
    Memory(#[source] io::Error),
    /// The workers of the user-space backend do not start.
    #[error("the workers of the user-space backend cannot be started")]
    Workers(#[source] io::Error),
    /// Netlink does not answer.
    #[error("the kernel's links and neighbours could not be read over netlink")]
    Netlink(#[source] io::Error),
    /// What outlives the process cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The pinned links cannot be read.
    #[error("the pinned links cannot be read")]
    Links(#[source] io::Error),
    /// A map operation failed.
    #[error("entering interface `{0}` into the kernel's device map failed")]
    Device(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a destination has no route that the relay can use.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The kernel has none.
    #[error(
        "no route to {destination}: {source}; add one, or correct the address (`ip route get {destination}` asks the kernel)"
    )]
    None {
        /// Where to.
        destination: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The destination is this machine.
    #[error(
        "{destination} is an address of this machine: the relay forwards between machines, and a program on this one \
         cannot be its far side"
    )]
    Local {
        /// Where to.
        destination: IpAddr,
    },
    /// The route leaves by a device on which the program does not run.
    #[error(
        "the route to {destination} leaves by `{interface}`, which is not among the relay's interfaces; add it to them"
    )]
    NotAttached {
        /// Where to.
        destination: IpAddr,
        /// The device.
        interface: String,
    },
    /// The device that the route leaves by is down or has no carrier.
    #[error(
        "the route to {destination} leaves by `{interface}`, which is down or has no carrier (`ip link show {interface}`)"
    )]
    Down {
        /// Where to.
        destination: IpAddr,
        /// The device.
        interface: String,
    },
    /// The neighbour that packets would be sent through does not answer.
    #[error(
        "nobody answers for {neighbour} on `{interface}`, and the kernel has given up asking (`ip neigh show {neighbour}`): \
         is it there, and is its address right?"
    )]
    Silent {
        /// The neighbour: the destination itself, or the router towards it.
        neighbour: IpAddr,
        /// The device.
        interface: String,
    },
    /// The destination is a broadcast, multicast or anycast address here.
    #[error(
        "{destination} is a broadcast, multicast or anycast address on this network; media needs the address of one machine"
    )]
    NotUnicast {
        /// Where to.
        destination: IpAddr,
    },
    /// The local address of a leg that sends is not ours.
    #[error(
        "{address} is no address of this machine, so nothing can be sent from it (`ip address` lists those that are)"
    )]
    NotOurs {
        /// The address.
        address: IpAddr,
    },
    /// More VLAN tags than a frame carries.
    #[error(
        "frames to {destination} would carry more than two VLAN tags: those of the devices that the route leaves by count too"
    )]
    TooManyTags {
        /// Where to.
        destination: IpAddr,
    },
}

/// Why legs are not installed, or not changed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A destination cannot be reached.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The socket of a leg cannot be opened (user-space backend).
    #[error(transparent)]
    Socket(#[from] UdpSocketError),
    /// Only XDP can do this.
    #[error(
        "the leg at {local} asks for {what}, which sockets cannot do: leave it out, or run the relay with XDP (`auto` says \
         why it does not)"
    )]
    NeedsXdp {
        /// The leg.
        local: SocketAddr,
        /// What it asks for.
        what: &'static str,
    },
    /// RTCP would have to be translated in user space, and nothing takes it there.
    #[error(
        "RTCP of the leg at {local}, whose stream is retagged, would have to be translated, and no packet can go through \
         user space here: AF_XDP does not run ({problem}), and the kernel path neither. Give the relay the capability \
         CAP_NET_RAW, terminate the RTCP, or leave SSRC, sequence and timestamp as they are"
    )]
    NoUserSpace {
        /// The leg.
        local: SocketAddr,
        /// Why AF_XDP does not run.
        problem: String,
    },
    /// The legs cannot receive what arrives on another.
    #[error(transparent)]
    FanOut(#[from] crate::fan_out::FanOutError),
    /// Every slot is taken.
    #[error("all {capacity} legs are in use; raise the relay's capacity, or end calls")]
    Full {
        /// How many legs there may be.
        capacity: u32,
    },
    /// Another leg has the address and port.
    #[error("{0} belongs to another leg already")]
    Taken(SocketAddr),
    /// Too many of our addresses share the port's bucket.
    #[error("too many local addresses use ports like that of {0}; take another port")]
    Crowded(SocketAddr),
    /// The next-hop table is full.
    #[error("more neighbours are in use than the {0} that the next-hop table holds")]
    NextHopsFull(u32),
    /// A stream names a leg that the plan does not have, or one leg twice.
    #[error(
        "stream {ingress} -> {egress} does not fit a plan of {legs} legs: it must join two different legs of the plan"
    )]
    Stream {
        /// Index of the receiving leg.
        ingress: usize,
        /// Index of the sending leg.
        egress: usize,
        /// Legs of the plan.
        legs: usize,
    },
    /// A leg feeds two streams.
    #[error("leg {0} of the plan is the ingress of two streams; one is supported")]
    TwoStreams(usize),
    /// An address that no packet can carry.
    #[error("{address} cannot be the {role} of a leg: {problem}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// `local address` or `remote address`.
        role: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The policy needs an address that was not told.
    #[error("the source policy of leg {0} needs a remote address, and none was told")]
    RemoteNeeded(usize),
    /// A rule of a leg contradicts another, or exceeds a limit.
    #[error("leg {leg} of the plan cannot have this `{rule}`: {problem}")]
    Rule {
        /// Index of the leg in the plan.
        leg: usize,
        /// The field of [`crate::LegSpec`].
        rule: &'static str,
        /// What is wrong with it, and how it would be right.
        problem: String,
    },
    /// A leg of a shared port, and no such port.
    #[error("no shared port is open at {0}; install one first (`LegSpec::shared_port`), or in the same plan")]
    NoSharedPort(SocketAddr),
    /// Every number of a shared port is taken.
    #[error("{0} shared ports are open, and no more can be; use one port for more sources")]
    SharedPortsFull(u16),
    /// Every table of payload types is taken.
    #[error(
        "{0} different maps of payload types are in use, and no more fit; give legs the same map where they can"
    )]
    PayloadMapsFull(u16),
    /// The leg is found by its remote address, which can therefore not move.
    #[error("a leg of a shared port that is found by its source cannot move: remove it, and install another")]
    FoundBySource,
    /// Something is asked of a leg that it was not installed for.
    #[error("{leg} {problem}")]
    Unfit {
        /// The leg.
        leg: crate::LegId,
        /// What is missing, and how to have it.
        problem: &'static str,
    },
    /// The leg is not installed.
    #[error("the leg is not installed any more")]
    Gone,
    /// The data plane was left or stopped.
    #[error("the data plane was left or stopped: a handle that is still held changes nothing")]
    Closed,
}
