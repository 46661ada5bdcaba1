//! What a real decoder made of its copies, against the pictures that the camera's own clip decodes to.

/// What a real decoder made of its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Showing {
    /// The viewer.
    pub(super) viewer: u8,
    /// Pictures from the first whole key picture on its wire to the camera's last.
    pub(super) due: u64,
    /// Of those, pictures that it decoded, each in its place and to the bit.
    pub(super) equal: u64,
    /// Pictures that it decoded in their place.
    pub(super) decoded: u64,
}

impl Showing {
    /// Compares what was decoded with the camera's own pictures that are due. At most `early` pictures before them do not count.
    pub(super) fn compare(viewer: u8, decoded: &[String], due: &[String], early: usize) -> Self {
        let early = decoded.len().saturating_sub(due.len()).min(early);
        let decoded = decoded.get(early..).unwrap_or_default();
        let equal = decoded.iter().zip(due).filter(|(one, other)| one == other).count();
        Self { viewer, due: due.len() as u64, equal: equal as u64, decoded: decoded.len() as u64 }
    }

    /// Pictures that are missing, look different, or should not be there.
    pub(super) fn differing(&self) -> u64 {
        self.due.max(self.decoded) - self.equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture for each letter.
    fn pictures(letters: &str) -> Vec<String> {
        letters.chars().map(String::from).collect()
    }

    #[test]
    fn a_picture_that_is_missing_or_other_or_too_much_differs() {
        let differing = |decoded, due| Showing::compare(1, &pictures(decoded), &pictures(due), 0).differing();
        assert_eq!(differing("abcd", "abcd"), 0);
        assert_eq!(differing("abc", "abcd"), 1);
        assert_eq!(differing("abxd", "abcd"), 1);
        assert_eq!(differing("abcde", "abcd"), 1);
        assert_eq!(differing("", "abcd"), 4);
    }

    #[test]
    fn what_came_before_the_first_whole_key_picture_does_not_count() {
        let differing =
            |decoded, early| Showing::compare(1, &pictures(decoded), &pictures("abcd"), early).differing();
        assert_eq!((differing("xyabcd", 2), differing("yabcd", 2), differing("abcd", 2)), (0, 0, 0));
        assert!(differing("xyabcd", 1) > 0 && differing("xabd", 2) > 0 && differing("xyabd", 2) > 0);
    }
}
