//! The relay between its terminals, and the calls that are installed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use relay_user::{LegStatistics, ModeChoice, Options, Relay};
use testbed::Topology;
use tokio::runtime::Runtime;

use crate::books::Books;
use crate::call::{self, Call, PORTS, local_port};
use crate::random::Random;
use crate::stack;
use crate::state::State;

/// How long the network may take to fall silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Readings of the books, one after the other, that say that nothing is under way: a busy machine may let a frame lie for a
/// while.
const ALIKE: u32 = 4;

/// Everything there is.
pub(crate) struct World {
    relay: Relay,
    runtime: Runtime,
    calls: Vec<Call>,
    counts: BTreeMap<&'static str, u32>,
    state: State,
    /// What it runs in. Dropped last.
    pub(crate) topology: Topology,
}

impl World {
    /// Makes the namespaces and starts the relay.
    ///
    /// # Errors
    /// With what `ip`, or the relay, said.
    pub(crate) fn create() -> Result<Self> {
        let (topology, state) = (Topology::create()?, State::mount()?);
        stack::count(&topology.relay)?;
        let (relay, runtime) = start(&topology, &state)?;
        Ok(Self { relay, runtime, calls: Vec::new(), counts: BTreeMap::new(), state, topology })
    }

    /// The owner ends, and another takes its place: media runs on, and every leg is still there.
    ///
    /// # Errors
    /// The new one refuses to start, or has other legs.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.relay.leave();
        let (relay, runtime) = start(&self.topology, &self.state)?;
        std::mem::replace(&mut self.runtime, runtime).shutdown_timeout(SILENCE);
        self.relay = relay;
        let mut adopted: Vec<_> = self.relay.adopted().into_iter().map(|(leg, _)| leg).collect();
        let mut installed: Vec<_> = self.calls.iter().flat_map(|call| call.legs).collect();
        adopted.sort_unstable();
        installed.sort_unstable();
        ensure!(adopted == installed, "legs were {installed:?} before the restart, and are {adopted:?}");
        self.count("restarts");
        Ok(())
    }

    /// Ends the data plane; nothing stays behind.
    ///
    /// # Errors
    /// Something does.
    pub(crate) fn end(&self) -> Result<()> {
        self.relay.stop()?;
        Ok(())
    }

    /// The books, once nothing is under way any more.
    ///
    /// # Errors
    /// The network does not fall silent.
    pub(crate) fn quiet_books(&self) -> Result<Books> {
        let deadline = Instant::now() + SILENCE;
        let read = || Books::read(&self.relay, &self.topology.relay);
        let (mut before, mut alike) = (read()?, 1);
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(300));
            let now = read()?;
            alike = if now == before { alike + 1 } else { 1 };
            if alike == ALIKE {
                return Ok(now);
            }
            before = now;
        }
        bail!("frames still arrive {} s after the last was sent", SILENCE.as_secs())
    }

    /// Calls that are installed.
    pub(crate) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// One more of these happened.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// What happened until now.
    pub(crate) fn story(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        format!("{}, {} calls now", counts.join(", "), self.calls.len())
    }

    /// A call joins on a free port.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn join(&mut self, random: &mut Random) -> Result<()> {
        let taken = |port: &u16| self.calls.iter().any(|call| call.port == *port);
        let free: Vec<u16> = (0..PORTS).filter(|port| !taken(port)).collect();
        let Some(port) = free.get(random.below(free.len().max(1))).copied() else { return Ok(()) };
        let (plan, terminals) = call::plan(port, random);
        let legs = self.runtime.block_on(self.relay.install(&plan));
        let legs = match legs {
            // Without its route nothing can be installed: an interface is down, or has just come up.
            Err(relay_user::InstallError::Route(_)) => {
                self.count("joins without a route");
                return Ok(());
            }
            legs => legs.with_context(|| format!("a call on port {}", local_port(port)))?,
        };
        let legs = legs.try_into().map_err(|_| anyhow::anyhow!("three legs were asked for"))?;
        self.calls.push(Call { port, legs, switched: false, terminals });
        self.count("joins");
        Ok(())
    }

    /// A call leaves.
    ///
    /// # Errors
    /// Its statistics do not add up.
    pub(crate) fn leave(&mut self, random: &mut Random) -> Result<()> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let call = self.calls.swap_remove(random.below(self.calls.len()));
        for statistics in self.relay.remove(&call.legs) {
            check(&statistics)?;
        }
        self.count("leaves");
        Ok(())
    }

    /// All of them leave.
    ///
    /// # Errors
    /// As [`World::leave`].
    pub(crate) fn end_calls(&mut self) -> Result<()> {
        let mut random = Random::new(0);
        while !self.calls.is_empty() {
            self.leave(&mut random)?;
        }
        ensure!(self.relay.occupancy().0 == 0, "legs are left: {:?}", self.relay.legs());
        Ok(())
    }

    /// One side of a call says that it is somewhere else.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn move_remote(
        &mut self,
        random: &mut Random,
        remote: impl FnOnce(IpAddr) -> Option<SocketAddr>,
    ) -> Result<()> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let call = self.calls[random.below(self.calls.len())];
        let side = random.below(3);
        match self.runtime.block_on(self.relay.set_remote(call.legs[side], remote(call.terminals[side]))) {
            Err(relay_user::InstallError::Route(_)) => self.count("moves without a route"),
            moved => {
                moved.context("a move")?;
                self.count("moves");
            }
        }
        Ok(())
    }

    /// A viewer sees the other camera.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn switch_sources(&mut self, random: &mut Random) -> Result<()> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let at = random.below(self.calls.len());
        let call = &mut self.calls[at];
        let camera = call.legs[if call.switched { 0 } else { 2 }];
        match self.runtime.block_on(self.relay.switch(call.legs[1], camera)) {
            Err(relay_user::InstallError::Route(_)) => self.count("switches without a route"),
            switched => {
                switched.context("a switch")?;
                call.switched = !call.switched;
                self.count("switches");
            }
        }
        Ok(())
    }

    /// IPv6 addresses go when their device goes down.
    ///
    /// # Errors
    /// With what `ip` said.
    pub(crate) fn restore_addresses(&self, device: &str) -> Result<()> {
        let sides = [Topology::CAMERA, Topology::VIEWER].into_iter().filter(|side| side.device == device);
        for side in sides {
            let address = format!("{}/64", side.relay6);
            self.topology.relay.ip(&["address", "replace", &address, "dev", device, "nodad"])?;
        }
        Ok(())
    }

    /// The statistics of every leg add up by themselves.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check_legs(&mut self) -> Result<()> {
        for call in &self.calls {
            for leg in call.legs {
                check(&self.relay.statistics(leg).context("an installed leg has statistics")?)?;
            }
        }
        self.count("looks");
        Ok(())
    }
}

fn start(topology: &Topology, state: &State) -> Result<(Relay, Runtime)> {
    let options = Options {
        interfaces: vec![Topology::CAMERA.device.into(), Topology::VIEWER.device.into()],
        mode: ModeChoice::Native,
        legs: 4096,
        // Half of those that are sent to: what comes to the others without a leg is the kernel's.
        ports: vec![local_port(0)..=local_port(PORTS)],
        state: Some(state.folder()),
        ..Options::default()
    };
    topology.relay.run(|| -> Result<_> {
        // The threads of the runtime, and so its sockets, are in the namespace of the thread that makes it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let relay = runtime.block_on(Relay::start(&options))?;
        Ok((relay, runtime))
    })?
}

fn check(statistics: &LegStatistics) -> Result<()> {
    let dropped: u64 = statistics.dropped.iter().map(|(_, count)| count).sum();
    ensure!(
        statistics.received == statistics.forwarded + dropped
            && statistics.forwarded == statistics.paths.total(),
        "the statistics of a leg do not add up: {statistics:?}"
    );
    Ok(())
}
