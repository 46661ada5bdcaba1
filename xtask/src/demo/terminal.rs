//! A SIP terminal that this project did not write: baresip, as camera or as viewer.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Namespace, Topology};

use super::clip::{FRAME_RATE, FRAME_SIZE};
use super::process::Process;
use super::wires::Wire;

/// Where a terminal takes commands, inside its namespace.
const CONTROL: &str = "127.0.0.1:4444";
const PATIENCE: Duration = Duration::from_secs(2);
/// Where packages put baresip's modules.
const MODULE_FOLDERS: &[&str] =
    &["/usr/lib/baresip/modules", "/usr/lib64/baresip/modules", "/usr/local/lib/baresip/modules"];

/// What makes a terminal the camera or the viewer.
pub(super) struct Settings<'a> {
    pub(super) wire: &'a Wire,
    pub(super) password: &'a str,
    /// What its microphone hears.
    pub(super) sound: &'a Path,
    /// What its lens sees; a terminal without one sends a blank picture.
    pub(super) picture: Option<&'a Path>,
}

/// A running terminal.
pub(super) struct Terminal {
    pub(super) process: Process,
}

impl Terminal {
    /// Starts a terminal that registers at the relay's address on its wire and answers every call.
    pub(super) fn start(namespace: &Namespace, settings: &Settings<'_>, folder: &Path) -> Result<Self> {
        let wire = settings.wire;
        let folder = folder.join(wire.name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join("config"), configuration(settings, modules()?))?;
        let account = format!(
            "<sip:{}@{};transport=udp>;auth_pass={};regint=60;answermode=auto;audio_codecs=pcmu;\
             video_codecs=h264\n",
            wire.name, wire.relay, settings.password
        );
        fs::write(folder.join("accounts"), account)?;
        fs::write(folder.join("contacts"), "")?;
        let mut command = namespace.command("baresip");
        command.arg("-f").arg(&folder);
        let process = Process::start(wire.name, command, folder.join("log"))?;
        Ok(Self { process })
    }

    /// Calls an address.
    pub(super) fn dial(&self, namespace: &Namespace, address: &str) -> Result<()> {
        command(namespace, &format!(r#"{{"command":"dial","params":"{address}"}}"#))
    }

    /// Ends the call.
    pub(super) fn hang_up(&self, namespace: &Namespace) -> Result<()> {
        command(namespace, r#"{"command":"hangup"}"#)
    }
}

/// Hands over a command as baresip's `ctrl_tcp` takes it: JSON as a netstring.
fn command(namespace: &Namespace, json: &str) -> Result<()> {
    let deliver = || {
        let mut connection = TcpStream::connect(CONTROL)?;
        connection.set_write_timeout(Some(PATIENCE))?;
        write!(connection, "{}:{json},", json.len())
    };
    namespace.run(deliver)?.context("the terminal does not take commands")
}

fn modules() -> Result<&'static str> {
    let found = MODULE_FOLDERS.iter().find(|folder| Path::new(folder).is_dir());
    found.copied().with_context(|| format!("baresip's modules are in none of {}", MODULE_FOLDERS.join(", ")))
}

fn configuration(settings: &Settings<'_>, modules: &str) -> String {
    let mut lines = vec![
        "poll_method epoll".to_owned(),
        format!("module_path {modules}"),
        format!("sip_listen {}:5060", settings.wire.terminal),
        format!("net_interface {}", Topology::TERMINAL_DEVICE),
        "rtp_ports 20000-20100".to_owned(),
        "module g711.so".to_owned(),
        "module aufile.so".to_owned(),
        "module avcodec.so".to_owned(),
        "module_app account.so".to_owned(),
        "module_app menu.so".to_owned(),
        "module_app ctrl_tcp.so".to_owned(),
        format!("ctrl_tcp_listen {CONTROL}"),
        format!("audio_source aufile,{}", settings.sound.display()),
        "audio_player aufile,/dev/null".to_owned(),
        "module fakevideo.so".to_owned(),
        "video_display fakevideo,nil".to_owned(),
        "statmode_default off".to_owned(),
    ];
    match settings.picture {
        Some(picture) => lines.extend([
            "module avformat.so".to_owned(),
            format!("video_source avformat,{}", picture.display()),
            format!("video_size {FRAME_SIZE}"),
            format!("video_fps {FRAME_RATE}"),
            "video_bitrate 500000".to_owned(),
        ]),
        None => lines.push("video_source fakevideo,nil".to_owned()),
    }
    lines.push(String::new());
    lines.join("\n")
}
