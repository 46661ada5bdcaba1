//! Culvert's bench: load generators, veth topologies, measurement, report.

mod books;
mod bulk;
mod calls;
mod clock;
mod compare;
mod cost;
mod effect;
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
mod options;
mod packet;
mod part;
mod plain_relay;
mod programs;
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

use anyhow::Result;
use clap::Parser;

use part::{Effort, Part};
use report::Report;
use thresholds::Thresholds;

/// Measures Culvert on veth pairs in network namespaces of its own. Takes root, and a machine that does little else.
#[derive(Parser)]
struct Options {
    /// Measure for less than four minutes.
    #[arg(long)]
    quick: bool,
    /// Fail if a figure misses its bar in bench/thresholds.toml. One that does is measured once more, twice as long;
    /// the second measurement counts.
    #[arg(long)]
    check: bool,
    /// Install what is missing of the programs that the relay is compared with (Debian packages).
    #[arg(long)]
    install_peers: bool,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only these parts; all, where none is named.
    #[arg(value_name = "PART", value_enum)]
    parts: Vec<Part>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    machine::check()?;
    if options.install_peers {
        compare::install()?;
    }
    let thresholds = Thresholds::built_in()?;
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let mut report = Report::new(machine::describe());
    for part in Part::ALL.iter().filter(|part| options.parts.is_empty() || options.parts.contains(part)) {
        let mut measured = part.measure(effort)?;
        if options.check && !thresholds.missed(&measured.figures).is_empty() {
            eprintln!("{}: measuring again, twice as long", thresholds.missed(&measured.figures).join("; "));
            measured = part.measure(effort.twice())?;
        }
        report.add(*part, measured);
    }
    print!("{}", report.table(&thresholds));
    if let Some(file) = &options.json {
        report.write_json(file)?;
    }
    let missed = thresholds.missed(report.figures());
    if options.check && !missed.is_empty() {
        eprintln!("bench: missed: {}", missed.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
