//! The kernel path: datagrams of legs that the network stack receives, because XDP cannot relay them as they arrive
//! (fragments, IPv4 options, IPv6 extension headers, packets that must leave as fragments). A program steers them to
//! one socket for each address family.

/// Slot of the IPv4 socket in the `KERNEL_PATH` map.
pub const SOCKET_V4: u32 = 0;
/// Slot of the IPv6 socket.
pub const SOCKET_V6: u32 = 1;
/// Slots of the `KERNEL_PATH` map.
pub const SOCKETS: u32 = 2;
