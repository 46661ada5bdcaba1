//! The compiled kernel half, part of this library's binary.

/// Gives the bytes the alignment that an ELF reader needs.
#[repr(C, align(32))]
struct Aligned<B: ?Sized>(B);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/relay.bpf.o")));

/// The ELF object that `cargo xtask build` made.
pub(crate) fn bytes() -> &'static [u8] {
    &OBJECT.0
}
