//! Big-endian numbers at offsets that may lie outside: every access is checked, none can panic.

/// The 16 bits at `at`.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

/// The 32 bits at `at`.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// Writes 16 bits at `at`; whether they were there.
#[inline]
pub(super) fn set_u16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    set(bytes, at, value.to_be_bytes())
}

/// Writes 32 bits at `at`; whether they were there.
#[inline]
pub(super) fn set_u32(bytes: &mut [u8], at: usize, value: u32) -> bool {
    set(bytes, at, value.to_be_bytes())
}

#[inline]
fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> bool {
    let place = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>);
    place.map(|place| *place = value).is_some()
}
