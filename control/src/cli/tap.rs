//! `culvert tap`: the packets of a leg, in a file that Wireshark reads.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use relay_user::tap::pcapng;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::{Daemon, Exit};
use crate::admin::{AskError, Reply, Request};

/// Longest block of a capture that is believed, in bytes: far more than the daemon writes.
const LONGEST_BLOCK: usize = 1 << 20;

/// Bytes of a block's type and length.
const BLOCK_HEADER: usize = 8;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  culvert tap --config /etc/culvert.toml 17.3 -w leg.pcapng\n  culvert tap --config \
                        /etc/culvert.toml 17.3 -w - | wireshark -k -i -\n  culvert tap --config /etc/culvert.toml \
                        17.3 -w - --seconds 10 | tshark -r - -d udp.port==30000,rtp\n\nPackets are copied as they \
                        arrive from the leg's remote side (inbound) and as they leave towards it (outbound), \
                        2,048 bytes of each. Ends with Ctrl-C, a limit, or the leg. Exit code 6 when there is no such \
                        leg; `culvert status` lists them."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// The leg, as `culvert status` names it
    leg: String,
    /// The file to write (pcapng); `-` is the standard output
    #[arg(short = 'w', long, value_name = "FILE")]
    write: PathBuf,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let socket = match arguments.daemon.socket() {
        Ok(socket) => socket,
        Err(error) => return super::bad_configuration(&error),
    };
    if arguments.write == Path::new("-") && io::stdout().is_terminal() {
        super::complain(
            "a capture is no text; pipe it (`-w - | tshark -r -`), or write a file (`-w leg.pcapng`)",
        );
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            super::complain(error);
            return Exit::Failed;
        }
    };
    runtime.block_on(capture(&socket, arguments))
}

/// Asks for the capture and copies it.
async fn capture(socket: &Path, arguments: &Arguments) -> Exit {
    let unreachable = |error| super::unreachable(&AskError::Unreachable { socket: socket.to_owned(), error });
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(error),
    };
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let request =
        Request::Tap { leg: arguments.leg.clone(), packets: arguments.packets, seconds: arguments.seconds };
    let answer = async {
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        writing.write_all(&line).await?;
        let mut answer = String::new();
        reading.read_line(&mut answer).await?;
        Ok(answer)
    };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    match serde_json::from_str(&answer) {
        Ok(Reply::Capturing) => {}
        Ok(Reply::NoSuchLeg { message }) => {
            super::complain(message);
            return Exit::NoSuchLeg;
        }
        Ok(Reply::Refused { message } | Reply::Invalid { message }) => {
            super::complain(message);
            return Exit::Failed;
        }
        Ok(other) => {
            super::complain(format_args!("the daemon answered {other:?}"));
            return Exit::Failed;
        }
        Err(error) => return super::unreachable(&AskError::Answer { socket: socket.to_owned(), error }),
    }
    let mut out = match Output::open(&arguments.write) {
        Ok(out) => out,
        Err(error) => {
            super::complain(format_args!(
                "{}: {error}; choose a file in a folder that you may write to",
                arguments.write.display()
            ));
            return Exit::Failed;
        }
    };
    let copied = copy(&mut reading, writing, &mut out).await;
    eprintln!("culvert: {} packets, {} lost", out.packets, out.lost);
    match copied {
        Ok(()) => Exit::Success,
        // Whoever read the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            super::complain(format_args!("the capture ends early: {error}"));
            Exit::Failed
        }
    }
}

/// Copies whole blocks until the daemon ends the capture. The first Ctrl-C asks it to.
async fn copy(
    reading: &mut BufReader<OwnedReadHalf>,
    mut writing: tokio::net::unix::OwnedWriteHalf,
    out: &mut Output,
) -> io::Result<()> {
    let mut asked = false;
    let mut block = Vec::new();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            // Reading is taken up again where it was left: what has been read of a block is in `block`.
            read = fill(reading, &mut block) => {
                if !read? {
                    return out.flush();
                }
                out.block(&block)?;
                block.clear();
                if reading.buffer().is_empty() {
                    out.flush()?;
                }
            }
            _ = &mut interrupt, if !asked => {
                asked = true;
                writing.shutdown().await?;
            }
        }
    }
}

/// Reads until `block` is whole; `false` at the end of the capture. May be dropped and called again.
async fn fill(reading: &mut BufReader<OwnedReadHalf>, block: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let length = match word(block, 4) {
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
            None => BLOCK_HEADER,
        };
        if !(BLOCK_HEADER..=LONGEST_BLOCK).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the daemon sent no capture"));
        }
        if block.len() >= length && block.len() > BLOCK_HEADER {
            return Ok(true);
        }
        let missing = (length - block.len()) as u64;
        if (&mut *reading).take(missing).read_buf(block).await? == 0 {
            return if block.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// Where the capture goes, and what was in it.
struct Output {
    out: io::BufWriter<Box<dyn Write>>,
    packets: u64,
    lost: u64,
}

impl Output {
    fn open(file: &Path) -> io::Result<Self> {
        let out: Box<dyn Write> = if file == Path::new("-") {
            Box::new(io::stdout())
        } else {
            // What people say to each other: for its owner only.
            let file: File =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
            Box::new(file)
        };
        Ok(Self { out: io::BufWriter::new(out), packets: 0, lost: 0 })
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        self.packets += u64::from(word(block, 0) == Some(pcapng::PACKET_BLOCK));
        self.lost = pcapng::dropped(block).unwrap_or(self.lost);
        self.out.write_all(block)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
