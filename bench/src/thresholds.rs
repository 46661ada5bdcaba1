//! The bars that figures are held to: the checked-in file bench/thresholds.toml.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::figure::Figure;

/// Bars by the figure's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Thresholds(BTreeMap<String, Bar>);

/// What a figure must reach.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bar {
    at_least: Option<f64>,
    at_most: Option<f64>,
}

impl Thresholds {
    /// Those of this build.
    ///
    /// # Errors
    /// The file is malformed.
    pub(crate) fn built_in() -> Result<Self> {
        Self::parse(include_str!("../thresholds.toml")).context("bench/thresholds.toml")
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Each of these figures that misses its bar, in words.
    pub(crate) fn missed<'a>(&self, figures: impl IntoIterator<Item = &'a Figure>) -> Vec<String> {
        let missed = figures
            .into_iter()
            .filter(|figure| self.bar(&figure.name).is_some_and(|bar| !bar.admits(figure.value)));
        missed
            .map(|figure| {
                format!("{} is {:.3}, must be {}", figure.name, figure.value, self.words(&figure.name))
            })
            .collect()
    }

    /// The bar of a figure in words; empty if it has none.
    pub(crate) fn words(&self, name: &str) -> String {
        let Some(bar) = self.bar(name) else {
            return String::new();
        };
        let least = bar.at_least.map(|bar| format!(">= {bar}"));
        let most = bar.at_most.map(|bar| format!("<= {bar}"));
        [least, most].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn bar(&self, name: &str) -> Option<&Bar> {
        self.0.get(name)
    }
}

impl Bar {
    /// A value that is no number was not measured, and misses every bar.
    fn admits(self, value: f64) -> bool {
        self.at_least.is_none_or(|bar| value >= bar) && self.at_most.is_none_or(|bar| value <= bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(text: &str, value: f64) -> Vec<String> {
        Thresholds::parse(text).unwrap().missed(&[Figure::single("speed", value, "ratio")])
    }

    #[test]
    fn a_figure_on_its_bar_is_admitted() {
        assert!(missed("[speed]\nat_least = 0.9", 0.9).is_empty());
        assert!(missed("[speed]\nat_most = 40", 40.0).is_empty());
        assert!(missed("[other]\nat_most = 40", 41.0).is_empty());
    }

    #[test]
    fn a_figure_that_misses_is_named_with_its_bar() {
        assert_eq!(missed("[speed]\nat_least = 0.9", 0.89), ["speed is 0.890, must be >= 0.9"]);
        assert_eq!(missed("[speed]\nat_most = 40", 40.5), ["speed is 40.500, must be <= 40"]);
        assert_eq!(missed("[speed]\nat_most = 40", f64::NAN).len(), 1);
    }

    #[test]
    fn a_misspelt_bar_is_refused() {
        assert!(Thresholds::parse("[speed]\natleast = 1").is_err());
    }

    #[test]
    fn the_checked_in_file_is_well_formed() {
        let thresholds = Thresholds::built_in().unwrap();
        assert!(thresholds.0.values().all(|bar| bar.at_least.is_some() != bar.at_most.is_some()));
    }
}
