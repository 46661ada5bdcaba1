//! The bpf(2) calls that aya does not offer, or not in a form that works on pinned objects: links that outlive the
//! process, and maps that only user space knows. Knows nothing of what they are for.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// Commands and constants of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const LOOKUP_ELEM: libc::c_long = 1;
const UPDATE_ELEM: libc::c_long = 2;
const UPDATE_BATCH: libc::c_long = 26;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;
const ATTACH_TYPE_XDP: u32 = 37;
const LINK_TYPE_XDP: u32 = 6;

/// `BPF_MAP_TYPE_HASH`.
pub(crate) const HASH: u32 = 1;
/// `BPF_MAP_TYPE_ARRAY`.
pub(crate) const ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_PROG_ARRAY`.
pub(crate) const PROGRAM_ARRAY: u32 = 3;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`.
pub(crate) const PER_CPU_ARRAY: u32 = 6;
/// `BPF_MAP_TYPE_DEVMAP`.
pub(crate) const DEVMAP: u32 = 14;
/// `BPF_MAP_TYPE_CPUMAP`.
pub(crate) const CPU_MAP: u32 = 16;
/// `BPF_MAP_TYPE_RINGBUF`.
pub(crate) const RING: u32 = 27;
/// `BPF_F_MMAPABLE`.
pub(crate) const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_RDONLY_PROG`, which the kernel itself sets on device maps.
pub(crate) const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;
/// `XDP_FLAGS_SKB_MODE`.
pub(crate) const GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
pub(crate) const NATIVE: u32 = 1 << 2;

/// What a map looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapShape {
    pub(crate) kind: u32,
    pub(crate) key: u32,
    pub(crate) value: u32,
    pub(crate) entries: u32,
    pub(crate) flags: u32,
}

/// Makes a map.
pub(crate) fn create_map(name: &str, shape: MapShape) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        inner: u32,
        node: u32,
        name: [u8; 16],
    }
    let MapShape { kind, key, value, entries, flags } = shape;
    let mut attributes = Attributes { kind, key, value, entries, flags, inner: 0, node: 0, name: [0; 16] };
    // The last byte stays zero.
    for (to, from) in attributes.name.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    new_object(MAP_CREATE, &mut attributes)
}

/// What a map looks like.
pub(crate) fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    /// The head of `struct bpf_map_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
    }
    let Info { kind, key, value, entries, flags, .. } = information(map)?;
    Ok(MapShape { kind, key, value, entries, flags })
}

/// The interface of an XDP link, by its index; 0 if the interface is gone.
///
/// # Errors
/// The kernel's, or `InvalidData` if the object is no XDP link.
pub(crate) fn link_interface(link: BorrowedFd<'_>) -> io::Result<u32> {
    /// The head of `struct bpf_link_info`, for XDP.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        reserved: u32,
        interface: u32,
        reserved_too: u32,
    }
    let info: Info = information(link)?;
    if info.kind != LINK_TYPE_XDP {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the pinned object is no XDP link"));
    }
    Ok(info.interface)
}

/// Attaches an XDP program to an interface, for as long as the link lives.
pub(crate) fn create_link(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: i32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let program = program.as_raw_fd();
    new_object(LINK_CREATE, &mut Attributes { program, interface, attach_type: ATTACH_TYPE_XDP, flags })
}

/// Puts another program into a link: every packet is seen by the old one or the new one.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: i32,
        program: i32,
        flags: u32,
        expected: u32,
    }
    let mut attributes =
        Attributes { link: link.as_raw_fd(), program: program.as_raw_fd(), flags: 0, expected: 0 };
    call(LINK_UPDATE, &mut attributes).map(|_| ())
}

/// Takes the program of a link off its interface, at once: a link that only loses its last name or descriptor goes
/// some time later.
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: i32,
    }
    call(LINK_DETACH, &mut Attributes { link: link.as_raw_fd() }).map(|_| ())
}

#[repr(C)]
struct ElementAttributes {
    map: i32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The value of an element, which must be of the map's value size; `None` if there is no such element.
pub(crate) fn look_up<V: Default>(map: BorrowedFd<'_>, key: &u32) -> io::Result<Option<V>> {
    let mut value = V::default();
    let (key, place) = (std::ptr::from_ref(key) as u64, (&raw mut value) as u64);
    let mut attributes = ElementAttributes { map: map.as_raw_fd(), reserved: 0, key, value: place, flags: 0 };
    match call(LOOKUP_ELEM, &mut attributes) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an element; the value must be of the map's value size.
pub(crate) fn enter<V>(map: BorrowedFd<'_>, key: &u32, value: &V) -> io::Result<()> {
    let (key, value) = (std::ptr::from_ref(key) as u64, std::ptr::from_ref(value) as u64);
    let mut attributes = ElementAttributes { map: map.as_raw_fd(), reserved: 0, key, value, flags: 0 };
    call(UPDATE_ELEM, &mut attributes).map(|_| ())
}

/// Writes some elements of a map whose values have 32 bits, all by one call.
///
/// # Errors
/// The kernel's; some may be written then.
pub(crate) fn enter_all(map: BorrowedFd<'_>, keys: &[u32], values: &[u32]) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map: i32,
        element_flags: u64,
        flags: u64,
    }
    let count = u32::try_from(keys.len().min(values.len())).map_err(io::Error::other)?;
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map: map.as_raw_fd(),
        element_flags: 0,
        flags: 0,
    };
    call(UPDATE_BATCH, &mut attributes).map(|_| ())
}

/// Gives an object a name in the BPF file system, where it outlives the process.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes = PathAttributes { path: path.as_ptr() as u64, object: object.as_raw_fd(), flags: 0 };
    call(OBJ_PIN, &mut attributes).map(|_| ())
}

/// Opens a pinned object.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    new_object(OBJ_GET, &mut PathAttributes { path: path.as_ptr() as u64, object: 0, flags: 0 })
}

#[repr(C)]
struct PathAttributes {
    path: u64,
    object: i32,
    flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Reads the first bytes of what the kernel says of an object.
fn information<T: Default>(object: BorrowedFd<'_>) -> io::Result<T> {
    #[repr(C)]
    struct Attributes {
        object: i32,
        length: u32,
        information: u64,
    }
    let mut information = T::default();
    let length = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let mut attributes =
        Attributes { object: object.as_raw_fd(), length, information: (&raw mut information) as u64 };
    call(OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(information)
}

/// A call that returns a new descriptor.
fn new_object<A>(command: libc::c_long, attributes: &mut A) -> io::Result<OwnedFd> {
    let descriptor = call(command, attributes)?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call<A>(command: libc::c_long, attributes: &mut A) -> io::Result<i32> {
    // SAFETY: each caller passes the structure of its command, with descriptors and pointers that live through the
    // call; what the kernel writes, it writes into that structure or the buffer that it names, whose length it names.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}
