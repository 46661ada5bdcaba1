//! The daemon's side of `culvert tap`: frames of a leg become a capture, until somebody or something ends it.

use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use relay_user::LegId;
use relay_user::tap::{Tap, TapError, TapFrame, pcapng};
use tokio::sync::{mpsc, oneshot};

use super::media::Plane;
use crate::admin::{Answer, Capture, Reply};

/// Parts of a capture that wait for a slow reader; what does not fit is lost in the tap, and counted there.
const CHUNKS: usize = 16;

/// A part of a capture is sent when it has grown to so many bytes, or when no frame is waiting.
const CHUNK: usize = 64 << 10;

/// When a capture ends by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) packets: Option<u64>,
    pub(super) seconds: Option<u64>,
}

/// Opens a tap, or says why not.
pub(super) fn start(plane: Option<Plane>, leg: &str, limits: Limits) -> Answer {
    let Some(plane) = plane else {
        return refused("there is no [relay] in the configuration, so no leg either");
    };
    let leg: LegId = match leg.parse() {
        Ok(leg) => leg,
        Err(error) => return no_leg(&error),
    };
    let tap = match plane.relay.tap(leg) {
        Ok(tap) => tap,
        Err(error @ TapError::NoLeg(_)) => return no_leg(&error),
        Err(error) => return refused(error),
    };
    let remote = plane.relay.statistics(leg).and_then(|statistics| statistics.remote);
    let remote = remote.map_or_else(|| "unknown".to_owned(), |remote| remote.to_string());
    let about = format!("leg {leg}, remote side {remote}; inbound is from there, outbound towards it");
    let (chunks, capture) = mpsc::channel(CHUNKS);
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = capture_to(tap, &about, limits, chunks, stopped).await {
            tracing::debug!(%leg, %error, "a capture ended early");
        }
    });
    Answer::Capture(Capture { chunks: capture, stop })
}

/// Writes the capture until a limit, the end of the leg, or whoever asked says that it is enough.
async fn capture_to(
    mut tap: Tap,
    about: &str,
    limits: Limits,
    chunks: mpsc::Sender<Bytes>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut file = pcapng::Writer::new(Vec::new(), about)?;
    let mut left = limits.packets.unwrap_or(u64::MAX);
    let mut seen = 0;
    let mut end = std::pin::pin!(sleep(limits.seconds));
    flush(&mut file, &chunks).await?;
    while left > 0 {
        let frame = tokio::select! {
            frame = tap.next() => frame,
            _ = &mut stopped => None,
            () = &mut end => None,
        };
        let Some(mut frame) = frame else { break };
        loop {
            write(&mut file, &frame)?;
            seen += 1;
            left -= 1;
            if left == 0 || file.get_mut().len() >= CHUNK {
                break;
            }
            match tap.try_next() {
                Some(next) => frame = next,
                None => break,
            }
        }
        flush(&mut file, &chunks).await?;
    }
    let lost = tap.lost();
    file.statistics(SystemTime::now(), seen + lost, lost)?;
    flush(&mut file, &chunks).await
}

fn write(file: &mut pcapng::Writer<Vec<u8>>, frame: &TapFrame) -> io::Result<()> {
    file.packet(&frame.interface, frame.direction, frame.time, &frame.bytes, frame.length)
}

async fn flush(file: &mut pcapng::Writer<Vec<u8>>, chunks: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let chunk = Bytes::from(std::mem::take(file.get_mut()));
    chunks.send(chunk).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

async fn sleep(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

fn no_leg(error: &dyn std::error::Error) -> Answer {
    Answer::Reply(Reply::NoSuchLeg { message: error.to_string() })
}

fn refused(why: impl std::fmt::Display) -> Answer {
    Answer::Reply(Reply::Refused { message: why.to_string() })
}
