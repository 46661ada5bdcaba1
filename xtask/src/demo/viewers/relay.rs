//! The relay: `relay-user`'s example `fan_out`, which owns the data plane and is spoken to by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testbed::Namespace;

use super::super::interrupt::wait_for;
use super::super::process::Process;
use super::super::wires::{CAMERA, VIEWER};
use super::super::{PATIENCE, explain};
use super::seat::{ENTRY, LENS, Seat};
use crate::workspace;

/// How often somebody who waits for an answer looks whether the program still runs.
const LOOK: Duration = Duration::from_millis(20);

/// The running relay.
pub(super) struct Relay {
    pub(super) process: Process,
    input: ChildStdin,
    answers: Receiver<String>,
    key_frames_wanted: Arc<AtomicU64>,
    /// Who forwards, in its own words.
    pub(super) backend: String,
}

/// What the relay counted for one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copies {
    /// Copies that were handed to its device.
    pub(super) sent: u64,
    /// Copies that were not, or that the device refused.
    pub(super) lost: u64,
}

/// What the relay counted for the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Packets of the camera that went on to the group, by XDP.
    pub(super) forwarded_by_xdp: u64,
    /// Who makes the copies.
    pub(super) path: String,
    /// Passes that a packet takes.
    pub(super) passes: u64,
}

impl Relay {
    /// Starts the relay and waits until it expects the camera.
    pub(super) fn start(namespace: &Namespace, folder: &Path) -> Result<Self> {
        let mut command = namespace.command(workspace::example("fan_out", false));
        command.arg([CAMERA.interface, VIEWER.interface].join(","));
        command.args([ENTRY, LENS].map(|address| address.to_string()));
        let (process, input, output) =
            Process::start_talking("fan_out", command, folder.join("fan_out.log"))?;
        let (sender, answers) = mpsc::channel();
        let key_frames_wanted = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&key_frames_wanted);
        thread::spawn(move || listen(output, &sender, &theirs));
        let mut relay = Self { process, input, answers, key_frames_wanted, backend: String::new() };
        let answer = relay.answer("ready ");
        relay.backend = answer.map_err(|error| explain(error, &relay.process.log()))?;
        Ok(relay)
    }

    /// Lets the viewer at this seat join; returns how many microseconds that took, as the relay measured it.
    pub(super) fn join(&mut self, seat: &Seat) -> Result<u64> {
        self.say(&format!("join {} {} {}", seat.relay, seat.address, seat.ssrc))?;
        let took = self.answer(&format!("joined {} in ", seat.relay))?;
        took.split(' ').next().and_then(|number| number.parse().ok()).context("the relay measured nothing")
    }

    /// Lets it leave; returns what was counted for it until then.
    pub(super) fn leave(&mut self, seat: &Seat) -> Result<Copies> {
        self.say(&format!("leave {}", seat.relay))?;
        Ok(copies(&self.answer(&format!("left {} ", seat.relay))?))
    }

    /// What was counted for the group, and for each of these receivers.
    pub(super) fn show(&mut self, seats: &[Seat]) -> Result<(Group, Vec<Copies>)> {
        self.say("show")?;
        let camera = self.answer("camera ")?;
        let group = self.answer("group ")?;
        let mut lines = Vec::new();
        for _ in seats {
            lines.push(self.answer("receiver ")?);
        }
        self.answer("end")?;
        let group = Group {
            forwarded_by_xdp: number(&camera, "xdp"),
            path: word(&group, "path").unwrap_or_default().to_owned(),
            passes: number(&group, "passes"),
        };
        let of = |seat: &Seat| {
            let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{} ", seat.relay)));
            line.map(copies).with_context(|| format!("the relay does not know viewer {}", seat.number))
        };
        Ok((group, seats.iter().map(of).collect::<Result<_>>()?))
    }

    /// How often it said that somebody needs a key frame.
    pub(super) fn key_frames_wanted(&self) -> u64 {
        self.key_frames_wanted.load(Ordering::Relaxed)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").with_context(|| format!("the relay does not take `{line}`"))
    }

    /// The rest of the next answer, which must begin so.
    fn answer(&mut self, beginning: &str) -> Result<String> {
        let (process, answers) = (&mut self.process, &self.answers);
        let what = format!("the relay to answer `{}`", beginning.trim());
        let answer = wait_for(&what, PATIENCE, || match answers.recv_timeout(LOOK) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                process.check()?;
                bail!("the relay says nothing any more")
            }
        })?;
        let rest = answer.strip_prefix(beginning).map(str::to_owned);
        rest.with_context(|| format!("the relay answered `{answer}` where `{beginning}` was expected"))
    }
}

/// Hands answers on, until there are no more; the one line that answers nothing is shown and counted.
fn listen(output: ChildStdout, answers: &Sender<String>, key_frames_wanted: &AtomicU64) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if line == "key frame wanted" {
            key_frames_wanted.fetch_add(1, Ordering::Relaxed);
            eprintln!("demo: the relay asks for a key frame");
        } else if answers.send(line).is_err() {
            return;
        }
    }
}

fn copies(line: &str) -> Copies {
    Copies { sent: number(line, "sent"), lost: number(line, "lost") }
}

/// The number behind a name; 0 where there is none.
fn number(line: &str, name: &str) -> u64 {
    word(line, name).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// The word behind a name.
fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_by_its_name() {
        assert_eq!(copies("sent 12 lost 3"), Copies { sent: 12, lost: 3 });
        assert_eq!(number("received 9 forwarded 8 xdp 7 af_xdp 1 user 0", "xdp"), 7);
        assert_eq!(word("path xdp receivers 16", "path"), Some("xdp"));
        assert_eq!(word("path", "path"), None);
    }
}
