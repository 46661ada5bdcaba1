//! Puts together what each CPU saw of a leg's RTP stream: the kernel half counts on each CPU by itself, and receive
//! queues give a stream to one CPU at a time, but not for ever.
//!
//! Each CPU's record spans the sequence numbers from the first that it saw to the highest. While a stream goes on, the
//! spans of all CPUs lie on one line, and what was expected is the whole line; a CPU that a stream comes back to after a
//! while takes the gap for a new start, which this module tells from a real one.

#[cfg(test)]
mod tests;

use std::time::Duration;

use relay_common::quality::{MAX_DROPOUT, MAX_MISORDER, Quality as Record, TICK_UNIT};

use crate::statistics::Quality;

/// A stream of one source since it started.
#[derive(Clone, Copy, Debug)]
struct Line {
    ssrc: u32,
    /// Extended sequence numbers: what wraps in the packet goes on here. The first of a line is below 65,536.
    first: i64,
    highest: i64,
}

impl Line {
    const fn length(&self) -> u64 {
        self.highest.abs_diff(self.first) + 1
    }
}

/// What is known of one CPU.
#[derive(Clone, Copy, Debug)]
struct Seen {
    cpu: usize,
    record: Record,
    /// Its highest sequence number on the line; `None` if it saw another source last.
    highest: Option<i64>,
}

/// Everything that was seen of a leg, over all its sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    cpus: Vec<Seen>,
    line: Option<Line>,
    /// Packets that were expected of what is no longer on the line.
    expected_before: u64,
    changes: u64,
}

impl Meter {
    /// Takes in what the CPUs have counted until now, in the order of their numbers. To be called often enough that in
    /// between a stream sends fewer than 32,768 packets, and moves or starts anew once at most.
    pub(crate) fn sample(&mut self, records: impl Iterator<Item = Record>) {
        let mut changed = Vec::new();
        let mut packets = 0;
        // One that is given to a new start at this moment is looked at the next time.
        let whole = |record: &Record| record.packets != 0 && record.window != 0;
        for (cpu, record) in records.enumerate().filter(|(_, record)| whole(record)) {
            let before = self.cpus.iter().find(|seen| seen.cpu == cpu).map_or(0, |seen| seen.record.packets);
            if record.packets != before {
                packets += record.packets.wrapping_sub(before);
                changed.push((cpu, record));
            }
        }
        // Whoever saw the oldest packet first.
        changed.sort_unstable_by_key(|(_, record)| record.arrival);
        let alone = changed.len() == 1;
        for (cpu, record) in changed {
            self.advance(cpu, record, alone, packets);
        }
    }

    /// One CPU's progress. `alone`: no other has made any; `packets`: how many came on all CPUs.
    fn advance(&mut self, cpu: usize, record: Record, alone: bool, packets: u64) {
        let at = self.cpus.iter().position(|seen| seen.cpu == cpu);
        let before = at.and_then(|at| self.cpus.get(at)).copied();
        let highest = match before {
            Some(before) if before.record.restarts == record.restarts => self.go_on(&before, &record),
            _ => {
                match before {
                    Some(before) => self.end(&before, &record),
                    None => {
                        self.expected_before += u64::from(record.expected_before);
                        self.changes += u64::from(record.restarts);
                    }
                }
                let led = before.is_some_and(|before| self.leads(&before));
                Some(self.start(&record, alone && led, packets))
            }
        };
        let seen = Seen { cpu, record, highest };
        match at.and_then(|at| self.cpus.get_mut(at)) {
            Some(place) => *place = seen,
            None => self.cpus.push(seen),
        }
    }

    /// The CPU's own count went on without a new start.
    fn go_on(&mut self, before: &Seen, record: &Record) -> Option<i64> {
        let progress = local(record).wrapping_sub(local(&before.record));
        let Some(highest) = before.highest else {
            // Two sources at once: this one is not on the line.
            self.expected_before += u64::from(progress);
            return None;
        };
        let highest = highest + i64::from(progress);
        self.reach(highest);
        Some(highest)
    }

    /// The CPU started anew: what it saw between the last look and that start.
    fn end(&mut self, before: &Seen, record: &Record) {
        let old = &before.record;
        let span = u64::from(local(old).wrapping_sub(u32::from(old.first))) + 1;
        let more = u64::from(record.expected_before.wrapping_sub(old.expected_before)).saturating_sub(span);
        let starts = record.restarts.wrapping_sub(old.restarts);
        match before.highest {
            // One new start: all of it belongs to what was before.
            Some(highest) if starts == 1 => self.reach(highest + i64::try_from(more).unwrap_or_default()),
            _ => self.expected_before += more,
        }
        self.changes += u64::from(starts.saturating_sub(1));
    }

    /// A CPU begins: on the line if it can be, else a new line. Returns its highest sequence number there.
    fn start(&mut self, record: &Record, certainly_new: bool, packets: u64) -> i64 {
        let ssrc = record.ssrc.get();
        let span = i64::from(local(record).wrapping_sub(u32::from(record.first)));
        if let Some(line) = self.line.filter(|line| line.ssrc == ssrc && !certainly_new) {
            // The highest is nearer to the line's end than the first, which may be many cycles ago.
            let highest = nearest(line.highest, record.highest);
            let first = highest - span;
            let room = i64::from(MAX_DROPOUT) + i64::try_from(packets).unwrap_or(i64::MAX / 2);
            if first <= line.highest + room && highest >= line.first - i64::from(MAX_MISORDER) {
                if let Some(line) = &mut self.line {
                    line.first = line.first.min(first);
                }
                self.reach(highest);
                return highest;
            }
        }
        if let Some(line) = self.line.take() {
            self.expected_before += line.length();
            self.changes += 1;
            for seen in &mut self.cpus {
                seen.highest = None;
            }
        }
        let first = i64::from(record.first);
        self.line = Some(Line { ssrc, first, highest: first + span });
        first + span
    }

    fn reach(&mut self, highest: i64) {
        if let Some(line) = &mut self.line {
            line.highest = line.highest.max(highest);
        }
    }

    /// Whether the CPU had seen the newest packet of all.
    fn leads(&self, seen: &Seen) -> bool {
        self.line.is_some_and(|line| seen.highest == Some(line.highest))
    }

    /// What all CPUs together have seen; nothing if there was no packet.
    pub(crate) fn report(&self) -> Option<Quality> {
        let line = self.line?;
        let newest = self.cpus.iter().max_by_key(|seen| seen.record.arrival)?.record;
        let sum = |of: fn(&Record) -> u64| self.cpus.iter().map(|seen| of(&seen.record)).sum::<u64>();
        let packets = sum(|record| record.packets);
        let duplicates = sum(|record| u64::from(record.duplicates));
        let expected = self.expected_before + line.length();
        let jitter = newest.jitter / 16;
        let known = newest.tick != 0;
        let units = if known { jitter.saturating_mul(TICK_UNIT) / u64::from(newest.tick) } else { 0 };
        Some(Quality {
            ssrc: Some(line.ssrc),
            packets,
            expected,
            lost: expected.saturating_sub(packets.saturating_sub(duplicates)),
            reordered: sum(|record| u64::from(record.reordered)),
            duplicates,
            jitter: u32::try_from(units).unwrap_or(u32::MAX),
            jitter_time: known.then(|| Duration::from_nanos(jitter)),
            highest_sequence: extended(line.highest),
            ssrc_changes: self.changes,
        })
    }
}

/// The CPU's own extended highest sequence number.
fn local(record: &Record) -> u32 {
    u32::from(record.cycles) << 16 | u32::from(record.highest)
}

/// The extended number nearest to `to` that ends in `sequence`.
fn nearest(to: i64, sequence: u16) -> i64 {
    const CYCLE: i64 = 1 << 16;
    let ahead = (i64::from(sequence) - to).rem_euclid(CYCLE);
    if ahead < CYCLE / 2 { to + ahead } else { to + ahead - CYCLE }
}

/// The low 32 bits, as receiver reports carry it (RFC 3550 section 6.4.1).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32 on purpose")]
fn extended(sequence: i64) -> u32 {
    sequence as u32
}
