//! `cargo xtask test`: every check that a change must pass, as a table of steps.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{cargo, output, run};
use crate::workspace::{self, KERNEL_CRATES};
use crate::{build, demo, privilege, setup, soak};

/// Which steps to run.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// Run only this step (and the build, which all need).
    #[arg(long, value_name = "NAME", value_parser = STEPS.map(|step| step.name))]
    only: Option<String>,
    /// Leave this step out.
    #[arg(long, value_name = "NAME", value_parser = STEPS.map(|step| step.name))]
    except: Vec<String>,
}

impl Options {
    /// Every step but the demo.
    pub(crate) fn without_demo() -> Self {
        Self { only: None, except: vec!["demo".to_owned()] }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
            && !self.except.iter().any(|except| except == name)
    }
}

/// One kind of check.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    check: fn() -> Result<()>,
}

const STEPS: [Step; 7] = [
    Step { name: "format", check: format },
    Step { name: "lint", check: lint },
    Step { name: "documentation", check: documentation },
    Step { name: "tests", check: tests },
    Step { name: "soak", check: short_soak },
    Step { name: "dependencies", check: dependencies },
    Step { name: "demo", check: short_demo },
];

/// Runs the steps, all of them even when one fails, and ends with a table.
pub(crate) fn everything(options: &Options) -> Result<()> {
    build::kernel_halves()?;
    let mut failed = Vec::new();
    let mut table = Vec::new();
    for step in STEPS.iter().filter(|step| options.wants(step.name)) {
        eprintln!("\n== {}", step.name);
        let start = Instant::now();
        let result = (step.check)();
        let verdict = match result {
            Ok(()) => "passed".to_owned(),
            Err(error) => {
                eprintln!("{error:#}");
                failed.push(step.name);
                format!("FAILED; run it alone: cargo xtask test --only {}", step.name)
            }
        };
        table.push((step.name, start.elapsed(), verdict));
    }
    print_table(&table);
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn print_table(table: &[(&str, Duration, String)]) {
    eprintln!();
    for (name, time, verdict) in table {
        eprintln!("{name:<14} {:>7.1} s  {verdict}", time.as_secs_f64());
    }
}

fn format() -> Result<()> {
    let hint = "run `cargo fmt --all` (in the folder of the kernel crate, if it is one)";
    run(cargo().args(["fmt", "--all", "--check"]), hint)?;
    for kernel_crate in KERNEL_CRATES {
        run(cargo().current_dir(kernel_crate.path()).args(["fmt", "--check"]), hint)?;
    }
    run(cargo().current_dir(workspace::fuzz()).args(["fmt", "--check"]), hint)
}

fn lint() -> Result<()> {
    setup::test_programs()?;
    let hint = "fix the cause; an exception is written as #[expect(lint, reason = \"…\")]";
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]), hint)?;
    let toolchain = setup::kernel_toolchain()?;
    for kernel_crate in KERNEL_CRATES {
        run(toolchain.clippy(&kernel_crate.path()).args(["--", "-D", "warnings"]), hint)?;
    }
    run(fuzz_targets().args(["clippy", "--locked", "--", "-D", "warnings"]), hint)
}

/// `cargo` for the fuzz targets, and for what the crates have only for them. Nothing is linked, so libFuzzer is not built:
/// the name of a library in its place is enough.
fn fuzz_targets() -> Command {
    let target = workspace::fuzz_target();
    let mut command = cargo();
    command.current_dir(workspace::fuzz()).env("RUSTFLAGS", "--cfg fuzzing");
    command.env("CUSTOM_LIBFUZZER_PATH", target.join("libfuzzer.a")).env("CARGO_TARGET_DIR", target);
    command
}

fn documentation() -> Result<()> {
    // It is for people who work on the project, so it holds private items, and links to them are no mistake.
    const FLAGS: &str = "-D warnings -A rustdoc::private-intra-doc-links";
    run(
        cargo().env("RUSTDOCFLAGS", FLAGS).args([
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]),
        "most often: a link in a comment to something that was renamed",
    )
}

/// Whether the lock files fit the manifests; licences, banned crates, and where crates come from (`deny.toml`).
fn dependencies() -> Result<()> {
    let stale = "commit the Cargo.lock that a build leaves";
    let fetch = ["fetch", "--locked", "--quiet"];
    run(cargo().args(fetch), stale)?;
    for kernel_crate in KERNEL_CRATES {
        run(cargo().current_dir(kernel_crate.path()).args(fetch), stale)?;
    }
    run(cargo().current_dir(workspace::fuzz()).args(fetch), stale)?;
    let checker = setup::dependency_checker()?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&checker);
        command.current_dir(workspace::root()).args(arguments);
        command
    };
    let mut checks = vec!["check", "licenses", "bans", "sources"];
    if output(&mut deny(&["fetch", "db"])).is_some() {
        checks.push("advisories");
    } else {
        eprintln!("known vulnerabilities are not checked: the RustSec database cannot be reached");
    }
    run(&mut deny(&checks), "what is allowed, and why, is in deny.toml")
}

/// All tests, property tests among them. Built as the user who called, run as root: many load XDP programs or make
/// network namespaces.
fn tests() -> Result<()> {
    setup::test_programs()?;
    let hint = "the failed test's name is above; run it alone, as root, with `cargo test NAME`";
    let runner = privilege::prefix("running the tests")?.join(" ");
    let with_runner = |mut command: Command| {
        if !runner.is_empty() {
            command.env(runner_variable(), &runner);
        }
        command
    };
    if has_nextest() {
        // nextest runs no examples of the documentation.
        run(cargo().args(["test", "--workspace", "--doc"]), hint)?;
        run(with_runner(cargo()).args(["nextest", "run", "--workspace"]), hint)
    } else {
        run(with_runner(cargo()).args(["test", "--workspace"]), hint)
    }
}

/// The soak in its short form.
fn short_soak() -> Result<()> {
    soak::soak(soak::Options::short())
}

/// The demos in their short form.
fn short_demo() -> Result<()> {
    demo::show(&demo::Options::short())?;
    demo::show(&demo::Options::short().with_viewers())
}

fn has_nextest() -> bool {
    output(cargo().args(["nextest", "--version"])).is_some()
}

/// The variable that names the program which cargo starts test binaries with.
fn runner_variable() -> String {
    format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH.to_uppercase())
}
