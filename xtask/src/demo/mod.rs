//! `cargo xtask demo`: a real camera-to-viewer call through the XDP relay, or one camera that is shown to many viewers, and
//! an account of every packet.
//!
//! Cameras, terminals and decoders are programs that this project did not write. They live in network namespaces of their
//! own, so the demo touches nothing of the machine's network and leaves nothing behind.

mod call;
mod capture;
mod captures;
mod clip;
mod folder;
mod gateway;
mod interrupt;
mod measurement;
mod packet_socket;
mod process;
mod report;
mod rtp_stream;
mod table;
mod terminal;
mod viewers;
mod wire;
mod wires;

use std::env;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::Value;
use testbed::Topology;

use self::call::Call;
use self::captures::Captures;
use self::folder::Folder;
use self::gateway::{Gateway, Passwords};
use self::interrupt::wait_for;
use self::report::Report;
use self::terminal::{Settings, Terminal};
use self::wires::{CAMERA, VIEWER};
use crate::command::run;
use crate::privilege::{self, Privilege};
use crate::{build, setup};

/// How long packets that are on their way may take to arrive, and the last counters to be written.
const SETTLING: Duration = Duration::from_millis(200);
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(15);

const PURPOSE: &str = "the demo, which makes network namespaces and attaches XDP,";

/// What to show.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// How long media flows.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Show one camera to so many viewers instead of a call; at least three of them decode what they get.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(viewers::FEWEST..=viewers::MOST))]
    viewers: Option<u8>,
    /// Write the figures to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Everything is built and installed: set by ourselves when we start ourselves as root.
    #[arg(long, hide = true)]
    prepared: bool,
}

impl Options {
    /// As `cargo xtask demo` without arguments.
    pub(crate) fn usual() -> Self {
        Self { seconds: 15, viewers: None, json: None, prepared: false }
    }

    /// Just long enough for a verdict.
    pub(crate) fn short() -> Self {
        Self { seconds: 10, ..Self::usual() }
    }

    /// The same with one camera and many viewers.
    pub(crate) fn with_viewers(self) -> Self {
        Self { viewers: Some(16), ..self }
    }
}

/// What a demo found: for people as it displays itself, and as this.
trait Outcome: Display {
    /// What is not good enough, in words; empty if all is well.
    fn shortcomings(&self) -> Vec<String>;

    /// The same for programs. The names in `summary` are explained in docs/performance.md.
    fn to_json(&self) -> Value;
}

/// Builds as the user who called, then runs as root.
pub(crate) fn show(options: &Options) -> Result<()> {
    if !options.prepared {
        // Before minutes of building, not after.
        if let Some(viewers) = options.viewers {
            viewers::check(viewers, options.seconds)?;
        }
        privilege::prefix(PURPOSE)?;
        setup::demo_programs()?;
        build::kernel_halves()?;
        match options.viewers {
            None => build::user_half(false, &["control"])?,
            Some(_) => build::example(false, "relay-user", "fan_out")?,
        }
        if privilege::find() != Privilege::Root {
            return show_as_root(options);
        }
    }
    interrupt::watch();
    match options.viewers {
        None => conclude(&call(options)?, options),
        Some(viewers) => conclude(&viewers::watch(viewers, options.seconds)?, options),
    }
}

/// Says what was found; fails if it is not good enough.
fn conclude(report: &impl Outcome, options: &Options) -> Result<()> {
    println!("\n{report}");
    if let Some(file) = &options.json {
        fs::write(file, format!("{:#}\n", report.to_json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let shortcomings = report.shortcomings();
    if shortcomings.is_empty() { Ok(()) } else { bail!("the demo fell short: {}", shortcomings.join("; ")) }
}

fn show_as_root(options: &Options) -> Result<()> {
    let ourselves = env::current_exe().context("cannot find our own program")?;
    let mut command = privilege::elevated(ourselves, PURPOSE)?;
    command.args(["demo", "--prepared", "--seconds", &options.seconds.to_string()]);
    if let Some(viewers) = options.viewers {
        command.args(["--viewers", &viewers.to_string()]);
    }
    if let Some(file) = &options.json {
        command.arg("--json").arg(file);
    }
    // Ctrl-C reaches both of us; the other one takes everything down, and we wait for it.
    interrupt::watch();
    run(&mut command, "the demo's own message is above")
}

/// Sets everything up, calls, measures, and takes everything down again, whatever happens.
fn call(options: &Options) -> Result<Report> {
    let folder = Folder::create()?;
    // Longer than the call, so that the clip does not end before the viewer hangs up.
    let clip = clip::make(folder.path(), options.seconds + 2 * PATIENCE.as_secs())?;
    let topology = Topology::create().context("cannot make network namespaces")?;
    eprintln!(
        "demo: camera {} -- {} relay {} -- {} viewer, each in a network namespace of its own",
        CAMERA.terminal, CAMERA.relay, VIEWER.relay, VIEWER.terminal
    );
    let passwords = Passwords::random()?;
    let captures = Captures::start(&topology)?;
    let gateway = start_gateway(&topology, &passwords, folder.path())?;
    let (sound, picture) = (clip.sound.as_path(), Some(clip.picture.as_path()));
    let camera = Settings { wire: &CAMERA, password: &passwords.camera, sound, picture };
    let viewer = Settings { wire: &VIEWER, password: &passwords.viewer, sound, picture: None };
    let mut call = Call {
        camera: Terminal::start(&topology.camera, &camera, folder.path())?,
        viewer: Terminal::start(&topology.viewer, &viewer, folder.path())?,
        gateway,
        captures,
        topology,
    };
    let report = call.run(options.seconds).map_err(|error| explain(error, &call.logs()))?;
    call.finish()?;
    Ok(report)
}

fn start_gateway(topology: &Topology, passwords: &Passwords, folder: &Path) -> Result<Gateway> {
    let mut gateway = Gateway::start(&topology.relay, passwords, folder)?;
    let answered = wait_for("culvert to answer on its admin socket", PATIENCE, || {
        gateway.process.check()?;
        Ok(gateway.status())
    });
    match answered {
        Ok(_) => Ok(gateway),
        Err(error) => Err(explain(error, &gateway.process.log())),
    }
}

/// Adds the logs to an error, unless the user wanted the end.
fn explain(error: Error, logs: &str) -> Error {
    if interrupt::happened() { error } else { anyhow!("{error:#}\n{logs}") }
}
