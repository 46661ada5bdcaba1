//! How much memory legs take: computed from the records, so that it is right by construction.

use relay_common::fan_out::{Group, Losses, Receiver};
use relay_common::ledger::Ledger;
use relay_common::leg::{Addresses6, Admission, Leg, LegDrops, Traffic};
use relay_common::limits::leg_buckets;
use relay_common::police::Police;
use relay_common::quality::Quality;
use relay_common::retag::Retag;
use relay_common::user_traffic::UserTraffic;

use crate::leg_table::Place;
use crate::rtcp::RECORD;
use crate::state::Installed;

/// The memory that legs take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that the kernel's records of one leg take, those of each CPU included. Taken when the relay starts.
    pub kernel_per_leg: usize,
    /// Bytes that all legs and the table that finds them take in the kernel. Taken when the relay starts.
    pub kernel: usize,
    /// Bytes that this process takes for each leg that is installed, its lists of sources and what it measures aside.
    pub process_per_leg: usize,
}

/// Bytes of a leg's records, those of each CPU aside.
const SHARED: usize = size_of::<Leg>()
    + size_of::<Admission>()
    + size_of::<Addresses6>()
    + size_of::<Retag>()
    + size_of::<Police>()
    + size_of::<LegDrops>()
    + size_of::<UserTraffic>()
    + size_of::<Ledger>()
    + size_of::<Group>()
    + size_of::<Receiver>()
    + size_of::<Losses>()
    // What was counted in maps that these replaced.
    + PER_CPU;

/// Bytes of a leg's records of each CPU.
const PER_CPU: usize = 2 * size_of::<Traffic>() + size_of::<Quality>();

impl Memory {
    /// For a relay with room for `legs` legs on a machine with `cpus` possible CPUs (`/sys/devices/system/cpu/possible`).
    pub const fn of(legs: u32, cpus: u32) -> Self {
        let kernel_per_leg = SHARED + PER_CPU * cpus as usize;
        let buckets = leg_buckets(legs) as usize * size_of::<u32>();
        Self {
            kernel_per_leg,
            // Place 0 is never used.
            kernel: kernel_per_leg * (legs as usize + 1) + buckets,
            process_per_leg: size_of::<Installed>() + size_of::<(Place, u32)>() + size_of::<usize>() + RECORD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_takes_no_more_than_the_documentation_says() {
        let text = include_str!("../../docs/architecture.md");
        let said = |before: &str| -> usize {
            let (head, _) = text.split_once(before).expect(before);
            head.rsplit(char::is_whitespace).next().unwrap().parse().expect(before)
        };
        let (shared, per_cpu, megabytes) = (
            said(" bytes for each leg,"),
            said(" for each leg and CPU, which"),
            said(" MB for 100,000 legs"),
        );
        assert!((shared / 2..=shared).contains(&SHARED), "{SHARED}");
        assert!((per_cpu / 2..=per_cpu).contains(&PER_CPU), "{PER_CPU}");
        let two = Memory::of(100_000, 2);
        assert!((megabytes / 2..=megabytes).contains(&two.kernel.div_ceil(1_000_000)), "{two:?}");
        assert!(two.process_per_leg <= said(" bytes in the daemon"), "{two:?}");
    }

    #[test]
    fn every_cpu_has_records_of_its_own() {
        let [one, two] = [1, 2].map(|cpus| Memory::of(1_000, cpus));
        assert_eq!(two.kernel_per_leg - one.kernel_per_leg, PER_CPU);
        assert_eq!(two.kernel - one.kernel, 1_001 * PER_CPU);
    }
}
