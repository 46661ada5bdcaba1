//! Path `user`: packets that are relayed by sockets of this process. Either all of them, where there is no XDP
//! ([`Workers`]), or those that XDP leaves to the network stack ([`KernelPath`]).

mod copies;
mod copying;
mod datagram;
mod installation;
mod kernel_path;
mod legs;
mod mailbox;
mod relay;
mod worker;
mod workers;

pub(crate) use installation::{BySockets, Sockets};
pub(crate) use kernel_path::KernelPath;
pub(crate) use legs::Legs;
use workers::Workers;

/// Most workers of the user-space backend.
const MOST_WORKERS: usize = 64;

/// Workers of the user-space backend: one for each processor that this thread may use.
pub(crate) fn workers() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors.min(MOST_WORKERS)).unwrap_or(1)
}
