//! Rates: the relay against a bare redirect, in turns.

use std::time::Duration;

use anyhow::Result;

use crate::figure::Figure;
use crate::lane::{Account, Lane, Traffic};
use crate::sample::Sample;
use crate::subject::Subject;
use crate::treatment::Treatment;
use crate::wire;

/// How long each subject is measured in its turn.
pub(crate) const WINDOW: Duration = Duration::from_millis(150);
/// Packets that leave together: as many as a device takes from its queue at once.
pub(crate) const BATCH: u32 = 64;

/// Packets of the size of telephone audio (G.711, 20 ms): the size that the bars are for.
pub(crate) const USUAL_SIZE: usize = 214;
/// The shortest packets, and packets of video.
pub(crate) const OTHER_SIZES: [usize; 2] = [64, 1242];
/// Numbers of flows that every size is measured with.
const FLOWS: [u32; 4] = [1, 1000, 16_384, 100_000];
/// Calls that the relay has, whatever the number of flows.
const CALLS: u32 = wire::MOST_FLOWS;

/// Rates of both subjects under one kind of traffic.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    /// Bytes of a packet.
    size: usize,
    /// Number of flows.
    flows: u32,
    /// Packets a second that arrived through a bare redirect.
    bare: Sample,
    /// Packets a second that arrived through the relay.
    relay: Sample,
    /// Relay over bare, of two turns that followed each other.
    ratio: Sample,
}

impl Rates {
    /// The figures: the ratio, and the rates that it is made of.
    pub(crate) fn figures(&self) -> [Figure; 3] {
        let suffix = if self.size == USUAL_SIZE {
            self.flows.to_string()
        } else {
            format!("{}_{}_bytes", self.flows, self.size)
        };
        [
            Figure::median(format!("forward_{suffix}"), &self.ratio, "ratio"),
            Figure::median(format!("forward_relay_pps_{suffix}"), &self.relay, "packets/s"),
            Figure::median(format!("forward_bare_pps_{suffix}"), &self.bare, "packets/s"),
        ]
    }
}

/// Both subjects, ready to take turns.
pub(crate) struct Forwarding {
    bare: Lane,
    relay: Lane,
}

impl Forwarding {
    /// Lays both lanes.
    pub(crate) fn prepare() -> Result<Self> {
        Ok(Self {
            bare: Lane::counting(Subject::Bare, CALLS)?,
            relay: Lane::counting(Subject::Relay(Treatment::Plain), CALLS)?,
        })
    }

    /// Measures each size with each number of flows, `rounds` times. One round goes over all of them, so that a disturbance
    /// falls on all alike; the subjects take turns in being first.
    pub(crate) fn measure(
        &mut self,
        sizes: &[usize],
        rounds: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Rates>> {
        let mut rates: Vec<_> = sizes
            .iter()
            .flat_map(|size| FLOWS.map(|flows| (*size, flows)))
            .map(|(size, flows)| Rates {
                size,
                flows,
                bare: Sample::default(),
                relay: Sample::default(),
                ratio: Sample::default(),
            })
            .collect();
        for round in 0..rounds {
            progress(round);
            for case in &mut rates {
                self.turn(case, round % 2 == 0)?;
            }
        }
        Ok(rates)
    }

    fn turn(&mut self, case: &mut Rates, bare_first: bool) -> Result<()> {
        let traffic = Traffic { size: case.size, flows: case.flows, batch: BATCH, interval: Duration::ZERO };
        let (bare, relay) = if bare_first {
            let bare = self.bare.rate(traffic, WINDOW)?;
            (bare, self.relay.rate(traffic, WINDOW)?)
        } else {
            let relay = self.relay.rate(traffic, WINDOW)?;
            (self.bare.rate(traffic, WINDOW)?, relay)
        };
        case.bare.push(bare);
        case.relay.push(relay);
        case.ratio.push(relay / bare);
        Ok(())
    }

    /// What became of all packets of the bare redirect, and of the relay.
    ///
    /// # Errors
    /// See [`Lane::account`].
    pub(crate) fn accounts(&self) -> Result<(Account, Account)> {
        Ok((self.bare.account()?, self.relay.account()?))
    }
}
