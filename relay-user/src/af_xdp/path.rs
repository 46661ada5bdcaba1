//! The path `af_xdp` of a running relay: the engine, and what it needs to run again when a device is made anew.

use std::collections::HashMap;
use std::sync::Arc;

use aya::maps::{MapData, XskMap};

use super::counters::PuntCounters;
use super::engine::{Device, Engine, EngineError};
use super::forwarder::Forwarder;
use super::turns::Turns;
use crate::fan_out;
use crate::plane::UserPlane;
use crate::rtcp::Intake;

/// How the path `af_xdp` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PuntPath {
    /// Threads that take packets from the program and send them on.
    pub workers: usize,
    /// Sockets: one for each receive queue of each interface.
    pub sockets: usize,
    /// Why it does not run, if it does not: packets for user space take the kernel path then.
    pub problem: Option<String>,
    /// What was counted.
    pub counters: PuntCounters,
}

/// The path.
pub(crate) struct Punts {
    engine: Engine,
    plane: UserPlane,
    rtcp: Intake,
    groups: fan_out::Records,
    cpus: u32,
    problem: Option<String>,
}

impl Punts {
    /// A path that does not run yet, whose workers decide with `plane`, hand on RTCP that ends here, and copy for `groups`.
    ///
    /// # Errors
    /// There cannot be as many frames for each queue.
    pub(crate) fn new(
        punts: XskMap<MapData>,
        frames_per_queue: u32,
        plane: UserPlane,
        rtcp: Intake,
        groups: fan_out::Records,
        cpus: u32,
    ) -> Result<Self, EngineError> {
        Ok(Self { engine: Engine::new(punts, frames_per_queue)?, plane, rtcp, groups, cpus, problem: None })
    }

    /// Runs on these interfaces, given by their index with their slot. Where that is impossible, packets for user space
    /// take the kernel path, and the problem is told.
    pub(crate) fn run(&mut self, interfaces: &HashMap<u32, u32>) {
        let mut devices: Vec<Device> = interfaces
            .iter()
            .map(|(interface, slot)| Device { slot: *slot, interface: *interface })
            .collect();
        devices.sort_unstable_by_key(|device| device.slot);
        let (plane, rtcp, groups, cpus) = (&self.plane, &self.rtcp, &self.groups, self.cpus.max(1));
        // Workers measure in the places of CPUs: the program does not measure what it punts, so they are nobody else's.
        let handler = |worker| {
            let plane = UserPlane { stretch: worker % cpus, ..plane.clone() };
            // Copies are counted behind the CPUs, where all workers add atomically.
            Forwarder::new(plane, rtcp.clone(), fan_out::Reader::new(groups.clone(), cpus))
        };
        self.problem = self.engine.run(&devices, handler).err().map(|error| error.to_string());
        if let Some(problem) = &self.problem {
            tracing::warn!(%problem, "packets for user space take the kernel path");
        }
    }

    /// Ends; the queues are free for another process.
    pub(crate) fn end(&mut self) {
        self.engine.stop();
    }

    /// Why it does not run, if it does not.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// The turns of each worker.
    pub(crate) fn turns(&self) -> Vec<Arc<Turns>> {
        self.engine.turns()
    }

    /// How the path does.
    pub(crate) fn report(&self) -> PuntPath {
        let (workers, sockets) = self.engine.size();
        PuntPath { workers, sockets, problem: self.problem.clone(), counters: self.engine.counters() }
    }
}
