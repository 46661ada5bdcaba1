//! The result: a plain table for people, JSON for programs.

mod chart;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::figure::Figure;
use crate::measured::Measured;
use crate::part::Part;
use crate::thresholds::Thresholds;

pub(crate) use chart::{Axis, Bar, Chart, Line, Scale, Whose};

/// Everything that was measured.
pub(crate) struct Report {
    machine: String,
    parts: Vec<(Part, Measured)>,
}

impl Report {
    /// An empty one; `machine` says in a line what it was measured on.
    pub(crate) fn new(machine: String) -> Self {
        Self { machine, parts: Vec::new() }
    }

    /// Adds what a part yielded.
    pub(crate) fn add(&mut self, part: Part, measured: impl Into<Measured>) {
        self.parts.push((part, measured.into()));
    }

    /// All figures.
    pub(crate) fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.parts.iter().flat_map(|(_, measured)| &measured.figures)
    }

    /// The table.
    pub(crate) fn table(&self, thresholds: &Thresholds) -> String {
        let mut table = format!("{}\nmedians; the quartiles of the rounds in brackets\n", self.machine);
        for (part, measured) in &self.parts {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "\n{}", part.title());
            for figure in &measured.figures {
                let spread =
                    figure.quartiles.map(|(low, high)| format!("[{}, {}]", number(low), number(high)));
                let _ = writeln!(
                    table,
                    "  {:<34} {:>12} {:<26} {:<10} {}",
                    figure.name,
                    number(figure.value),
                    spread.unwrap_or_default(),
                    figure.unit,
                    thresholds.words(&figure.name)
                );
            }
            for note in &measured.notes {
                let _ = writeln!(table, "  {note}");
            }
        }
        table
    }

    /// Writes `summary` (figures by name), `quartiles` (where there are any), `units`, and `machine`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        let by_name = |value: &dyn Fn(&Figure) -> Option<Value>| -> Map<String, Value> {
            self.figures().filter_map(|figure| Some((figure.name.clone(), value(figure)?))).collect()
        };
        let report = json!({
            "machine": self.machine,
            "summary": by_name(&|figure| Some(json!(figure.value))),
            "quartiles": by_name(&|figure| figure.quartiles.map(|quartiles| json!(quartiles))),
            "units": by_name(&|figure| Some(json!(figure.unit))),
        });
        fs::write(file, format!("{report:#}\n")).with_context(|| format!("writing {}", file.display()))
    }
}

/// Four significant digits, or all that a large number has before the point.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("a machine".into());
        let sample = [0.5, 0.75, 1.0].into_iter().collect();
        report.add(Part::Forwarding, vec![Figure::median("forward_1", &sample, "ratio")]);
        report
    }

    #[test]
    fn the_table_names_machine_figure_spread_and_bar() {
        let bars = Thresholds::parse("[forward_1]\nat_least = 0.5").unwrap();
        let table = report().table(&bars);
        for part in ["a machine", "forward_1 ", "0.750", "[0.625, 0.875]", ">= 0.5"] {
            assert!(table.contains(part), "{part} in {table}");
        }
    }

    #[test]
    fn the_summary_maps_names_to_numbers() {
        let folder = std::env::temp_dir().join(format!("culvert-bench-{}", std::process::id()));
        report().write_json(&folder).unwrap();
        let read: Value = serde_json::from_str(&fs::read_to_string(&folder).unwrap()).unwrap();
        fs::remove_file(&folder).unwrap();
        assert_eq!(read["summary"]["forward_1"], json!(0.75));
        assert_eq!(read["quartiles"]["forward_1"], json!([0.625, 0.875]));
    }
}
