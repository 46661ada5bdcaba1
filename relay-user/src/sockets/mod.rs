//! UDP sockets in bulk: many datagrams in one system call, and many packets in one datagram of the kernel's (GRO and
//! GSO). Knows addresses and bytes; knows nothing of legs.

mod control;
mod name;
mod open_files;
mod option;
mod packet;
mod raw;
mod receive;
mod send;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use open_files::OpenFiles;
pub use open_files::OpenFilesError;
pub(crate) use packet::{Frames, PacketOutput};
pub(crate) use raw::{RawDatagram, RawOutput};
pub(crate) use receive::{ReceiveBatch, Received};
pub(crate) use send::{Part, SendBatch, Sent};
pub use udp::UdpSocketError;
pub(crate) use udp::{Family, UdpSocket};
