//! An earlier report, to compare with: which ratios have become worse by more than both runs' noise explains.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::figure::Figure;

/// A ratio that differs by less, in percent, is the same.
const SAME: f64 = 10.0;

/// What an earlier run found.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Baseline {
    summary: BTreeMap<String, f64>,
    quartiles: BTreeMap<String, (f64, f64)>,
}

impl Baseline {
    /// Reads what `--json` wrote.
    ///
    /// # Errors
    /// The file is not there, or no report.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report of the bench", file.display()))
    }

    /// Ratios that have changed, in words. Only ratios hold from run to run; one has changed if its median moved by more
    /// than [`SAME`] percent and the quartiles of both runs do not overlap.
    pub(crate) fn changes<'a>(&self, figures: impl IntoIterator<Item = &'a Figure>) -> Vec<String> {
        figures
            .into_iter()
            .filter(|figure| figure.unit == "ratio")
            .filter_map(|figure| self.change(figure))
            .collect()
    }

    fn change(&self, figure: &Figure) -> Option<String> {
        let (before, now) = (*self.summary.get(&figure.name)?, figure.value);
        let percent = 100.0 * (now / before - 1.0);
        let (low, high) = figure.quartiles.unwrap_or((now, now));
        let (low_before, high_before) = self.quartiles.get(&figure.name).copied().unwrap_or((before, before));
        let overlap = low <= high_before && low_before <= high;
        let is_changed = percent.abs() > SAME && !overlap;
        is_changed.then(|| format!("{} is {now:.3}, was {before:.3} ({percent:+.0} %)", figure.name))
    }
}

/// The largest difference between two runs' medians of a ratio, in percent of the smaller, and whose it is.
pub(crate) fn largest_difference(first: &[Figure], second: &[Figure]) -> Option<(f64, String)> {
    let of = |figure: &&Figure| figure.unit == "ratio";
    let difference = |figure: &Figure| {
        let again = second.iter().find(|other| other.name == figure.name)?;
        let (low, high) = (figure.value.min(again.value), figure.value.max(again.value));
        Some((100.0 * (high / low - 1.0), figure.name.clone()))
    };
    let differences = first.iter().filter(of).filter_map(difference);
    differences.max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(value: f64) -> Figure {
        Figure { quartiles: Some((value - 0.01, value + 0.01)), ..Figure::single("speed", value, "ratio") }
    }

    fn baseline() -> Baseline {
        serde_json::from_str(r#"{"summary":{"speed":1.0},"quartiles":{"speed":[0.8,1.1]}}"#).unwrap()
    }

    #[test]
    fn a_ratio_beyond_both_spreads_has_changed() {
        assert_eq!(baseline().changes(&[ratio(0.5)]), ["speed is 0.500, was 1.000 (-50 %)"]);
    }

    #[test]
    fn noise_is_no_change() {
        assert!(baseline().changes(&[ratio(0.8)]).is_empty());
        assert!(baseline().changes(&[Figure::single("speed", 0.1, "packets/s")]).is_empty());
        assert!(baseline().changes(&[Figure::single("new", 0.1, "ratio")]).is_empty());
    }

    #[test]
    fn the_largest_difference_is_named() {
        let other = |value| Figure::single("other", value, "ratio");
        let (percent, name) =
            largest_difference(&[ratio(1.0), other(2.0)], &[ratio(1.02), other(1.9)]).unwrap();
        assert_eq!(name, "other");
        assert!((percent - 5.26).abs() < 0.01);
    }
}
