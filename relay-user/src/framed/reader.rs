//! Reads one connection, and sends what it carries on into the relay.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Counts;
use super::deframer::{Deframer, LONGEST, Next};
use super::outlet::Outlet;

/// Bytes that are read at a time; more where a packet is longer.
const ROOM: usize = 32 * 1024;
/// Bytes between two packets that are no packet: this is no RTP, or nothing of it can be found any more.
const MOST_RUBBISH: u64 = 1 << 20;

/// Reads until the connection ends.
///
/// # Errors
/// The connection broke, or carries something else ([`io::ErrorKind::InvalidData`]).
pub(super) async fn read(
    mut connection: TcpStream,
    mut outlet: Outlet,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; ROOM];
    let (mut filled, mut rubbish) = (0, 0);
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let count = connection.read(room).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut at = 0;
        while let Some(bytes) = buffer.get(at..filled).filter(|bytes| !bytes.is_empty()) {
            match deframer.next(bytes) {
                Next::Packet { payload, used } => {
                    outlet.push(payload, &counts);
                    at += used;
                    rubbish = deframer.skipped();
                }
                Next::Skip(bytes) => at += bytes,
                Next::More => break,
            }
        }
        outlet.flush(&counts);
        counts.told(deframer.framing(), deframer.skipped());
        if deframer.skipped() - rubbish > MOST_RUBBISH {
            let problem = format!("{MOST_RUBBISH} bytes without an RTP packet");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if filled == buffer.len() {
            // No packet is longer than this, so that there is always room for more of it.
            buffer.resize(LONGEST + ROOM, 0);
        }
    }
}
