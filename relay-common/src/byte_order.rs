//! Numbers that keep the byte order of the wire, so that the packet path never swaps what it only copies or compares.

/// 16 bits in network byte order, as they lie in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Be16(u16);

/// 32 bits in network byte order, as they lie in the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Be32(u32);

macro_rules! big_endian {
    ($name:ident, $native:ty) => {
        impl $name {
            /// From a number in the machine's byte order.
            #[inline(always)]
            pub const fn new(native: $native) -> Self {
                Self(native.to_be())
            }

            /// The number in the machine's byte order.
            #[inline(always)]
            pub const fn get(self) -> $native {
                <$native>::from_be(self.0)
            }

            /// From memory that holds network byte order already.
            #[inline(always)]
            pub const fn from_wire(wire: $native) -> Self {
                Self(wire)
            }

            /// As it lies in memory, for comparing, copying and summing without a swap.
            #[inline(always)]
            pub const fn wire(self) -> $native {
                self.0
            }
        }
    };
}

big_endian!(Be16, u16);
big_endian!(Be32, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_wire() {
        assert_eq!(Be16::new(0x1234).wire().to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(Be32::new(0x0a01_0203).wire().to_ne_bytes(), [10, 1, 2, 3]);
        assert_eq!(Be32::from_wire(u32::from_ne_bytes([10, 1, 2, 3])).get(), 0x0a01_0203);
        assert_eq!(Be16::new(5060).get(), 5060);
    }
}
