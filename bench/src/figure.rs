//! A figure with its name, unit and spread. Every name is explained in docs/performance.md.

use crate::sample::Sample;

/// A measured figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// Its name in the summary.
    pub(crate) name: String,
    /// The figure.
    pub(crate) value: f64,
    /// The first and third quartile of what was measured, where it was measured more than once.
    pub(crate) quartiles: Option<(f64, f64)>,
    /// Its unit.
    pub(crate) unit: &'static str,
}

impl Figure {
    /// A figure that was measured once, or that is a count.
    pub(crate) fn single(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, quartiles: None, unit }
    }

    /// The median of a sample.
    pub(crate) fn median(name: impl Into<String>, sample: &Sample, unit: &'static str) -> Self {
        Self { quartiles: Some(sample.quartiles()), ..Self::single(name, sample.median(), unit) }
    }
}
