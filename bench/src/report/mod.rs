//! The result: a plain table for people, JSON for programs.

mod chart;
mod html;
mod origin;
mod svg;

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
pub(crate) use origin::Origin;

/// What the JSON report holds (JSON Schema, draft 2020-12).
pub(crate) const SCHEMA: &str = include_str!("../../../docs/bench.schema.json");

/// The title of figures of the run as a whole.
const OF_RUN: &str = "the run as a whole";

/// Everything that was measured.
pub(crate) struct Report {
    origin: Origin,
    parts: Vec<(Part, Measured)>,
    /// Figures of the run as a whole.
    of_run: Vec<Figure>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, parts: Vec::new(), of_run: Vec::new() }
    }

    /// Adds what a part yielded.
    pub(crate) fn add(&mut self, part: Part, measured: impl Into<Measured>) {
        self.parts.push((part, measured.into()));
    }

    /// Adds figures of the run as a whole.
    pub(crate) fn add_of_run(&mut self, figures: Vec<Figure>) {
        self.of_run.extend(figures);
    }

    /// All figures.
    pub(crate) fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.parts.iter().flat_map(|(_, measured)| &measured.figures).chain(&self.of_run)
    }

    /// The table.
    pub(crate) fn table(&self, thresholds: &Thresholds) -> String {
        let mut table = format!(
            "{}, commit {}\nmedians; the quartiles of the rounds in brackets\n",
            self.origin.machine, self.origin.commit
        );
        for (part, measured) in &self.parts {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "\n{}", part.title());
            measured.figures.iter().for_each(|figure| table += &row(figure, thresholds));
            for note in measured.notes.iter().chain(&measured.behind) {
                let _ = writeln!(table, "  {note}");
            }
        }
        if !self.of_run.is_empty() {
            let _ = writeln!(table, "\n{OF_RUN}");
            self.of_run.iter().for_each(|figure| table += &row(figure, thresholds));
        }
        table
    }

    /// Writes the page for people.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_html(&self, file: &Path, thresholds: &Thresholds) -> Result<()> {
        fs::write(file, html::page(self, thresholds)).with_context(|| format!("writing {}", file.display()))
    }

    /// Writes what [`SCHEMA`] describes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        let by_name = |value: &dyn Fn(&Figure) -> Option<Value>| -> Map<String, Value> {
            self.figures().filter_map(|figure| Some((figure.name.clone(), value(figure)?))).collect()
        };
        let report = json!({
            "machine": self.origin.machine,
            "origin": self.origin.json(),
            "notes": self.parts.iter().flat_map(|(_, measured)| &measured.notes).collect::<Vec<_>>(),
            "behind": self.parts.iter().flat_map(|(_, measured)| &measured.behind).collect::<Vec<_>>(),
            "summary": by_name(&|figure| Some(json!(figure.value))),
            "quartiles": by_name(&|figure| figure.quartiles.map(|quartiles| json!(quartiles))),
            "units": by_name(&|figure| Some(json!(figure.unit))),
        });
        fs::write(file, format!("{report:#}\n")).with_context(|| format!("writing {}", file.display()))
    }
}

/// A line of the table.
fn row(figure: &Figure, thresholds: &Thresholds) -> String {
    let spread = figure.quartiles.map(|(low, high)| format!("[{}, {}]", number(low), number(high)));
    format!(
        "  {:<34} {:>12} {:<26} {:<10} {}\n",
        figure.name,
        number(figure.value),
        spread.unwrap_or_default(),
        figure.unit,
        thresholds.words(&figure.name)
    )
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

    pub(super) fn origin() -> Origin {
        Origin {
            machine: "a machine".into(),
            commit: "abc".into(),
            versions: vec![("nft", "1.0".into())],
            command: "cargo xtask bench".into(),
            started: 0,
        }
    }

    fn report() -> Report {
        let mut report = Report::new(origin());
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

    #[test]
    fn the_schema_names_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.json");
        report().write_json(&file).unwrap();
        let written: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let keys = |value: &Map<String, Value>| value.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&written), keys(schema["properties"].as_object().unwrap()));
        let origin = written["origin"].as_object().unwrap();
        assert_eq!(keys(origin), keys(schema["properties"]["origin"]["properties"].as_object().unwrap()));
    }
}
