//! Frames that the program had sent on and that the egress device did not take: counted by programs on the kernel's
//! tracepoints, because the XDP program has ended by then and no driver counts them alike.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, MapError};
use aya::pin::PinError;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramError, RawTracePoint};
use relay_common::device::{DeviceKey, DeviceOffsets, SlotKey};

use crate::af_xdp::name_of;
use crate::attach::AttachedInterface;
use crate::kernel::Btf;

/// The socket option that tells the namespace (linux/socket.h); libc does not name it on every target.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// The tracepoints, and the programs for them.
const TRACEPOINTS: [(&str, &str); 2] =
    [("refused_by_ring", "xdp_devmap_xmit"), ("refused_before_ring", "xdp_redirect_err")];

/// What became of frames that were sent on by one device. They are part of what is counted as forwarded; those that
/// really left are the difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Name of the interface when the program was attached.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Frames that its ring did not take: it was full, or nobody is at the far end.
    pub refused: u64,
    /// Frames that never reached its ring: the device is down, or takes no redirected frames, or none as large.
    pub unsent: u64,
}

/// The counters of all devices.
pub(crate) struct DeviceDrops {
    refused: HashMap<MapData, DeviceKey, u64>,
    unsent: HashMap<MapData, SlotKey, u64>,
    /// Number of the device map.
    map: u32,
    devices: Vec<Device>,
    /// The near end of the pair of devices between blocks of groups, if there is one.
    pair: Option<(DeviceKey, String)>,
}

struct Device {
    name: String,
    index: u32,
    refused: DeviceKey,
    unsent: SlotKey,
    /// What devices that had this slot before refused.
    refused_before: u64,
}

/// Why refused frames are not counted. Everything else works.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uncounted {
    #[error("the kernel's type information does not tell where devices are: {0}")]
    Offsets(io::Error),
    #[error("the kernel refused the tracepoint `{0}` (CONFIG_BPF_EVENTS, CAP_PERFMON): {1}")]
    Tracepoint(&'static str, ProgramError),
    #[error("the object has no program `{0}`")]
    Missing(&'static str),
    #[error("the state folder takes no folder for tracepoints: {0}")]
    Folder(io::Error),
    #[error("a tracepoint's program cannot be kept in the state folder: {0}")]
    Pin(PinError),
}

/// Where this kernel keeps what the programs read; zeros if it does not tell.
pub(crate) fn offsets() -> Result<DeviceOffsets, Uncounted> {
    let find = || -> io::Result<DeviceOffsets> {
        let btf = Btf::of_kernel()?;
        Ok(DeviceOffsets {
            interface: btf.offset("net_device", "ifindex")?,
            namespace: btf.offset("net_device", "nd_net")?,
            cookie: btf.offset("net", "net_cookie")?,
        })
    };
    find().map_err(Uncounted::Offsets)
}

/// Loads and attaches the programs. With a folder they stay attached as long as they are pinned there, so that they count
/// while no process owns the data plane, and those of a predecessor go on: what they do belongs to the layout, whose number the
/// folder has. Without one they stay attached as long as `ebpf` lives.
pub(crate) fn attach(ebpf: &mut Ebpf, folder: Option<&Path>) -> Result<(), Uncounted> {
    for (name, tracepoint) in TRACEPOINTS {
        let pin = folder.map(|folder| folder.join(name));
        if pin.as_ref().is_some_and(|pin| PinnedLink::from_pin(pin).is_ok()) {
            continue;
        }
        let program = ebpf.program_mut(name).ok_or(Uncounted::Missing(name))?;
        let program: &mut RawTracePoint =
            program.try_into().map_err(|_: ProgramError| Uncounted::Missing(name))?;
        let refused = |error| Uncounted::Tracepoint(tracepoint, error);
        program.load().map_err(refused)?;
        let link = program.attach(tracepoint).map_err(refused)?;
        if let (Some(folder), Some(pin)) = (folder, pin) {
            fs::create_dir_all(folder).map_err(Uncounted::Folder)?;
            let link = FdLink::from(program.take_link(link).map_err(refused)?);
            link.pin(pin).map_err(Uncounted::Pin)?;
        }
    }
    Ok(())
}

impl DeviceDrops {
    /// Takes the maps out of the object, which still has its device map.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let missing = |name: &str| MapError::InvalidName { name: name.to_owned() };
        let map = match ebpf.map("DEVICES") {
            Some(Map::DevMap(devices)) => devices.info()?.id(),
            _ => return Err(missing("DEVICES")),
        };
        Ok(Self {
            refused: ebpf.take_map("REFUSED").ok_or_else(|| missing("REFUSED"))?.try_into()?,
            unsent: ebpf.take_map("UNSENT").ok_or_else(|| missing("UNSENT"))?.try_into()?,
            map,
            devices: Vec::new(),
            pair: None,
        })
    }

    /// Counts for the device in this slot of the device map from now on, or goes on: a device that was deleted and made
    /// again goes on with what was counted. Works in the network namespace of the calling thread.
    pub(crate) fn watch(&mut self, slot: u32, interface: &AttachedInterface) -> io::Result<()> {
        let device = Device {
            name: interface.name.clone(),
            index: interface.index,
            refused: DeviceKey::new(namespace()?, interface.index),
            unsent: SlotKey { map: self.map, slot },
            refused_before: 0,
        };
        start(&mut self.refused, device.refused)?;
        start(&mut self.unsent, device.unsent)?;
        match self.devices.iter_mut().find(|old| old.unsent.slot == slot) {
            None => self.devices.push(device),
            Some(old) if old.refused == device.refused => {
                *old = Device { refused_before: old.refused_before, ..device }
            }
            Some(old) => {
                let refused = self.refused.get(&old.refused, 0).unwrap_or_default();
                // The old device is gone; should its entry stay, it only costs its bytes.
                let _ = self.refused.remove(&old.refused);
                *old = Device { refused_before: old.refused_before + refused, ..device };
            }
        }
        Ok(())
    }

    /// Counts for the pair of devices between blocks of groups from now on, too, which begins at this interface. Works in the
    /// network namespace of the calling thread.
    pub(crate) fn watch_pair(&mut self, near: u32) -> io::Result<()> {
        let key = DeviceKey::new(namespace()?, near);
        start(&mut self.refused, key)?;
        self.pair = Some((key, name_of(near)));
        Ok(())
    }

    /// What was counted.
    pub(crate) fn read(&self) -> Vec<DeviceCounters> {
        let counters = |device: &Device| DeviceCounters {
            name: device.name.clone(),
            index: device.index,
            refused: device.refused_before + self.refused.get(&device.refused, 0).unwrap_or_default(),
            unsent: self.unsent.get(&device.unsent, 0).unwrap_or_default(),
        };
        let pair = self.pair.iter().map(|(key, name)| DeviceCounters {
            name: name.clone(),
            index: key.interface,
            refused: self.refused.get(key, 0).unwrap_or_default(),
            unsent: 0,
        });
        self.devices.iter().map(counters).chain(pair).collect()
    }
}

/// Makes an entry, unless there is one that goes on.
fn start<K: aya::Pod>(counters: &mut HashMap<MapData, K, u64>, key: K) -> io::Result<()> {
    const ONLY_IF_ABSENT: u64 = 1; // BPF_NOEXIST
    match counters.insert(key, 0, ONLY_IF_ABSENT) {
        Ok(()) => Ok(()),
        Err(MapError::SyscallError(call)) if call.io_error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// The network namespace of the calling thread, as the kernel numbers them.
fn namespace() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: writes at most `length` bytes to a number of that size, while both live on this stack.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
