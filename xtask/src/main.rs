//! `cargo xtask`: sets up, builds, tests, measures and demonstrates the project.
//!
//! Every command first sets up what it misses, prints each command that it runs, and says what to do when one
//! fails. It builds as the user who called it and elevates only what needs privilege. It must not depend on
//! anything that embeds the kernel half, because it builds before that can.

mod bench;
mod build;
mod ci;
mod command;
mod demo;
mod fuzz;
mod privilege;
mod setup;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sets up, builds, tests, measures and demonstrates Culvert")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, or say exactly what to install: kernel-half toolchain, test and demo programs.
    Setup,
    /// Build the kernel halves, then the user half (which embeds them).
    Build(build::Options),
    /// Run every check: format, lints, documentation, licences, tests (as root where they need it).
    Test(test::Options),
    /// Measure on veth pairs; arguments go to the program `bench`.
    Bench(bench::Options),
    /// Let a SIP viewer call a SIP camera through the relay, or many watch one, and account for every packet.
    Demo(demo::Options),
    /// Joins, leaves, moves, flaps and restarts under traffic, with the books balanced at the end.
    Soak(soak::Options),
    /// Run the fuzz targets, each for a minute; takes a nightly compiler and cargo-fuzz.
    Fuzz(fuzz::Options),
    /// What continuous integration runs: test, then bench with its thresholds, then the demos.
    Ci,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::everything(),
        Task::Build(options) => build::everything(options),
        Task::Test(options) => test::everything(&options),
        Task::Bench(options) => bench::measure(&options),
        Task::Demo(options) => demo::show(&options),
        Task::Soak(options) => soak::soak(options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Ci => ci::everything(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
