//! Addresses as system calls take and give them: `struct sockaddr_in` and `struct sockaddr_in6`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of `struct sockaddr_in`.
const V4: usize = 16;
/// Bytes of `struct sockaddr_in6`, the longer one.
const V6: usize = 28;

/// The address of one end of a datagram, in the layout of the system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub(crate) struct SocketName {
    bytes: [u8; V6],
    length: u32,
}

impl SocketName {
    /// Room for any address of both families.
    pub(crate) const EMPTY: Self = Self { bytes: [0; V6], length: 0 };
    /// Bytes that the kernel may write.
    pub(super) const CAPACITY: u32 = 28;

    /// What the kernel wrote into `bytes`: the address, if it is one of a family that we know.
    pub(crate) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
        let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match family {
            libc::AF_INET => {
                let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some(SocketAddrV4::new(Ipv4Addr::from(address), port).into())
            }
            libc::AF_INET6 => {
                let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddrV6::new(Ipv6Addr::from(address), port, 0, scope).into())
            }
            _ => None,
        }
    }

    /// The address, if the kernel wrote one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        Self::parse(self.bytes.get(..self.length as usize)?)
    }

    /// Where system calls read the name.
    pub(super) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Where system calls write a name of up to [`Self::CAPACITY`] bytes.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Bytes of the name.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// Says how much the kernel wrote.
    pub(super) fn set_length(&mut self, length: u32) {
        self.length = length.min(Self::CAPACITY);
    }
}

impl From<SocketAddr> for SocketName {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; V6];
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        // The constants of both families are below 2^16: they are a `sa_family_t` on the wire of the system call.
        bytes[..2].copy_from_slice(&u16::try_from(family).unwrap_or_default().to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let length = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                V4
            }
            SocketAddr::V6(address) => {
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
                V6
            }
        };
        Self { bytes, length: u32::try_from(length).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_the_longer_layout() {
        assert_eq!(SocketName::CAPACITY as usize, V6);
    }

    #[test]
    fn an_address_survives_its_layout() {
        for text in ["10.1.2.3:5004", "[fd78:1::2]:30000", "[fe80::1%7]:9", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketName::from(address).address(), Some(address));
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        assert_eq!(SocketName::EMPTY.address(), None);
        assert_eq!(SocketName::parse(&[1, 0, 47]), None, "AF_UNIX");
        let whole = SocketName::from("[fd78:1::2]:30000".parse::<SocketAddr>().unwrap());
        for length in 0..V6 {
            assert_eq!(SocketName::parse(&whole.bytes[..length]), None, "{length}");
        }
    }
}
