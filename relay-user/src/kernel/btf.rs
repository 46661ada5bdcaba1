//! Where the running kernel keeps the fields of its structures: read from the type information (BTF) that it publishes.
//! `docs.kernel.org/bpf/btf.html` describes the format.

use std::fs;
use std::io;

/// Where the kernel publishes it.
const FILE: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Bytes of every type, before what its kind adds.
const TYPE: usize = 12;
/// Bytes of a member of a structure or union.
const MEMBER: usize = 12;
const STRUCTURE: u32 = 4;
const UNION: u32 = 5;
/// Structures without a name that stand in each other; the kernel nests two or three.
const DEEPEST: usize = 8;

/// The type information of a kernel.
pub(crate) struct Btf {
    bytes: Vec<u8>,
    /// Where each type is; type 0 is `void` and has no place.
    types: Vec<usize>,
    /// Where the names begin.
    names: usize,
}

impl Btf {
    /// That of the running kernel.
    ///
    /// # Errors
    /// The kernel publishes none (CONFIG_DEBUG_INFO_BTF), or a kind that this reader does not know.
    pub(crate) fn of_kernel() -> io::Result<Self> {
        Self::parse(fs::read(FILE).map_err(|error| io::Error::new(error.kind(), format!("{FILE}: {error}")))?)
            .ok_or_else(|| io::Error::other(format!("{FILE} is not as this version knows it")))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let word = |at| word(&bytes, at);
        if half(0)? != MAGIC {
            return None;
        }
        let (header, types, length, names) = (word(4)?, word(8)?, word(12)?, word(16)?);
        let (mut at, names) = ((header + types) as usize, (header + names) as usize);
        let end = at + length as usize;
        let mut types = vec![0];
        while at < end {
            types.push(at);
            let (kind, members, _) = info(word(at + 4)?);
            at += TYPE
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCTURE | UNION | 15 | 19 => members * MEMBER,
                    6 | 13 => members * 8,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return None,
                };
        }
        Some(Self { bytes, types, names })
    }

    /// Bytes from the start of a structure to one of its fields.
    pub(crate) fn offset(&self, structure: &str, field: &str) -> io::Result<u32> {
        let named = self.types.iter().filter(|at| **at > 0).filter(|at| {
            self.word(**at + 4).is_some_and(|word| info(word).0 == STRUCTURE)
                && self.name(**at) == Some(structure.as_bytes())
        });
        let bits = named.filter_map(|at| self.field(*at, field, DEEPEST)).next();
        bits.map(|bits| bits / 8).ok_or_else(|| {
            io::Error::other(format!("{FILE} knows no field `{field}` of a structure `{structure}`"))
        })
    }

    /// Bits from the start of the structure or union at `at` to a field, which may be in a nameless one inside.
    fn field(&self, at: usize, field: &str, deepest: usize) -> Option<u32> {
        let (kind, members, bitfields) = info(self.word(at + 4)?);
        if !matches!(kind, STRUCTURE | UNION) || deepest == 0 {
            return None;
        }
        (0..members).map(|member| at + TYPE + member * MEMBER).find_map(|member| {
            let mut bits = self.word(member + 8)?;
            if bitfields {
                bits &= 0x00ff_ffff;
            }
            match self.name(member)? {
                name if name == field.as_bytes() => Some(bits),
                b"" => {
                    let inside = *self.types.get(self.word(member + 4)? as usize)?;
                    Some(bits + self.field(inside, field, deepest - 1)?)
                }
                _ => None,
            }
        })
    }

    /// The name of the type or member at `at`.
    fn name(&self, at: usize) -> Option<&[u8]> {
        let text = self.bytes.get(self.names + self.word(at)? as usize..)?;
        text.split(|byte| *byte == 0).next()
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.bytes, at)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Kind, number of members, and whether those may be bit fields.
fn info(word: u32) -> (u32, usize, bool) {
    (word >> 24 & 0x1f, (word & 0xffff) as usize, word >> 31 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; }; };`, made by hand.
    fn example() -> Vec<u8> {
        const HEADER: u32 = 24;
        let integer = [1, 1 << 24, 4, 32];
        let inner = [0, STRUCTURE << 24 | 1, 4, 7, 1, 0];
        let outer = [9, STRUCTURE << 24 | 2, 8, 5, 1, 0, 0, 2, 32];
        let types: Vec<u32> = integer.iter().chain(&inner).chain(&outer).copied().collect();
        let names = b"\0int\0a\0b\0outer\0";
        let length = u32::try_from(types.len() * 4).unwrap();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [HEADER, 0, length, length, u32::try_from(names.len()).unwrap()].iter().chain(&types) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(names);
        bytes
    }

    #[test]
    fn fields_are_found_also_in_nameless_structures() {
        let btf = Btf::parse(example()).unwrap();
        assert_eq!(btf.offset("outer", "a").unwrap(), 0);
        assert_eq!(btf.offset("outer", "b").unwrap(), 4);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let btf = Btf::parse(example()).unwrap();
        let error = btf.offset("outer", "c").unwrap_err().to_string();
        assert!(error.contains("`c`") && error.contains("`outer`"), "{error}");
        assert!(btf.offset("int", "a").is_err());
    }

    #[test]
    fn damaged_bytes_are_refused_without_a_panic() {
        let whole = example();
        for length in 0..whole.len() {
            if let Some(btf) = Btf::parse(whole[..length].to_vec()) {
                // The names are cut off at most.
                let _ = btf.offset("outer", "b");
            }
        }
        assert!(Btf::parse(vec![0; 64]).is_none());
    }
}
