//! A process that owns a data plane whose state outlives it: relay-user's example `hold`, of this build or of another.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use testbed::Topology;

use crate::wire::Ends;

/// A build of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// Optimised, as this program.
    Release,
    /// Not optimised: the same source, and not one instruction the same.
    Debug,
}

impl Build {
    /// Where `cargo xtask bench` leaves it.
    fn program(self) -> Result<PathBuf> {
        let folder = match self {
            Self::Release => "release",
            Self::Debug => "debug",
        };
        let own = env::current_exe()?;
        let target = own.parent().and_then(Path::parent).context("this program is in no target folder")?;
        let program = target.join(folder).join("examples/hold");
        ensure!(program.is_file(), "{} is missing: `cargo xtask bench` builds it", program.display());
        Ok(program)
    }
}

/// The running process; killed when it is dropped.
pub(crate) struct Holder {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a leg counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LegCounts {
    pub(crate) received: u64,
    pub(crate) forwarded: u64,
}

impl Holder {
    /// Starts it in the relay's namespace; also returns how many legs it adopted.
    pub(crate) fn start(build: Build, topology: &Topology, state: &Path, legs: u32) -> Result<(Self, usize)> {
        let mut command = Command::new(build.program()?);
        command.arg(state).arg(legs.to_string()).args([Topology::CAMERA.device, Topology::VIEWER.device]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child of a thread inside, because `ip netns exec` would hide the BPF file system.
        let mut process = topology.relay.run(|| command.spawn())?.context("starting the example `hold`")?;
        let orders = process.stdin.take().context("its standard input")?;
        let answers = BufReader::new(process.stdout.take().context("its standard output")?);
        let mut holder = Self { process, orders, answers };
        let ready = holder.answer()?;
        let adopted = ready.strip_prefix("ready ").and_then(|count| count.parse().ok());
        Ok((holder, adopted.with_context(|| format!("it says `{ready}` instead of `ready` and a number"))?))
    }

    /// Installs two legs and a stream each way.
    pub(crate) fn call(&mut self, camera: Ends, viewer: Ends) -> Result<()> {
        self.order(&format!(
            "call {} {} {} {}",
            camera.relay, camera.terminal, viewer.relay, viewer.terminal
        ))?;
        match self.answer()?.as_str() {
            "called" => Ok(()),
            other => bail!("it says `{other}` instead of `called`"),
        }
    }

    /// What arrives on the camera's leg goes to these viewers, who see this SSRC and the next ones.
    pub(crate) fn join(&mut self, camera: Ends, ssrc: u32, viewers: &[Ends]) -> Result<()> {
        let legs = std::iter::once(&camera).chain(viewers);
        let legs: Vec<String> = legs.map(|ends| format!("{} {}", ends.relay, ends.terminal)).collect();
        self.order(&format!("join {ssrc} {}", legs.join(" ")))?;
        match self.answer()?.as_str() {
            "joined" => Ok(()),
            other => bail!("it says `{other}` instead of `joined`"),
        }
    }

    /// What all legs counted.
    pub(crate) fn counts(&mut self) -> Result<LegCounts> {
        self.order("legs")?;
        let mut sum = LegCounts::default();
        loop {
            let line = self.answer()?;
            if line == "end" {
                return Ok(sum);
            }
            sum.received += count(&line, "received")?;
            sum.forwarded += count(&line, "forwarded")?;
        }
    }

    /// Kills it, as SIGKILL does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Lets it end so that media runs on.
    pub(crate) fn leave(self) -> Result<()> {
        self.end("leave")
    }

    /// Lets it end all media and remove its state.
    pub(crate) fn stop(self) -> Result<()> {
        self.end("stop")
    }

    fn end(mut self, order: &str) -> Result<()> {
        self.order(order)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the example `hold` ended with {status}");
        Ok(())
    }

    fn order(&mut self, order: &str) -> Result<()> {
        Ok(writeln!(self.orders, "{order}")?)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the example `hold` ended; its own message is above");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The number behind a word.
fn count(line: &str, name: &str) -> Result<u64> {
    let mut words = line.split(' ').skip_while(|word| *word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).with_context(|| format!("no `{name}` in `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_name() {
        let line = "10.78.1.1:10000 7 received 12 forwarded 11 sent 0 dropped 1 adopted true";
        assert_eq!((count(line, "received").unwrap(), count(line, "forwarded").unwrap()), (12, 11));
        assert!(count(line, "adopted").is_err());
    }
}
