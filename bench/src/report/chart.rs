//! What is drawn: data only, so that parts of the bench need not know how.

use crate::sample::Sample;

/// Which colour a row or a line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Culvert's.
    Ours,
    /// What it is compared with.
    Theirs,
    /// The limit, or the instruments.
    Limit,
}

/// A row of a bar chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// From the first to the third quartile.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) whose: Whose,
}

impl Bar {
    /// The median of a sample, with its quartiles.
    pub(crate) fn median(label: &str, sample: &Sample, whose: Whose) -> Self {
        Self { label: label.into(), value: sample.median(), spread: Some(sample.quartiles()), whose }
    }
}

/// A line through points, from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) whose: Whose,
}

/// How an axis divides its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From zero, in equal steps.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// What it shows, with its unit.
    pub(crate) title: &'static str,
    pub(crate) scale: Scale,
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Chart {
    /// Rows from top to bottom.
    Bars { title: String, unit: &'static str, bars: Vec<Bar> },
    /// Lines over a common range.
    Lines { title: String, x: Axis, y: Axis, lines: Vec<Line> },
}
