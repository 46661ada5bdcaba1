//! The parts of the bench, and the figures that each yields.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::books;
use crate::bulk;
use crate::calls;
use crate::compare;
use crate::cost;
use crate::effect;
use crate::effort::Effort;
use crate::fan_out;
use crate::figure::Figure;
use crate::forwarding::{self, Forwarding};
use crate::latency::{self, Latency};
use crate::measured::Measured;
use crate::options;
use crate::progress::Progress;
use crate::punts;
use crate::replay;
use crate::restarts;
use crate::treatment::Treatment;
use crate::user;

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Rates, delays and costs beside those of others.
    Compare,
    /// Cost of the program for one packet.
    Cost,
    /// Cost of the program for the frames of the fixtures.
    Fixtures,
    /// Rates of the relay and of a bare redirect.
    Forwarding,
    /// What the options of a leg cost.
    Options,
    /// One-way delay through the relay and through a bare redirect.
    Latency,
    /// Time to install and to remove 100,000 legs.
    Bulk,
    /// Time until a new rule works.
    Effect,
    /// Whether every packet is counted, once.
    Books,
    /// Whether media runs on while the process that owns the data plane is killed, or replaced.
    Restarts,
    /// Packets that sockets relay, over those of a plain relay.
    User,
    /// Packets that AF_XDP workers send on, over those of a bare redirect.
    Punts,
    /// Copies for the receivers of groups.
    Fanout,
    /// Copies of XDP, over those of AF_XDP workers and of a plain relay.
    Engines,
    /// Calls a second over SIP.
    Calls,
}

impl Part {
    /// Every part, in the order in which they are measured.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Compare,
        Self::Cost,
        Self::Fixtures,
        Self::Forwarding,
        Self::Options,
        Self::Latency,
        Self::Bulk,
        Self::Effect,
        Self::Books,
        Self::Restarts,
        Self::User,
        Self::Punts,
        Self::Fanout,
        Self::Engines,
        Self::Calls,
    ];

    /// Its title in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Compare => "the relay beside others, two processors, in turns",
            Self::Cost => "cost of the program for one packet, one flow",
            Self::Fixtures => {
                "cost of the program for a frame of each group of fixtures, over one that passes all"
            }
            Self::Forwarding => "packets that arrive, two processors, relay and bare redirect in turns",
            Self::Options => "rates of legs with one option over those without, same packets, in turns",
            Self::Latency => {
                "one-way delay from generator to sink, 214 bytes, 1,000 flows, relay and bare redirect in turns"
            }
            Self::Bulk => "100,000 legs, 1,000 cameras, one call of the interface each",
            Self::Effect => {
                "from the call that installs two legs to the first packet through them, under traffic"
            }
            Self::Books => {
                "10 million packets, good and bad, more than the egress ring takes: is every one counted once"
            }
            Self::Restarts => {
                "200,000 packets a second while the owner of the data plane is killed, and replaced by another build"
            }
            Self::User => {
                "packets that sockets relay in a second of one processor, 1242 bytes, 100 flows in bursts of 32"
            }
            Self::Punts => {
                "packets that an AF_XDP worker sends on, and a bare redirect, one sender, in turns"
            }
            Self::Fanout => {
                "copies for 8, 64 and 512 receivers over a bare redirect, 1242 bytes, two processors; bursts; who comes and goes"
            }
            Self::Engines => {
                "copies of XDP over those of AF_XDP and of sendmmsg, 64 receivers, 1242 bytes, in turns"
            }
            Self::Calls => "calls set up and torn down by sipp in relay mode, the daemon on one processor",
        }
    }

    /// Measures; tells progress on standard error.
    pub(crate) fn measure(self, effort: Effort) -> Result<Measured> {
        eprintln!("bench: {}", self.title());
        let start = Instant::now();
        let measured = match self {
            Self::Compare => compare::measure(effort.compare),
            Self::Cost => plain(costs(effort)),
            Self::Fixtures => plain(replay::measure(effort.fixtures)),
            Self::Forwarding => plain(rates(effort)),
            Self::Options => plain(options::measure(effort.options)),
            Self::Latency => plain(delays(effort)),
            Self::Bulk => plain(bulk_times(effort)),
            Self::Effect => plain(rule_effect(effort)),
            Self::Books => plain(books_of_packets()),
            Self::Restarts => plain(changes_of_owner(effort)),
            Self::User => plain(user::measure(effort.user)),
            Self::Punts => plain(punts::measure(effort.punts)),
            Self::Fanout => plain(fan_out::measure(effort.fan_out)),
            Self::Engines => plain(fan_out::compare(effort.engines)),
            Self::Calls => plain(call_rate(effort)),
        };
        eprintln!("bench: took {:.0} s", start.elapsed().as_secs_f64());
        measured.with_context(|| format!("measuring: {}", self.title()))
    }
}

/// What has figures and nothing else.
fn plain(figures: Result<Vec<Figure>>) -> Result<Measured> {
    figures.map(Measured::from)
}

fn costs(effort: Effort) -> Result<Vec<Figure>> {
    let cost = cost::measure(effort.cost)?;
    let mut figures = vec![
        Figure::median("program_ns_over_pass", &cost.relay, "ns"),
        Figure::median("redirect_ns_over_pass", &cost.bare, "ns"),
    ];
    let option =
        |(option, sample): &(Treatment, _)| Figure::median(format!("{}_ns", option.name()), sample, "ns");
    figures.extend(cost.options.iter().map(option));
    Ok(figures)
}

fn rates(effort: Effort) -> Result<Vec<Figure>> {
    let mut lanes = Forwarding::prepare()?;
    let mut figures = Vec::new();
    for (sizes, rounds) in [
        (&[forwarding::USUAL_SIZE][..], effort.forwarding),
        (&forwarding::OTHER_SIZES[..], effort.other_sizes),
    ] {
        if rounds == 0 {
            continue;
        }
        let progress = Progress::of(rounds);
        let rates = lanes.measure(sizes, rounds, |round| progress.tell(round))?;
        figures.extend(rates.iter().flat_map(forwarding::Rates::figures));
    }
    let (bare, relay) = lanes.accounts()?;
    figures.push(Figure::single("forward_lost_bare", bare.lost_share(), "share"));
    figures.push(Figure::single("forward_lost_relay", relay.lost_share(), "share"));
    Ok(figures)
}

fn delays(effort: Effort) -> Result<Vec<Figure>> {
    let mut lanes = Latency::prepare()?;
    let mut figures = Vec::new();
    for rate in [latency::Rate::Low, latency::Rate::High] {
        figures.extend(lanes.measure(rate, effort.latency)?);
    }
    Ok(figures)
}

/// What becomes of calls, and of a group, while owners of the data plane come and go.
fn changes_of_owner(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = restarts::measure(effort.restarts)?;
    figures.extend(fan_out::restarts::measure(effort.restarts)?);
    Ok(figures)
}

fn bulk_times(effort: Effort) -> Result<Vec<Figure>> {
    let bulk = bulk::measure(effort.bulk)?;
    Ok(vec![
        Figure::median("install_100k_s", &bulk.install, "s"),
        Figure::median("remove_100k_s", &bulk.remove, "s"),
        Figure::median("adopt_100k_s", &bulk.adopt, "s"),
    ])
}

fn rule_effect(effort: Effort) -> Result<Vec<Figure>> {
    let effect = effect::measure(effort.effect)?;
    Ok(vec![
        Figure::single("rule_effect_p99_ms", effect.until_first_packet.quantile(0.99), "ms"),
        Figure::median("rule_effect_p50_ms", &effect.until_first_packet, "ms"),
        Figure::median("rule_call_p50_ms", &effect.call, "ms"),
    ])
}

fn books_of_packets() -> Result<Vec<Figure>> {
    let books = books::measure()?;
    #[expect(clippy::cast_precision_loss, reason = "counts of packets are far below 2^52")]
    let count = |name: &str, packets: u64| Figure::single(name, packets as f64, "packets");
    #[expect(clippy::cast_precision_loss, reason = "as above")]
    let difference = books.difference().unsigned_abs() as f64;
    let mut figures = vec![
        Figure::single("books_difference", difference, "packets"),
        count("books_received", books.received),
        count("books_left", books.left),
        count("books_refused", books.refused),
    ];
    figures.extend(books.reasons.iter().map(|(reason, packets)| count(&format!("books_{reason}"), *packets)));
    Ok(figures)
}

fn call_rate(effort: Effort) -> Result<Vec<Figure>> {
    let calls = calls::measure(effort.calls)?;
    #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    let (count, retransmissions) = (calls.count as f64, calls.retransmissions as f64);
    Ok(vec![
        Figure::single("calls_per_second", calls.per_second, "calls/s"),
        Figure::single("calls_made", count, "calls"),
        Figure::single("calls_retransmissions", retransmissions, "messages"),
    ])
}
