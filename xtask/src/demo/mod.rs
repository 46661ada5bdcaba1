//! `cargo xtask demo`: a real camera-to-viewer call through the XDP relay, and an account of every packet.
//!
//! Camera and viewer are SIP terminals that this project did not write. They live in network namespaces of their
//! own, so the demo touches nothing of the machine's network and leaves nothing behind.

mod capture;
mod clip;
mod gateway;
mod interrupt;
mod measurement;
mod namespace_thread;
mod packet_socket;
mod process;
mod report;
mod rtp_stream;
mod terminal;
mod topology;
mod wire;

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use self::capture::{Capture, Seen};
use self::gateway::{Gateway, Passwords};
use self::interrupt::{sleep, wait_for};
use self::measurement::{Side, flows};
use self::report::Report;
use self::terminal::{Picture, Terminal};
use self::topology::{CAMERA, Topology, VIEWER};
use crate::command::run;
use crate::privilege::{self, Privilege};
use crate::{build, setup};

/// How long each step of the call may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long packets that are on their way may take to arrive, and the last counters to be written.
const SETTLING: Duration = Duration::from_millis(200);
const RELAY_ADDRESSES: &[Ipv4Addr] = &[CAMERA.relay, VIEWER.relay];

/// What to show.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// How long media flows.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
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
        Self {
            seconds: 15,
            json: None,
            prepared: false,
        }
    }

    /// Just long enough for a verdict.
    pub(crate) fn short() -> Self {
        Self {
            seconds: 10,
            ..Self::usual()
        }
    }
}

/// Builds as the user who called, then calls as root.
pub(crate) fn show(options: &Options) -> Result<()> {
    if !options.prepared {
        setup::demo_programs()?;
        build::kernel_halves()?;
        build::user_half(false, &["control"])?;
        if privilege::find() != Privilege::Root {
            return show_as_root(options);
        }
    }
    interrupt::watch();
    let report = call(options)?;
    println!("\n{report}");
    if let Some(file) = &options.json {
        fs::write(file, format!("{:#}\n", report.to_json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let shortcomings = report.shortcomings();
    if shortcomings.is_empty() {
        Ok(())
    } else {
        bail!("the demo fell short: {}", shortcomings.join("; "))
    }
}

fn show_as_root(options: &Options) -> Result<()> {
    let ourselves = env::current_exe().context("cannot find our own program")?;
    let mut command = privilege::elevated(
        ourselves,
        "the demo makes network namespaces and attaches XDP, which",
    )?;
    command.args(["demo", "--prepared", "--seconds", &options.seconds.to_string()]);
    if let Some(file) = &options.json {
        command.arg("--json").arg(file);
    }
    run(&mut command, "the demo's own message is above")
}

/// Sets everything up, calls, measures, and takes everything down again, whatever happens.
fn call(options: &Options) -> Result<Report> {
    let folder = Folder::create()?;
    // Longer than the call, so that the clip does not end before the viewer hangs up.
    let clip = clip::make(&folder.0, options.seconds + 2 * PATIENCE.as_secs())?;
    let topology = Topology::create()?;
    eprintln!(
        "demo: camera {} -- {} relay {} -- {} viewer, each in a network namespace of its own",
        CAMERA.terminal, CAMERA.relay, VIEWER.relay, VIEWER.terminal
    );
    let captures = Captures {
        camera: Capture::start(topology.camera.path(), RELAY_ADDRESSES)?,
        relay: Capture::start(topology.relay.path(), RELAY_ADDRESSES)?,
        viewer: Capture::start(topology.viewer.path(), RELAY_ADDRESSES)?,
    };
    let passwords = Passwords::random()?;
    let mut gateway = Gateway::start(&topology.relay, &passwords, &folder.0)?;
    wait_for("culvert to answer on its admin socket", PATIENCE, || {
        gateway.process.check()?;
        Ok(gateway.status())
    })
    .map_err(|error| anyhow!("{error:#}\n{}", gateway.process.log()))?;
    let sends = Picture::Sends(&clip);
    let camera = Terminal::start(
        &topology.camera,
        &CAMERA,
        &passwords.camera,
        &clip,
        &sends,
        &folder.0,
    )?;
    let receives = Picture::Receives;
    let viewer = Terminal::start(
        &topology.viewer,
        &VIEWER,
        &passwords.viewer,
        &clip,
        &receives,
        &folder.0,
    )?;
    let mut call = Call {
        gateway,
        camera,
        viewer,
        captures,
    };
    call.run(options.seconds)
        .map_err(|error| anyhow!("{error:#}\n{}", call.logs()))
}

/// A folder for the files of this run; it is removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self> {
        let folder = env::temp_dir().join(format!("culvert-demo-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("demo: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// One for each namespace.
struct Captures {
    camera: Capture,
    relay: Capture,
    viewer: Capture,
}

impl Captures {
    fn finish(self) -> Result<()> {
        self.camera.finish()?;
        self.relay.finish()?;
        self.viewer.finish()
    }
}

/// The programs that take part; they end in this order.
struct Call {
    viewer: Terminal,
    camera: Terminal,
    gateway: Gateway,
    captures: Captures,
}

impl Call {
    fn run(&mut self, seconds: u64) -> Result<Report> {
        for (name, capture) in [
            ("camera", &self.captures.camera),
            ("viewer", &self.captures.viewer),
        ] {
            let registered = |seen: &Seen| seen.first(false, |sip| sip.status_for("REGISTER") == Some(200));
            wait_for(&format!("the {name} to register"), PATIENCE, || {
                Ok(capture.look(registered))
            })?;
        }
        let camera = format!("sip:camera@{}", VIEWER.relay);
        eprintln!("demo: both are registered; the viewer calls {camera} for {seconds} s");
        self.viewer.dial(&camera)?;
        let setup_ms = self.wait_for_answer()?;
        sleep(Duration::from_secs(seconds))?;
        let report = self.measure(seconds, setup_ms)?;
        self.viewer.hang_up()?;
        wait_for("the call to end", PATIENCE, || {
            let camera_heard = self
                .captures
                .camera
                .look(|seen| seen.first(false, |sip| sip.is_request("BYE")));
            let is_over = self.gateway.status().is_some_and(|status| status.calls() == 0);
            Ok((camera_heard.is_some() && is_over).then_some(()))
        })?;
        Ok(report)
    }

    /// Milliseconds from the viewer's first INVITE to its 200.
    fn wait_for_answer(&self) -> Result<f64> {
        let wire = &self.captures.viewer;
        let final_status = |seen: &Seen| {
            seen.sip
                .iter()
                .filter(|message| !message.is_outgoing)
                .filter_map(|message| message.sip.status_for("INVITE"))
                .find(|status| *status >= 200 && !matches!(status, 401 | 407))
        };
        let status = wait_for("an answer to the call", PATIENCE, || Ok(wire.look(final_status)))?;
        if status != 200 {
            bail!("the call was answered with {status}");
        }
        let asked = wire.look(|seen| seen.first(true, |sip| sip.is_request("INVITE")));
        let answered = wire.look(|seen| seen.first(false, |sip| sip.status_for("INVITE") == Some(200)));
        let (asked, answered) = asked
            .zip(answered)
            .context("the call's messages were not captured")?;
        Ok((answered - asked) * 1000.0)
    }

    /// Halts both terminals, so that nothing is on its way while wires and counters are read.
    fn measure(&self, seconds: u64, setup_ms: f64) -> Result<Report> {
        self.camera.process.pause();
        self.viewer.process.pause();
        sleep(SETTLING)?;
        let status = self
            .gateway
            .status()
            .context("culvert does not answer any more")?;
        let camera = self.captures.camera.look(Seen::clone);
        let viewer = self.captures.viewer.look(Seen::clone);
        let in_network_stack = self.captures.relay.look(|seen| seen.media.len() as u64);
        self.camera.process.resume();
        self.viewer.process.resume();
        let formats: Vec<_> = viewer
            .sip
            .iter()
            .flat_map(|message| message.sip.payload_formats())
            .collect();
        let (camera, viewer) = (
            Side {
                name: CAMERA.name,
                seen: &camera,
            },
            Side {
                name: VIEWER.name,
                seen: &viewer,
            },
        );
        let mut both = flows(&camera, &viewer, &formats);
        both.extend(flows(&viewer, &camera, &formats));
        Ok(Report {
            call_mode: status.call_mode(),
            seconds,
            setup_ms,
            interfaces: status.interfaces(),
            flows: both,
            legs: status.legs(),
            in_network_stack,
        })
    }

    fn logs(&self) -> String {
        let processes = [&self.gateway.process, &self.camera.process, &self.viewer.process];
        processes.map(process::Process::log).join("\n")
    }
}
