//! VLAN tags that frames carry towards a leg's remote side (IEEE 802.1Q).

use std::fmt;

use relay_common::byte_order::Be32;

/// Which protocol identifier (TPID) announces a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagKind {
    /// 0x8100: customer tag (C-TAG), the ordinary VLAN tag.
    #[default]
    Customer,
    /// 0x88a8: service tag (S-TAG), the outer tag of QinQ (IEEE 802.1ad).
    Service,
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// Which protocol identifier announces it.
    pub kind: TagKind,
    /// VLAN identifier, 0 to 4094; 0 carries only a priority.
    pub id: u16,
    /// Priority code point, 0 to 7.
    pub priority: u8,
}

impl Tag {
    /// A customer tag of this VLAN, priority 0.
    pub const fn vlan(id: u16) -> Self {
        Self { kind: TagKind::Customer, id, priority: 0 }
    }

    /// A service tag of this VLAN, priority 0.
    pub const fn service(id: u16) -> Self {
        Self { kind: TagKind::Service, id, priority: 0 }
    }

    /// What no frame can carry, if anything.
    pub(crate) const fn problem(self) -> Option<&'static str> {
        if self.id > 4094 {
            return Some("VLAN identifiers end at 4094");
        }
        if self.priority > 7 {
            return Some("VLAN priorities end at 7");
        }
        None
    }

    /// The four bytes of the tag: protocol identifier, then priority and VLAN identifier.
    const fn wire(self) -> Be32 {
        let protocol = match self.kind {
            TagKind::Customer => 0x8100_u32,
            TagKind::Service => 0x88a8,
        };
        Be32::new(protocol << 16 | (self.priority as u32) << 13 | self.id as u32)
    }

    /// From [`Tag::wire`] in host order; `None` for zero, or what is no tag.
    const fn from_word(word: u32) -> Option<Self> {
        let kind = match word >> 16 {
            0x8100 => TagKind::Customer,
            0x88a8 => TagKind::Service,
            _ => return None,
        };
        Some(Self { kind, id: (word & 0xfff) as u16, priority: (word >> 13 & 7) as u8 })
    }
}

/// The tags of a frame: none, one, or two (QinQ). The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tags {
    outer: Option<Tag>,
    inner: Option<Tag>,
}

impl Tags {
    /// An untagged frame.
    pub const NONE: Self = Self { outer: None, inner: None };

    /// One tag.
    pub const fn one(tag: Tag) -> Self {
        Self { outer: Some(tag), inner: None }
    }

    /// Two tags: the outer comes first on the wire.
    pub const fn two(outer: Tag, inner: Tag) -> Self {
        Self { outer: Some(outer), inner: Some(inner) }
    }

    /// Whether there is no tag.
    pub const fn is_empty(self) -> bool {
        self.outer.is_none()
    }

    /// The tags in the order of the wire.
    pub fn iter(self) -> impl Iterator<Item = Tag> {
        self.outer.into_iter().chain(self.inner)
    }

    /// From [`Tags::wire`] in host order.
    pub(crate) fn from_words([outer, inner]: [u32; 2]) -> Self {
        Self { outer: Tag::from_word(outer), inner: Tag::from_word(inner) }
    }

    /// As the kernel's next-hop record holds them, in the order of the wire: outer, inner; each protocol identifier,
    /// priority, VLAN identifier; 0 for none.
    pub fn wire(self) -> [Be32; 2] {
        [self.outer, self.inner].map(|tag| tag.map(Tag::wire).unwrap_or_default())
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tag) in self.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{}", tag.id)?;
        }
        if self.is_empty() { f.write_str("untagged") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_bytes_of_the_wire() {
        let outer = Tag { priority: 5, ..Tag::service(100) };
        let words = Tags::two(outer, Tag::vlan(4094)).wire().map(|word| word.wire().to_ne_bytes());
        assert_eq!(words, [[0x88, 0xa8, 0xa0, 0x64], [0x81, 0x00, 0x0f, 0xfe]]);
        assert_eq!(Tags::one(Tag::vlan(7)).wire()[1], Be32::default());
        assert_eq!(Tags::NONE.wire(), [Be32::default(); 2]);
    }

    #[test]
    fn what_no_frame_carries_is_named() {
        assert!(Tag::vlan(4095).problem().is_some());
        assert!(Tag { priority: 8, ..Tag::vlan(1) }.problem().is_some());
        assert!(Tag { priority: 7, ..Tag::vlan(4094) }.problem().is_none());
    }

    #[test]
    fn tags_read_like_a_switch_shows_them() {
        assert_eq!(Tags::two(Tag::service(100), Tag::vlan(7)).to_string(), "100.7");
        assert_eq!(Tags::one(Tag::vlan(7)).to_string(), "7");
        assert_eq!(Tags::NONE.to_string(), "untagged");
    }
}
