//! The camera's picture and sound, drawn and encoded by ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::run;

/// Pictures in a second.
pub(super) const FRAME_RATE: u32 = 25;
/// Width and height in pixels, as baresip writes it.
pub(super) const FRAME_SIZE: &str = "640x360";

/// Files that a terminal plays.
pub(super) struct Clip {
    pub(super) picture: PathBuf,
    pub(super) sound: PathBuf,
}

/// Makes a clip of so many seconds: a moving test pattern, and a tone for G.711.
pub(super) fn make(folder: &Path, seconds: u64) -> Result<Clip> {
    let clip = Clip { picture: folder.join("picture.mp4"), sound: folder.join("sound.wav") };
    let picture = format!("testsrc2=size={FRAME_SIZE}:rate={FRAME_RATE}:duration={seconds}");
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
    encode(&picture, &video, &clip.picture)?;
    let sound = format!("sine=frequency=440:sample_rate=8000:duration={seconds}");
    encode(&sound, &["-c:a", "pcm_s16le"], &clip.sound)?;
    Ok(clip)
}

/// Has ffmpeg draw `source`, which is in its language of filters, and encode it.
pub(super) fn encode(source: &str, codec: &[&str], file: &Path) -> Result<()> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source]);
    run(ffmpeg.args(codec).arg(file), "ffmpeg's own message is above; it needs libx264 and the lavfi device")
}
