//! Culvert's bench: load generators, veth topologies, measurement, report.

mod baseline;
mod books;
mod bulk;
mod calls;
mod clock;
mod compare;
mod cost;
mod effect;
mod effort;
mod fan_out;
mod figure;
#[cfg(test)]
#[path = "../ebpf/src/follow.rs"]
mod follow;
mod forwarding;
mod gateway;
mod generator;
mod holder;
mod lane;
mod latency;
mod machine;
mod measured;
mod names;
mod options;
mod packet;
mod part;
mod plain_relay;
mod programs;
mod progress;
mod punts;
#[expect(unreachable_pub, reason = "the kernel half's own file")]
#[path = "../ebpf/src/records.rs"]
mod records;
mod replay;
mod report;
mod restarts;
mod sample;
mod sipp;
mod state_folder;
mod subject;
mod thresholds;
mod treatment;
mod user;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;

use baseline::{Baseline, largest_difference};
use effort::Effort;
use figure::Figure;
use part::Part;
use report::{Origin, Report, SCHEMA};
use thresholds::Thresholds;

/// Measures Culvert on veth pairs in network namespaces of its own. Takes root, and a machine that does little else.
#[derive(Parser)]
struct Options {
    /// Measure for three and a half minutes, less thoroughly.
    #[arg(long)]
    quick: bool,
    /// Fail if a figure misses its bar in bench/thresholds.toml. One that does is measured once more, twice as long;
    /// the second measurement counts.
    #[arg(long)]
    check: bool,
    /// Install what is missing of the programs that the relay is compared with (Debian packages).
    #[arg(long)]
    install_peers: bool,
    /// Measure everything so many times, and tell how far the runs' ratios are apart. The last run is reported.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    repeat: u32,
    /// Tell which ratios differ from those of an earlier run, by what `--json` wrote then.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the schema of the JSON file, and measure nothing.
    #[arg(long)]
    schema: bool,
    /// Measure only these parts; all, where none is named.
    #[arg(value_name = "PART", value_enum)]
    parts: Vec<Part>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.schema {
        print!("{SCHEMA}");
        return Ok(ExitCode::SUCCESS);
    }
    machine::check()?;
    if options.install_peers {
        compare::install()?;
    }
    let thresholds = Thresholds::built_in()?;
    let baseline = options.baseline.as_deref().map(Baseline::read).transpose()?;
    let report = measure(&options, &thresholds)?;
    print!("{}", report.table(&thresholds));
    if let Some(file) = &options.json {
        report.write_json(file)?;
    }
    if let Some(file) = &options.html {
        report.write_html(file, &thresholds)?;
    }
    for change in baseline.iter().flat_map(|baseline| baseline.changes(report.figures())) {
        eprintln!("bench: changed since the baseline: {change}");
    }
    let unexplained = names::unexplained(report.figures());
    if options.check && !unexplained.is_empty() {
        eprintln!("bench: docs/performance.md does not explain {}", unexplained.join(", "));
        return Ok(ExitCode::FAILURE);
    }
    let missed = thresholds.missed(report.figures());
    if options.check && !missed.is_empty() {
        eprintln!("bench: missed: {}", missed.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures as often as is asked for; returns the last report.
fn measure(options: &Options, thresholds: &Thresholds) -> Result<Report> {
    let mut earlier: Vec<Vec<Figure>> = Vec::new();
    loop {
        let start = Instant::now();
        let (mut report, again) = measure_once(options, thresholds)?;
        let figures: Vec<_> = report.figures().cloned().collect();
        if u32::try_from(earlier.len())? + 1 < options.repeat {
            earlier.push(figures);
            continue;
        }
        let mut of_run = Vec::new();
        if options.quick && options.parts.is_empty() {
            let once = start.elapsed().saturating_sub(again);
            of_run.push(Figure::single("quick_s", once.as_secs_f64(), "s"));
        }
        let differences = earlier.iter().filter_map(|earlier| largest_difference(earlier, &figures));
        if let Some((percent, name)) = differences.max_by(|a, b| a.0.total_cmp(&b.0)) {
            eprintln!("bench: {name} differs most from run to run: {percent:.1} %");
            of_run.push(Figure::single("repeatability_percent", percent, "percent"));
        }
        report.add_of_run(of_run);
        return Ok(report);
    }
}

/// Measures every part that is asked for. Returns how long parts took that were measured again, too.
fn measure_once(options: &Options, thresholds: &Thresholds) -> Result<(Report, Duration)> {
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let (mut report, mut again) = (Report::new(Origin::here()), Duration::ZERO);
    for part in Part::ALL.iter().filter(|part| options.parts.is_empty() || options.parts.contains(part)) {
        let mut measured = part.measure(effort)?;
        if options.check && !thresholds.missed(&measured.figures).is_empty() {
            eprintln!("{}: measuring again, twice as long", thresholds.missed(&measured.figures).join("; "));
            let start = Instant::now();
            measured = part.measure(effort.twice())?;
            again += start.elapsed();
        }
        report.add(*part, measured);
    }
    Ok((report, again))
}
