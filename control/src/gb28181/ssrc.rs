//! SSRCs by the standard (Annex G): ten decimal digits, of which the first says live (0) or recorded (1), five name the
//! domain, and four are ours to choose. It must not know streams.

use std::fmt;

use super::id::DeviceId;

/// Numbers that four digits hold.
const NUMBERS: usize = 10_000;

/// What media is: the first digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A camera now.
    Live,
    /// A recording.
    Recorded,
}

/// An SSRC, and how `y=` writes it: ten decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:010}", self.0)
    }
}

/// The SSRCs of one kind of media in our domain. There are 10,000; when all are in use, one is given a second time, because
/// media is told apart by its port as well, and a camera that cannot be seen is worse.
#[derive(Debug)]
pub struct SsrcPool {
    base: u32,
    users: Vec<u16>,
    next: usize,
    in_use: usize,
}

impl SsrcPool {
    /// A pool for the platform of this identifier: its digits 4 to 8 name the domain. `start` is a random number, so that a
    /// restarted platform does not begin with the SSRCs that it used last.
    #[must_use]
    pub fn new(platform: &DeviceId, source: Source, start: u64) -> Self {
        let domain: u32 =
            platform.as_str().get(3..8).and_then(|digits| digits.parse().ok()).unwrap_or_default();
        let kind = match source {
            Source::Live => 0,
            Source::Recorded => 1_000_000_000,
        };
        let next = usize::try_from(start % 10_000).unwrap_or_default();
        Self { base: kind + domain * 10_000, users: vec![0; NUMBERS], next, in_use: 0 }
    }

    /// Takes an SSRC that nobody has, or, when all are taken, one of those that fewest have.
    pub fn take(&mut self) -> Ssrc {
        let fewest =
            if self.in_use < NUMBERS { 0 } else { self.users.iter().copied().min().unwrap_or_default() };
        let (behind, ahead) = self.users.split_at(self.next.min(self.users.len()));
        let place = ahead.iter().chain(behind).position(|&users| users == fewest).unwrap_or_default();
        let number = (self.next + place) % NUMBERS;
        self.next = (number + 1) % NUMBERS;
        if let Some(users) = self.users.get_mut(number) {
            self.in_use += usize::from(*users == 0);
            *users = users.saturating_add(1);
        }
        Ssrc(self.base + u32::try_from(number).unwrap_or_default())
    }

    /// Gives an SSRC back; nothing happens if it is none of this pool.
    pub fn put_back(&mut self, ssrc: Ssrc) {
        let number = ssrc.0.checked_sub(self.base).and_then(|number| usize::try_from(number).ok());
        if let Some(users) = number.and_then(|number| self.users.get_mut(number)).filter(|users| **users > 0)
        {
            *users -= 1;
            self.in_use -= usize::from(*users == 0);
        }
    }

    /// How many SSRCs somebody has, of 10,000.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn pool(source: Source, start: u64) -> SsrcPool {
        SsrcPool::new(&"34020000002000000001".parse().unwrap(), source, start)
    }

    #[test]
    fn ssrc_says_live_or_recorded_and_names_the_domain() {
        assert_eq!(pool(Source::Live, 1).take().to_string(), "0200000001");
        assert_eq!(pool(Source::Live, 1).take(), Ssrc(0x0BEB_C201));
        assert_eq!(pool(Source::Recorded, 10_042).take().to_string(), "1200000042");
    }

    #[test]
    fn all_ten_thousand_are_different_and_then_they_are_shared() {
        let mut pool = pool(Source::Live, 9_999);
        let taken: HashSet<Ssrc> = (0..NUMBERS).map(|_| pool.take()).collect();
        assert_eq!((taken.len(), pool.in_use()), (NUMBERS, NUMBERS));
        let shared = pool.take();
        assert!(taken.contains(&shared));
        pool.put_back(shared);
        assert_eq!(pool.in_use(), NUMBERS, "one still has it");
        pool.put_back(shared);
        assert_eq!(pool.in_use(), NUMBERS - 1);
        assert_eq!(pool.take(), shared, "the only one that nobody has");
    }

    #[test]
    fn what_was_given_back_rests_while_there_are_others() {
        let mut pool = pool(Source::Live, 0);
        let first = pool.take();
        pool.put_back(first);
        pool.put_back(Ssrc(7));
        assert_eq!(pool.in_use(), 0);
        assert_ne!(pool.take(), first);
    }
}
