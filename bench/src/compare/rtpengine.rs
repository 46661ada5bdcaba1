//! rtpengine in user space: calls set up over its control protocol "ng", as a SIP proxy would.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path as FilePath;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::Topology;

use super::ng::{Client, Command};
use super::processes::Processes;
use super::stream::{Path, Stream};
use super::subject::{OWN_CPU, Running};

/// Where it takes commands, in the relay's namespace.
const CONTROL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 2223);
/// Where its kernel module would be.
const KERNEL_MODULE: &str = "/proc/rtpengine";

/// The running daemon and its calls.
pub(crate) struct Rtpengine {
    streams: Vec<Stream>,
    client: Client,
    processes: Processes,
    /// Distinguishes the calls of before a recovery from those after it.
    generation: u32,
    _folder: TempDir,
}

/// Whether its kernel module is loaded, which would forward in the kernel. What is measured is the user-space half.
pub(crate) fn has_kernel_module() -> bool {
    FilePath::new(KERNEL_MODULE).exists()
}

/// Starts it and sets a call up for each stream.
pub(crate) fn start(topology: &Topology, streams: u32) -> Result<Rtpengine> {
    let folder = tempfile::tempdir()?;
    let mut command = topology.relay.command("taskset");
    command.args(["--cpu-list", &OWN_CPU.to_string(), "rtpengine", "--config-file=none", "--foreground"]);
    command.args(["--log-stderr", "--log-level=3", "--table=-1", "--num-threads=1", "--timeout=3600"]);
    command.arg(format!("--interface=camera/{}", Topology::CAMERA.relay));
    command.arg(format!("--interface=viewer/{}", Topology::VIEWER.relay));
    command.arg(format!("--listen-ng={}:{}", CONTROL.0, CONTROL.1));
    command.args(["--port-min=10000", "--port-max=59999"]);
    command.stdout(Stdio::null()).stderr(File::create(folder.path().join("log"))?);
    let mut processes = Processes::default();
    processes.push(command.spawn().context("starting rtpengine")?);
    let client = topology.relay.run(|| Client::connect(SocketAddr::from(CONTROL)))??;
    let mut running = Rtpengine { streams: Vec::new(), client, processes, generation: 0, _folder: folder };
    running.call_all(streams)?;
    Ok(running)
}

impl Rtpengine {
    fn call_all(&mut self, streams: u32) -> Result<()> {
        self.streams = (0..streams).map(|number| self.call(number)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Sets a call up; returns the ports that rtpengine chose.
    fn call(&self, number: u32) -> Result<Stream> {
        let told = Stream::relayed(number);
        let call = self.name(number);
        let command = |name, to_tag, description, direction| Command {
            name,
            call: &call,
            from_tag: "camera",
            to_tag,
            description,
            direction,
        };
        let camera = description(told.sent.from);
        let offer = command("offer", None, Some(&camera), ["camera", "viewer"]);
        let towards_viewer = self.client.ask(&offer)?.endpoint()?;
        let viewer = description(told.arrives.to);
        let answer = command("answer", Some("viewer"), Some(&viewer), ["viewer", "camera"]);
        let towards_camera = self.client.ask(&answer)?.endpoint()?;
        ensure!(
            towards_viewer.ip() == IpAddr::V4(Topology::VIEWER.relay)
                && towards_camera.ip() == IpAddr::V4(Topology::CAMERA.relay),
            "rtpengine offers {towards_viewer} to the viewer and {towards_camera} to the camera"
        );
        Ok(Stream {
            sent: Path { to: towards_camera, ..told.sent },
            arrives: Path { from: towards_viewer, ..told.arrives },
        })
    }

    fn name(&self, number: u32) -> String {
        format!("call-{}-{number}", self.generation)
    }
}

impl Running for Rtpengine {
    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn threads(&self) -> Vec<i32> {
        self.processes.threads()
    }

    /// It gives a stream up for good when too many of its packets wait: every call is ended and set up anew.
    fn recover(&mut self) -> Result<()> {
        let streams = u32::try_from(self.streams.len())?;
        for number in 0..streams {
            let call = self.name(number);
            self.client.ask(&Command {
                name: "delete",
                call: &call,
                from_tag: "camera",
                to_tag: None,
                description: None,
                direction: ["camera", "viewer"],
            })?;
        }
        self.generation += 1;
        self.call_all(streams)
    }
}

/// A session description (RFC 8866) of one stream of video.
fn description(end: SocketAddr) -> String {
    let address = end.ip();
    [
        "v=0".to_owned(),
        format!("o=- 1 1 IN IP4 {address}"),
        "s=-".to_owned(),
        format!("c=IN IP4 {address}"),
        "t=0 0".to_owned(),
        format!("m=video {} RTP/AVP 96", end.port()),
        "a=rtpmap:96 H264/90000".to_owned(),
        "a=sendrecv".to_owned(),
        String::new(),
    ]
    .join("\r\n")
}
