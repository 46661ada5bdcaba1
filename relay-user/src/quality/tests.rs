#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers that wrap are what is tested"
)]

use proptest::prelude::*;
use relay_common::byte_order::Be32;

use super::*;

/// The algorithm of RFC 3550 appendix A.1 in its plain form, over packets in the order in which they came, and every
/// packet remembered: slow, and nothing to get wrong.
#[derive(Default)]
struct Reference {
    source: Option<(u32, i64, i64)>,
    arrived: std::collections::HashSet<i64>,
    expected_before: u64,
    lost_before: u64,
    packets: u64,
    late: u64,
    again: u64,
    changes: u64,
}

impl Reference {
    fn count(&mut self, ssrc: u32, sequence: u16) {
        self.packets += 1;
        if let Some((known, first, highest)) = self.source {
            let extended = nearest(highest, sequence);
            let step = extended - highest;
            if known == ssrc && (-100..=3000).contains(&step) {
                if step > 0 {
                    self.source = Some((known, first, extended));
                }
                if !self.arrived.insert(extended) {
                    self.again += 1;
                } else if step < 0 {
                    self.late += 1;
                }
                return;
            }
            self.expected_before = self.expected();
            self.lost_before = self.lost();
            self.changes += 1;
        }
        self.source = Some((ssrc, sequence.into(), sequence.into()));
        self.arrived = [sequence.into()].into();
    }

    fn expected(&self) -> u64 {
        self.expected_before + self.source.map_or(0, |(_, first, highest)| highest.abs_diff(first) + 1)
    }

    fn lost(&self) -> u64 {
        let Some((_, first, highest)) = self.source else { return 0 };
        let here = self.arrived.iter().filter(|extended| (first..=highest).contains(*extended)).count();
        self.lost_before + highest.abs_diff(first) + 1 - here as u64
    }
}

/// The kernel half on some CPUs, a meter that looks at it now and then, and the reference.
struct Trial {
    cpus: Vec<Record>,
    meter: Meter,
    reference: Reference,
    clock: u64,
}

impl Trial {
    fn on(cpus: usize) -> Self {
        let record = Record { tick: Record::tick_of(90_000), ..Record::default() };
        Self { cpus: vec![record; cpus], meter: Meter::default(), reference: Reference::default(), clock: 1 }
    }

    fn arrive(&mut self, cpu: usize, ssrc: u32, sequence: u16) {
        self.clock += 1_000_000;
        let (clock, timestamp) = (self.clock, u32::try_from(self.clock / 11_111).unwrap());
        self.cpus[cpu].count(Be32::new(ssrc), sequence, timestamp, || clock);
        self.reference.count(ssrc, sequence);
    }

    fn look(&mut self) -> Quality {
        self.meter.sample(self.cpus.iter().copied());
        self.meter.report().unwrap()
    }

    /// Packets `from..to` in order.
    fn run(&mut self, cpu: usize, ssrc: u32, sequences: std::ops::Range<i64>) {
        for sequence in sequences {
            self.arrive(cpu, ssrc, (sequence & 0xffff) as u16);
        }
    }
}

#[test]
fn an_idle_leg_reports_nothing() {
    let mut meter = Meter::default();
    meter.sample([Record::default(); 4].into_iter());
    assert_eq!(meter.report(), None);
}

#[test]
fn a_stream_that_moves_between_cpus_is_one_stream() {
    let mut trial = Trial::on(3);
    trial.run(0, 7, 65_000..66_000);
    trial.look();
    trial.run(1, 7, 66_000..76_000);
    trial.look();
    // Back on the first CPU, whose own count takes the gap for a new start.
    trial.run(0, 7, 76_000..80_000);
    trial.run(2, 7, 80_000..81_000);
    let quality = trial.look();
    assert_eq!(
        (quality.packets, quality.expected, quality.lost, quality.ssrc_changes),
        (16_000, 16_000, 0, 0)
    );
    assert_eq!(quality.highest_sequence, 80_999);
}

#[test]
fn a_stream_that_moved_before_the_first_look_is_one_stream() {
    let mut trial = Trial::on(2);
    trial.run(0, 7, 0..1_000);
    trial.run(1, 7, 1_000..2_000);
    trial.run(0, 7, 2_000..3_000);
    assert_eq!((trial.look().expected, trial.look().lost), (3_000, 0));
}

#[test]
fn what_is_lost_while_a_stream_moves_is_lost() {
    let mut trial = Trial::on(2);
    trial.run(0, 7, 0..1_000);
    trial.look();
    trial.run(1, 7, 1_010..2_000);
    let quality = trial.look();
    assert_eq!((quality.expected, quality.lost), (2_000, 10));
}

#[test]
fn another_source_begins_anew_and_keeps_what_was_lost() {
    let mut trial = Trial::on(2);
    trial.run(0, 7, 10..20);
    trial.run(0, 7, 22..30);
    trial.look();
    trial.run(1, 8, 5..10);
    let quality = trial.look();
    assert_eq!((quality.ssrc, quality.ssrc_changes), (Some(8), 1));
    assert_eq!((quality.expected, quality.lost, quality.packets), (25, 2, 23));
}

#[test]
fn a_source_that_starts_anew_on_its_cpu_is_no_loss() {
    let mut trial = Trial::on(2);
    trial.run(0, 7, 0..1_000);
    trial.look();
    // A camera that was switched off and on, and counts from elsewhere.
    trial.run(0, 7, 1_500..1_600);
    trial.run(0, 7, 20_000..21_000);
    let quality = trial.look();
    assert_eq!((quality.ssrc_changes, quality.lost, quality.packets), (1, 500, 2_100));
}

#[test]
fn jitter_is_told_in_both_units() {
    let record = Record {
        window: 1,
        packets: 2,
        jitter: 16 * 1_000_000,
        tick: Record::tick_of(90_000),
        ..Record::default()
    };
    let mut meter = Meter::default();
    meter.sample([record].into_iter());
    let quality = meter.report().unwrap();
    assert_eq!((quality.jitter, quality.jitter_time), (90, Some(Duration::from_millis(1))));

    let mut meter = Meter::default();
    meter.sample([Record { tick: 0, ..record }].into_iter());
    assert_eq!((meter.report().unwrap().jitter, meter.report().unwrap().jitter_time), (0, None));
}

/// What happens next to a stream.
#[derive(Clone, Debug)]
enum Step {
    /// So many packets in order.
    Send(u16),
    /// So many that never arrive.
    Lose(u16),
    /// The packet so many before comes again.
    Repeat(u16),
    /// The next two change places.
    Swap,
    /// The source starts anew: another SSRC, another sequence.
    Restart(u32, u16),
    /// The receive queue changes.
    Move(usize),
    /// Somebody looks.
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u16..400).prop_map(Step::Send),
        2 => (1_u16..60).prop_map(Step::Lose),
        2 => (1_u16..60).prop_map(Step::Repeat),
        2 => Just(Step::Swap),
        1 => (1_u32..4, any::<u16>()).prop_map(|(ssrc, sequence)| Step::Restart(ssrc, sequence)),
        2 => (0_usize..4).prop_map(Step::Move),
        3 => Just(Step::Look),
    ];
    prop::collection::vec(step, 1..200)
}

/// Plays the steps on `cpus` CPUs, with a look before and after each move. Every source has an SSRC of its own, so that a restart can be told from a CPU that
/// was away.
fn play(steps: &[Step], cpus: usize) -> Trial {
    let mut trial = Trial::on(cpus);
    let (mut cpu, mut ssrc, mut next) = (0, 0_u32, 65_000_u16);
    trial.arrive(cpu, ssrc, next.wrapping_sub(1));
    // A CPU that has not seen a packet cannot know that it came before.
    let mut since_move = 1_u16;
    for step in steps {
        match step {
            Step::Send(count) => {
                for _ in 0..*count {
                    trial.arrive(cpu, ssrc, next);
                    next = next.wrapping_add(1);
                }
                since_move = since_move.saturating_add(*count);
            }
            Step::Lose(count) => next = next.wrapping_add(*count),
            Step::Repeat(back) if *back <= since_move => trial.arrive(cpu, ssrc, next.wrapping_sub(*back)),
            Step::Repeat(_) => {}
            Step::Swap => {
                trial.arrive(cpu, ssrc, next.wrapping_add(1));
                trial.arrive(cpu, ssrc, next);
                next = next.wrapping_add(2);
                since_move = since_move.saturating_add(2);
            }
            Step::Restart(by, sequence) => {
                ssrc += by;
                next = *sequence;
                trial.arrive(cpu, ssrc, next);
                next = next.wrapping_add(1);
                since_move = 1;
            }
            Step::Move(to) => {
                let to = to % cpus;
                if to != cpu {
                    trial.look();
                    cpu = to;
                    // The first packet there is the next one, in order.
                    trial.arrive(cpu, ssrc, next);
                    next = next.wrapping_add(1);
                    since_move = 1;
                    trial.look();
                }
            }
            Step::Look => {
                trial.look();
            }
        }
    }
    trial
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn one_cpu_counts_like_the_standard(steps in steps()) {
        let mut trial = play(&steps, 1);
        let quality = trial.look();
        let reference = &trial.reference;
        prop_assert_eq!(quality.packets, reference.packets);
        prop_assert_eq!(quality.expected, reference.expected());
        prop_assert_eq!(quality.lost, reference.lost());
        prop_assert_eq!((quality.duplicates, quality.reordered), (reference.again, reference.late));
        prop_assert_eq!(quality.ssrc_changes, reference.changes);
    }

    #[test]
    fn several_cpus_count_like_one(steps in steps(), cpus in 2_usize..5) {
        let mut trial = play(&steps, cpus);
        let quality = trial.look();
        let reference = &trial.reference;
        prop_assert_eq!(quality.packets, reference.packets);
        prop_assert_eq!(quality.expected, reference.expected());
        prop_assert_eq!(quality.lost, reference.lost());
        prop_assert_eq!(quality.ssrc, reference.source.map(|(ssrc, ..)| ssrc));
    }

    #[test]
    fn any_records_are_taken_in(records in prop::collection::vec(any::<[u64; 8]>(), 0..40)) {
        // Half-written records, restarts without end, clocks that stand still: no panic, and no more than was counted.
        let mut meter = Meter::default();
        for [a, b, c, d, e, f, g, h] in records {
            let record = Record {
                ssrc: Be32::new((a & 3) as u32),
                first: (b & 0xffff) as u16,
                highest: (c & 0xffff) as u16,
                packets: d >> 8,
                reordered: e as u32,
                duplicates: f as u32,
                cycles: (g & 0xffff) as u16,
                restarts: (h & 3) as u16,
                arrival: a,
                ..Record::default()
            };
            meter.sample([record, Record::default(), Record { packets: 1, ..record }].into_iter());
            let quality = meter.report();
            prop_assert!(quality.is_none_or(|quality| quality.lost <= quality.expected));
        }
    }
}

#[test]
fn a_record_that_is_being_started_anew_is_looked_at_the_next_time() {
    let mut record = Record::default();
    let count = |record: &mut Record, ssrc, sequence| record.count(Be32::new(ssrc), sequence, 0, || 0);
    let mut meter = Meter::default();
    (100..110).for_each(|sequence| count(&mut record, 7, sequence));
    meter.sample([record].into_iter());
    count(&mut record, 8, 500);
    // As it is between two stores: already counted as a new start, of a source that is not there yet.
    let half = Record { ssrc: Be32::new(7), first: 100, window: 0, ..record };
    meter.sample([half].into_iter());
    assert_eq!(meter.report().unwrap().ssrc, Some(7));
    meter.sample([record].into_iter());
    let report = meter.report().unwrap();
    assert_eq!((report.ssrc, report.packets, report.expected, report.ssrc_changes), (Some(8), 11, 11, 1));
}
