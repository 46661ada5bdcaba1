//! How much each part of the bench measures.

use std::time::Duration;

use crate::compare;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effort {
    /// What is compared with others.
    pub(crate) compare: compare::Effort,
    /// Comparisons of program costs.
    pub(crate) cost: usize,
    /// How often the frames of the fixtures are timed.
    pub(crate) fixtures: usize,
    /// Comparisons of rates, at the usual packet size.
    pub(crate) forwarding: usize,
    /// Comparisons of rates, at other sizes; 0 leaves these out.
    pub(crate) other_sizes: usize,
    /// Comparisons of rates with and without an option.
    pub(crate) options: usize,
    /// Turns of each subject in which delays are measured.
    pub(crate) latency: usize,
    /// How often 100,000 legs are installed.
    pub(crate) bulk: usize,
    /// How often a rule is installed under traffic.
    pub(crate) effect: usize,
    /// How often the owner of the data plane is killed, and how often replaced.
    pub(crate) restarts: usize,
    /// Comparisons of the backend without XDP and a plain relay.
    pub(crate) user: usize,
    /// Comparisons of an AF_XDP worker and a bare redirect.
    pub(crate) punts: usize,
    /// Comparisons of groups and a bare redirect; seconds of pictures.
    pub(crate) fan_out: usize,
    /// Comparisons of XDP with other engines.
    pub(crate) engines: usize,
    /// How long calls are made at each rate.
    pub(crate) calls: Duration,
}

impl Effort {
    /// For continuous integration.
    pub(crate) const QUICK: Self = Self {
        compare: compare::Effort::QUICK,
        cost: 20,
        fixtures: 2,
        forwarding: 9,
        other_sizes: 0,
        options: 9,
        latency: 2,
        bulk: 3,
        effect: 300,
        restarts: 3,
        user: 5,
        punts: 5,
        fan_out: 4,
        engines: 5,
        calls: Duration::from_secs(2),
    };
    /// For figures that are published.
    pub(crate) const FULL: Self = Self {
        compare: compare::Effort::FULL,
        cost: 400,
        fixtures: 31,
        forwarding: 41,
        other_sizes: 15,
        options: 41,
        latency: 30,
        bulk: 15,
        effect: 1000,
        restarts: 10,
        user: 41,
        punts: 41,
        fan_out: 25,
        engines: 41,
        calls: Duration::from_secs(10),
    };

    /// For a figure that missed its bar.
    pub(crate) fn twice(self) -> Self {
        Self {
            compare: self.compare.twice(),
            cost: 2 * self.cost,
            fixtures: 2 * self.fixtures,
            forwarding: 2 * self.forwarding,
            other_sizes: 2 * self.other_sizes,
            options: 2 * self.options,
            latency: 2 * self.latency,
            bulk: 2 * self.bulk,
            effect: 2 * self.effect,
            restarts: 2 * self.restarts,
            user: 2 * self.user,
            punts: 2 * self.punts,
            fan_out: 2 * self.fan_out,
            engines: 2 * self.engines,
            calls: 2 * self.calls,
        }
    }
}
