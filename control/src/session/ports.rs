//! UDP ports for media: pairs of an even port for RTP and the odd one after it for RTCP (RFC 3550 section 11), for
//! each local address. A released pair rests, so that late packets of one session never reach another. It must not
//! know sockets or legs; the clock is passed in.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a released pair rests unless the configuration says otherwise: longer than any network holds a packet
/// back, and than a terminal that missed the BYE needs to fall silent.
pub const DEFAULT_QUARANTINE: Duration = Duration::from_secs(30);

/// An even port and the odd port after it on one local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortPair {
    address: IpAddr,
    even: u16,
}

impl PortPair {
    /// The pair that a port belongs to.
    #[must_use]
    pub fn of(port: SocketAddr) -> Self {
        Self { address: port.ip(), even: port.port() & !1 }
    }

    /// Address and even port.
    #[must_use]
    pub fn rtp(self) -> SocketAddr {
        SocketAddr::new(self.address, self.even)
    }

    /// Address and odd port.
    #[must_use]
    pub fn rtcp(self) -> SocketAddr {
        SocketAddr::new(self.address, self.even | 1)
    }
}

/// How the pairs of all addresses are used now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortGauge {
    /// Pairs that sessions hold.
    pub in_use: usize,
    /// Pairs that rest.
    pub quarantined: usize,
    /// Pairs that can be taken now.
    pub free: usize,
}

/// A pair cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The range holds no even port with its odd neighbour.
    #[error(
        "ports {first}-{last} hold no pair of an even port and the next: widen the range, such as 30000-39999"
    )]
    NoPairs {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The pool does not serve this address.
    #[error("{address} is no media address of ours: it must be the `address` of a [[network]]")]
    UnknownAddress {
        /// The address.
        address: IpAddr,
    },
    /// Every pair is in use or rests.
    #[error(
        "no media port left on {address}: of the {pairs} pairs in {first}-{last}, {in_use} are in use and \
         {quarantined} rest for {quarantine_seconds} s after their call; widen `ports` in [relay] or shorten \
         `quarantine_seconds`"
    )]
    Exhausted {
        /// The local address.
        address: IpAddr,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
        /// Pairs in the range.
        pairs: usize,
        /// Pairs that sessions hold.
        in_use: usize,
        /// Pairs that rest.
        quarantined: usize,
        /// How long they rest.
        quarantine_seconds: u64,
    },
}

/// The pool. Per address, pairs are handed out in the order in which they were released, from a random start.
#[derive(Debug)]
pub struct PortPool {
    range: RangeInclusive<u16>,
    quarantine: Duration,
    addresses: HashMap<IpAddr, Ports>,
}

#[derive(Debug)]
struct Ports {
    free: VecDeque<u16>,
    resting: VecDeque<(u16, Instant)>,
    in_use: HashSet<u16>,
}

impl PortPool {
    /// A pool of the same range on each address. `start` is a random number: where in the range to begin, so that a
    /// restarted process does not hand out the ports again that it used last.
    ///
    /// # Errors
    /// [`PortError::NoPairs`] when the range holds no pair.
    pub fn new(
        addresses: impl IntoIterator<Item = IpAddr>,
        range: RangeInclusive<u16>,
        quarantine: Duration,
        start: u64,
    ) -> Result<Self, PortError> {
        let (first, last) = (*range.start(), *range.end());
        let mut pairs: VecDeque<u16> =
            range.clone().filter(|port| port % 2 == 0 && *port != 0 && *port < last).collect();
        let Some(offset) = start.checked_rem(pairs.len() as u64) else {
            return Err(PortError::NoPairs { first, last });
        };
        // The remainder is below the number of pairs, which fits.
        pairs.rotate_left(usize::try_from(offset).unwrap_or(0));
        let ports = || Ports { free: pairs.clone(), resting: VecDeque::new(), in_use: HashSet::new() };
        let addresses = addresses.into_iter().map(|address| (address, ports())).collect();
        Ok(Self { range, quarantine, addresses })
    }

    /// Takes a pair.
    ///
    /// # Errors
    /// [`PortError::Exhausted`], [`PortError::UnknownAddress`].
    pub fn take(&mut self, address: IpAddr, now: Instant) -> Result<PortPair, PortError> {
        let quarantine = self.quarantine;
        let ports = self.addresses.get_mut(&address).ok_or(PortError::UnknownAddress { address })?;
        ports.wake(quarantine, now);
        let Some(even) = ports.free.pop_front() else {
            let (in_use, quarantined) = (ports.in_use.len(), ports.resting.len());
            return Err(PortError::Exhausted {
                address,
                first: *self.range.start(),
                last: *self.range.end(),
                pairs: in_use + quarantined,
                in_use,
                quarantined,
                quarantine_seconds: quarantine.as_secs(),
            });
        };
        ports.in_use.insert(even);
        Ok(PortPair { address, even })
    }

    /// Takes the pair of a port that is in use already. Says whether it was free.
    pub fn hold(&mut self, port: SocketAddr) -> bool {
        let pair = PortPair::of(port);
        let Some(ports) = self.addresses.get_mut(&pair.address) else { return false };
        let Some(at) = ports.free.iter().position(|free| *free == pair.even) else { return false };
        ports.free.remove(at);
        ports.in_use.insert(pair.even)
    }

    /// Gives a pair back; it rests before it can be taken again. A pair that is not in use is ignored.
    pub fn release(&mut self, pair: PortPair, now: Instant) {
        let Some(ports) = self.addresses.get_mut(&pair.address) else {
            return;
        };
        if ports.in_use.remove(&pair.even) {
            ports.resting.push_back((pair.even, now));
        }
    }

    /// Gives a pair back that nobody was told of: it can be taken again at once.
    pub fn put_back(&mut self, pair: PortPair) {
        let Some(ports) = self.addresses.get_mut(&pair.address) else {
            return;
        };
        if ports.in_use.remove(&pair.even) {
            ports.free.push_front(pair.even);
        }
    }

    /// How the pairs are used now.
    #[must_use]
    pub fn gauge(&self, now: Instant) -> PortGauge {
        let mut gauge = PortGauge::default();
        for ports in self.addresses.values() {
            let awake =
                ports.resting.iter().filter(|(_, since)| is_over(*since, self.quarantine, now)).count();
            gauge.in_use += ports.in_use.len();
            gauge.quarantined += ports.resting.len() - awake;
            gauge.free += ports.free.len() + awake;
        }
        gauge
    }
}

impl Ports {
    fn wake(&mut self, quarantine: Duration, now: Instant) {
        while let Some((even, _)) = self.resting.front().filter(|(_, since)| is_over(*since, quarantine, now))
        {
            self.free.push_back(*even);
            self.resting.pop_front();
        }
    }
}

fn is_over(since: Instant, quarantine: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= quarantine
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{PortError, PortGauge, PortPool};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const REST: Duration = Duration::from_secs(30);

    fn pool(range: std::ops::RangeInclusive<u16>) -> PortPool {
        PortPool::new([HERE], range, REST, 0).unwrap()
    }

    #[test]
    fn rtp_is_even_and_rtcp_the_odd_port_after_it() {
        let pair = pool(30001..=30004).take(HERE, Instant::now()).unwrap();
        assert_eq!((pair.rtp().port(), pair.rtcp().port()), (30002, 30003));
    }

    #[test]
    fn a_released_pair_rests_before_it_is_used_again() {
        let now = Instant::now();
        let mut pool = pool(30000..=30001);
        let pair = pool.take(HERE, now).unwrap();
        pool.release(pair, now);
        pool.release(pair, now);
        assert_eq!(pool.gauge(now), PortGauge { in_use: 0, quarantined: 1, free: 0 });
        assert!(pool.take(HERE, now + REST / 2).is_err());
        assert_eq!(pool.gauge(now + REST), PortGauge { in_use: 0, quarantined: 0, free: 1 });
        assert_eq!(pool.take(HERE, now + REST).unwrap(), pair);
    }

    #[test]
    fn a_pair_that_is_in_use_already_is_not_given_out() {
        let now = Instant::now();
        let mut pool = pool(30000..=30003);
        assert!(pool.hold((HERE, 30001).into()));
        assert!(!pool.hold((HERE, 30000).into()), "its pair is held");
        assert!(!pool.hold(("198.51.100.1".parse::<IpAddr>().unwrap(), 30000).into()));
        assert_eq!(pool.take(HERE, now).unwrap().rtp().port(), 30002);
        assert!(pool.take(HERE, now).is_err());
        pool.release(super::PortPair::of((HERE, 30001).into()), now);
        assert_eq!(pool.gauge(now), PortGauge { in_use: 1, quarantined: 1, free: 0 });
    }

    #[test]
    fn exhaustion_says_what_is_used_and_what_to_change() {
        let now = Instant::now();
        let mut pool = pool(30000..=30003);
        let first = pool.take(HERE, now).unwrap();
        pool.take(HERE, now).unwrap();
        pool.release(first, now);
        let error = pool.take(HERE, now).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no media port left on 192.0.2.1: of the 2 pairs in 30000-30003, 1 are in use and 1 rest for 30 s after \
             their call; widen `ports` in [relay] or shorten `quarantine_seconds`"
        );
    }

    #[test]
    fn a_range_without_a_pair_and_an_address_that_is_not_ours_are_errors() {
        for range in [30001..=30002, 30000..=30000, 65535..=65535, 0..=1] {
            assert!(matches!(PortPool::new([HERE], range, REST, 7), Err(PortError::NoPairs { .. })));
        }
        let elsewhere = "198.51.100.1".parse().unwrap();
        let taken = pool(30000..=30003).take(elsewhere, Instant::now());
        assert_eq!(taken, Err(PortError::UnknownAddress { address: elsewhere }));
    }

    #[test]
    fn the_start_is_random_and_the_whole_range_is_used() {
        let now = Instant::now();
        let mut pool = PortPool::new([HERE], 65530..=65535, REST, 4).unwrap();
        let ports: Vec<u16> =
            std::iter::from_fn(|| pool.take(HERE, now).ok()).map(|pair| pair.rtp().port()).collect();
        assert_eq!(ports, [65532, 65534, 65530]);
    }

    proptest! {
        #[test]
        fn no_pair_is_ever_held_twice_and_none_is_lost(steps in proptest::collection::vec((any::<bool>(), 0u64..20), 1..200)) {
            let mut now = Instant::now();
            let mut pool = PortPool::new([HERE], 30000..=30015, REST, 3).unwrap();
            let mut held = Vec::new();
            for (take, seconds) in steps {
                now += Duration::from_secs(seconds);
                if take {
                    if let Ok(pair) = pool.take(HERE, now) {
                        prop_assert!(!held.contains(&pair));
                        held.push(pair);
                    }
                } else if !held.is_empty() {
                    pool.release(held.remove(0), now);
                }
                let gauge = pool.gauge(now);
                prop_assert_eq!(gauge.in_use, held.len());
                prop_assert_eq!(gauge.in_use + gauge.quarantined + gauge.free, 8);
            }
        }
    }
}
