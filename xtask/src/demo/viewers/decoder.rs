//! A viewer's real decoder: ffmpeg, which takes RTP from its port and notes a checksum of each picture.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::Namespace;

use super::super::interrupt::wait_for;
use super::super::{PATIENCE, process::Process};
use super::seat::Seat;
use crate::command::run;

/// Checksums of pictures, in their order.
pub(super) type Pictures = Vec<String>;

/// What the clip shows, decoded where it lies.
pub(super) fn decode(clip: &Path) -> Result<Pictures> {
    let checksums = clip.with_extension("framemd5");
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"]).arg(clip);
    run(note(&mut command, &checksums), "ffmpeg's own message is above; it needs its decoder of H.264")?;
    read(&checksums)
}

/// Room for packets while other programs have the processor: a dozen key pictures, where `net.core.rmem_max` allows as much.
const SOCKET_BUFFER_BYTES: &str = "2097152";

/// An empty receiver report, and what ends a stream: RTCP BYE (RFC 3550 section 6.6). A decoder that is ended otherwise forgets
/// the pictures that it has not written yet.
const GOODBYE: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 203, 0, 1, 0, 0, 0, 1];

/// A running decoder.
pub(super) struct Decoder {
    pub(super) process: Process,
    pub(super) seat: Seat,
    checksums: PathBuf,
}

/// A socket as `/proc/net/udp` shows it.
struct SocketState {
    /// Bytes that wait in it.
    waiting: u64,
    /// Packets that found it full.
    refused: u64,
}

impl Decoder {
    /// Starts a decoder; when this returns it can receive.
    pub(super) fn start(namespace: &Namespace, seat: Seat, folder: &Path) -> Result<Self> {
        let named = |extension: &str| folder.join(format!("viewer-{}.{extension}", seat.number));
        let description = named("sdp");
        fs::write(&description, describe(&seat))?;
        let mut command = namespace.command("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-nostats", "-loglevel", "warning"]);
        command.args(["-buffer_size", SOCKET_BUFFER_BYTES]);
        // Pictures come in the order of packets that a single thread decodes; more would only be faster.
        command.args(["-protocol_whitelist", "file,rtp,udp", "-threads", "1", "-i"]).arg(description);
        let checksums = named("framemd5");
        note(&mut command, &checksums);
        let process = Process::start("decoder", command, named("log"))?;
        let mut decoder = Self { process, seat, checksums };
        wait_for("a decoder to open its port", PATIENCE, || {
            decoder.process.check()?;
            decoder.socket(namespace)
        })?;
        Ok(decoder)
    }

    /// Lets it decode what has arrived, says goodbye in the camera's place, and returns what it saw. Fails if it was too slow for
    /// its socket, which says nothing of the relay.
    pub(super) fn finish(&mut self, namespace: &Namespace) -> Result<Pictures> {
        let refused = wait_for("a decoder to read what has arrived", PATIENCE, || {
            let state = self.socket(namespace)?.context("a decoder has closed its port")?;
            Ok((state.waiting == 0).then_some(state.refused))
        })?;
        if refused > 0 {
            bail!(
                "the decoder of viewer {} was too slow for {refused} packets, so the demo has no result; \
                 is the machine overloaded, or `sysctl net.core.rmem_max` below {SOCKET_BUFFER_BYTES}?",
                self.seat.number
            );
        }
        let control = SocketAddrV4::new(*self.seat.address.ip(), self.seat.address.port() + 1);
        let say = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(GOODBYE, control);
        namespace.run(say)?.context("cannot say goodbye to a decoder")?;
        wait_for("a decoder to end", PATIENCE, || Ok(self.process.is_done()?.then_some(())))?;
        read(&self.checksums)
    }

    fn socket(&self, namespace: &Namespace) -> Result<Option<SocketState>> {
        let sockets = namespace.run(|| fs::read_to_string("/proc/thread-self/net/udp"))??;
        Ok(sockets.lines().find_map(|line| socket_state(line, self.seat.address.port())))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // Whoever wants the result has called `finish`; while it waits for packets, ffmpeg does not end when it is asked to.
        self.process.kill();
    }
}

/// Has ffmpeg write checksums of all pictures, each once, whatever its time.
fn note<'a>(command: &'a mut Command, file: &Path) -> &'a mut Command {
    command.args(["-fps_mode", "passthrough", "-y", "-f", "framemd5"]).arg(file)
}

/// The checksums in a file of ffmpeg's: the last field of each line that is no comment.
fn read(file: &Path) -> Result<Pictures> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.rsplit(',').next()).map(|field| field.trim().to_owned()).collect())
}

/// What the decoder is told (RFC 8866). It says nothing of the pictures: all of that must come with them.
fn describe(seat: &Seat) -> String {
    let (address, port) = (seat.address.ip(), seat.address.port());
    format!(
        "v=0\no=- 0 0 IN IP4 {address}\ns=camera\nc=IN IP4 {address}\nt=0 0\n\
         m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1\n"
    )
}

/// Reads a line of `/proc/net/udp`, if it is about the socket on this port: numbers are hexadecimal but for the last, which
/// is what was refused.
fn socket_state(line: &str, port: u16) -> Option<SocketState> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit(':').next()?;
    if u16::from_str_radix(local, 16).ok()? != port {
        return None;
    }
    let waiting = u64::from_str_radix(fields.get(4)?.rsplit(':').next()?, 16).ok()?;
    Some(SocketState { waiting, refused: fields.last()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_port() {
        let line = " 8694: 00000000:1774 00000000:0000 07 00000000:00000900 00:00000000 00000000     0        0 25930 2 \
                    0000000014213cb2 2243";
        let state = socket_state(line, 6004).unwrap();
        assert_eq!((state.waiting, state.refused), (0x900, 2243));
        assert!(socket_state(line, 6005).is_none());
        assert!(
            socket_state("   sl  local_address rem_address   st tx_queue rx_queue drops", 6004).is_none()
        );
    }
}
