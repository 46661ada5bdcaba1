//! What became of frames after the program had sent them to a device: counted where the kernel tells, outside the
//! program.

/// A device of one network namespace: the key of the `REFUSED` map. Tracepoints are the whole machine's, and indexes are
/// unique only within a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct DeviceKey {
    /// The namespace (the socket option SO_NETNS_COOKIE tells).
    pub namespace: u64,
    /// Index of the interface.
    pub interface: u32,
    /// Fills the record up to a multiple of its alignment: 0.
    pub reserved: u32,
}

impl DeviceKey {
    /// The key of a device.
    #[inline(always)]
    pub const fn new(namespace: u64, interface: u32) -> Self {
        Self { namespace, interface, reserved: 0 }
    }
}

/// An entry of the relay's own device map: the key of the `UNSENT` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SlotKey {
    /// The kernel's number of the map.
    pub map: u32,
    /// Index of the entry.
    pub slot: u32,
}

/// Where the kernel keeps what the tracepoint's program has to read, in bytes from the start of each structure. Depends on the
/// kernel's build; the user half finds it in the kernel's type information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceOffsets {
    /// `net_device::ifindex`
    pub interface: u32,
    /// `net_device::nd_net`
    pub namespace: u32,
    /// `net::net_cookie`
    pub cookie: u32,
}
