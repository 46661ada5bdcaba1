//! One subject with everything around it: generator, wires, sink. Lanes share nothing, so two subjects can take turns
//! within milliseconds.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_user::{FanOutChoice, Options};
use testbed::{Namespace, Topology};

use crate::generator::{self, Drive, Senders};
use crate::programs::{Programs, Role};
use crate::records::{CPUS, Load};
use crate::subject::{self, RunningRelay, Subject};
use crate::wire;

/// Until the rate is steady and the caches hold what the programs use.
const SETTLE: Duration = Duration::from_millis(20);
/// The kernel prepares a test run for 20 ms, and for several times that on a busy machine; not for longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the first packets are looked for.
const LOOK: Duration = Duration::from_millis(2);
/// From the end of the generators until no packet is on its way any more.
const DRAIN: Duration = Duration::from_millis(5);
/// A prime, so that it has no factor in common with a number of flows; and large, so that neighbouring records of the
/// tables are not used one after the other.
const STEP: u32 = 7919;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Bytes of a packet, from the Ethernet header to the end of the payload.
    pub(crate) size: usize,
    /// Number of flows, at most as many as the lane has calls.
    pub(crate) flows: u32,
    /// Packets that leave together.
    pub(crate) batch: u32,
    /// Least time between two packets of one processor; only for lanes that measure delays.
    pub(crate) interval: Duration,
}

/// A lane.
pub(crate) struct Lane {
    subject: Subject,
    /// Calls that the relay has room for: as many flows as may be sent.
    calls: u32,
    programs: Programs,
    generate: Role,
    relay: Option<RunningRelay>,
    /// Last, because the devices must outlive what is attached to them.
    topology: Topology,
}

/// Packets of a lane since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Sent by the generators.
    pub(crate) sent: u64,
    /// Arrived at the sink, with the headers that they must have.
    pub(crate) arrived: u64,
    /// What the relay says: forwarded, and not forwarded by reason.
    pub(crate) relay: Vec<(&'static str, u64)>,
}

impl Account {
    /// Share of the packets that were sent and did not arrive.
    pub(crate) fn lost_share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of packets are far below 2^52")]
        let (sent, lost) = (self.sent as f64, (self.sent - self.arrived) as f64);
        lost / sent
    }
}

impl Lane {
    /// A lane that counts; the relay has so many calls.
    pub(crate) fn counting(subject: Subject, calls: u32) -> Result<Self> {
        let [generate, sink] = subject.instruments();
        Self::lay(subject, calls, generate, sink)?.with_calls()
    }

    /// A lane that measures delays.
    pub(crate) fn timing(subject: Subject, calls: u32) -> Result<Self> {
        Self::lay(subject, calls, Role::GenerateStamped, Role::Time)?.with_calls()
    }

    /// A lane with this generator and this sink, and room for so many calls.
    pub(crate) fn lay(subject: Subject, calls: u32, generate: Role, sink: Role) -> Result<Self> {
        let topology = wire::lay()?;
        let mut programs = Programs::load(&[generate, Role::Bare, sink])?;
        let Topology { camera, relay, viewer } = &topology;
        inside(camera, || programs.set_device(0, index(Topology::TERMINAL_DEVICE)?))?;
        inside(viewer, || programs.attach(sink, Topology::TERMINAL_DEVICE))?;
        let relay = match subject {
            Subject::Bare => {
                inside(relay, || {
                    programs.set_device(1, index(Topology::VIEWER.device)?)?;
                    programs.attach(Role::Bare, Topology::CAMERA.device)?;
                    // The relay, too, runs on both of its devices.
                    programs.attach(Role::Bare, Topology::VIEWER.device)
                })?;
                None
            }
            Subject::Elsewhere => None,
            Subject::Relay(_) => Some(RunningRelay::start(&topology, 2 * calls)?),
            Subject::Workers => {
                let options = Options { fan_out: FanOutChoice::AfXdp, ..subject::options(2 * calls) };
                Some(RunningRelay::start_with(&topology, &options)?)
            }
        };
        Ok(Self { subject, calls, programs, generate, relay, topology })
    }

    /// Fills the relay with calls.
    pub(crate) fn with_calls(self) -> Result<Self> {
        if let (Subject::Relay(treatment), Some(relay)) = (self.subject, &self.relay) {
            relay
                .install(&subject::calls(treatment, 0..self.calls))
                .context("installing the legs of every flow")?;
        }
        Ok(self)
    }

    /// Sends for a while; returns the rate of the packets that arrived, in packets a second.
    pub(crate) fn rate(&mut self, traffic: Traffic, window: Duration) -> Result<f64> {
        self.undisturbed(traffic, CPUS, |lane| {
            let (start, before) = (Instant::now(), lane.programs.arrivals()?.right);
            thread::sleep(window);
            let (end, after) = (Instant::now(), lane.programs.arrivals()?.right);
            let arrived = after - before;
            #[expect(
                clippy::cast_precision_loss,
                reason = "a count of packets within seconds is far below 2^52"
            )]
            let rate = arrived as f64 / end.duration_since(start).as_secs_f64();
            Ok(rate)
        })
    }

    /// Sends for a while on so many processors; returns the delays of the packets that arrived after the start, in
    /// nanoseconds.
    pub(crate) fn delays(&mut self, traffic: Traffic, cpus: u32, window: Duration) -> Result<Vec<u32>> {
        self.undisturbed(traffic, cpus, |_| {
            thread::sleep(window);
            Ok(())
        })?;
        self.programs.take_delays()
    }

    /// Sends while `work` runs and nothing else does, after the rate has settled.
    pub(crate) fn undisturbed<T>(
        &mut self,
        traffic: Traffic,
        cpus: u32,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        self.while_sending(traffic, cpus, |lane, senders| {
            senders.undisturbed(|| {
                thread::sleep(SETTLE);
                work(lane)
            })
        })
    }

    /// Sends while `work` runs.
    pub(crate) fn while_sending<T>(
        &mut self,
        traffic: Traffic,
        cpus: u32,
        work: impl FnOnce(&Self, &Senders) -> Result<T>,
    ) -> Result<T> {
        ensure!(
            (1..=self.calls).contains(&traffic.flows),
            "between 1 and {} flows, not {}",
            self.calls,
            traffic.flows
        );
        let sent = self.subject.sends();
        let payload = traffic.size.saturating_sub(sent.overhead());
        let load = Load {
            headers: sent.headers(payload)?,
            flows: traffic.flows,
            // A flow belongs to one processor, as receive queues share flows out by their addresses and ports; unless
            // there is only one.
            step: STEP * cpus % traffic.flows,
            interval: u64::try_from(traffic.interval.as_nanos())?,
        };
        self.programs.set_load(load, self.subject.delivers().headers(payload)?)?;
        let frame = sent.frame(payload)?;
        let lane = &*self;
        let program = lane.programs.program(lane.generate)?;
        let drive = Drive { program, frame: &frame, batch: traffic.batch, cpus };
        let result = generator::while_sending(drive, |senders| {
            wait_for_packets(&lane.programs, cpus)?;
            work(lane, senders)
        })?;
        thread::sleep(DRAIN);
        Ok(result)
    }

    /// Tells the sink which packets have to arrive; returns one as the camera sends it, of so many bytes.
    pub(crate) fn expect_packets(&mut self, size: usize) -> Result<Vec<u8>> {
        let sent = self.subject.sends();
        let payload = size.saturating_sub(sent.overhead());
        let load = Load { headers: sent.headers(payload)?, flows: 1, step: 0, interval: 0 };
        self.programs.set_load(load, self.subject.delivers().headers(payload)?)?;
        sent.frame(payload)
    }

    /// The programs around the subject.
    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The relay under test.
    ///
    /// # Errors
    /// The subject is another.
    pub(crate) fn relay(&self) -> Result<&RunningRelay> {
        self.relay.as_ref().with_context(|| format!("{:?} is no relay", self.subject))
    }

    /// The devices.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What became of every packet, from the start to now.
    ///
    /// # Errors
    /// A packet arrived with wrong headers, or there are more packets than there can be.
    pub(crate) fn account(&self) -> Result<Account> {
        let arrivals = self.programs.arrivals()?;
        let account = Account {
            sent: self.programs.sent_by_each()?.iter().sum(),
            arrived: arrivals.right,
            relay: self.relay.as_ref().map(|running| running.relay.counters()).unwrap_or_default(),
        };
        let name = self.subject;
        ensure!(arrivals.wrong == 0, "{name:?}: {} packets arrived with wrong headers", arrivals.wrong);
        ensure!(account.arrived > 0, "{name:?}: no packet arrived");
        ensure!(
            account.arrived <= account.sent,
            "{name:?}: more packets arrived than were sent: {account:?}"
        );
        if let Some((_, forwarded)) = account.relay.iter().find(|(name, _)| *name == "forwarded") {
            ensure!(
                account.arrived <= *forwarded,
                "more packets arrived than the relay forwarded: {account:?}"
            );
            let seen: u64 = account.relay.iter().map(|(_, count)| count).sum();
            ensure!(seen <= account.sent + STRAY, "the relay saw more packets than were sent: {account:?}");
        }
        Ok(account)
    }
}

/// Waits until the generator of each processor runs.
pub(crate) fn wait_for_packets(programs: &Programs, cpus: u32) -> Result<()> {
    let before = programs.sent_by_each()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        thread::sleep(LOOK);
        let now = programs.sent_by_each()?;
        let running = before.iter().zip(&now).filter(|(before, now)| now > before).count();
        if running >= cpus as usize {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "after {PATIENCE:?} {running} of {cpus} generators run");
    }
}

/// Packets of others that may reach the relay's devices: router solicitations of the namespaces.
const STRAY: u64 = 100;

/// Runs `work` on a thread inside a namespace.
pub(crate) fn inside<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    namespace.run(work)?
}

/// Index of a device of the calling thread's namespace.
pub(crate) fn index(device: &str) -> Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: reads a string that ends in zero and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(std::io::Error::last_os_error()).with_context(|| format!("device {device}")),
        index => Ok(index),
    }
}
