//! The camera: a clip that ffmpeg encodes before, and sends as RTP at the pace of its pictures.

use std::path::{Path, PathBuf};

use anyhow::Result;
use testbed::Namespace;

use super::super::clip::{FRAME_RATE, encode};
use super::super::process::Process;
use super::seat::{ENTRY, LENS};

/// RTP with its header; with IP and UDP it fits every path.
const PACKET_SIZE: u16 = 1200;
/// Seconds from one key picture to the next.
const KEY_PICTURE_EVERY: u32 = 1;

/// Makes a clip of so many seconds that looks like a fixed camera's: a rough wall that never moves, for key pictures of about
/// 85 KB (more than 70 packets back to back), and a screen in front of it that does, for about 2 KB a picture in between. Each
/// key picture comes with its parameter sets, so that a decoder can start at any of them.
pub(super) fn clip(folder: &Path, seconds: u64) -> Result<PathBuf> {
    let clip = folder.join("camera.mp4");
    let scene = format!(
        "color=gray:size=1280x720:rate={FRAME_RATE}:duration={seconds},noise=alls=6[wall];\
         testsrc2=size=320x180:rate={FRAME_RATE}:duration={seconds}[screen];[wall][screen]overlay=x=480:y=270"
    );
    let distance = (FRAME_RATE * KEY_PICTURE_EVERY).to_string();
    let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"];
    let pictures = ["-qp", "26", "-g", &distance, "-keyint_min", &distance, "-sc_threshold", "0"];
    let parameter_sets = ["-x264-params", "repeat-headers=1"];
    encode(&scene, &[codec.as_slice(), &pictures, &parameter_sets].concat(), &clip)?;
    Ok(clip)
}

/// Sends the clip to the relay, once. RTP only: the camera's RTCP would go to a port that the relay does not serve here.
pub(super) fn start(namespace: &Namespace, clip: &Path, folder: &Path) -> Result<Process> {
    let mut command = namespace.command("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-re", "-i"]).arg(clip);
    command.args(["-c", "copy", "-f", "rtp", "-rtpflags", "skip_rtcp"]);
    command.arg(format!("rtp://{ENTRY}?localrtpport={}&pkt_size={PACKET_SIZE}", LENS.port()));
    Process::start("camera", command, folder.join("camera.log"))
}
