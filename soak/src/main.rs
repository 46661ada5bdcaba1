//! Everything that happens to a data plane in a year, in half an hour: calls join, leave and move, sources change, interfaces
//! flap, neighbours are forgotten and the owner restarts, all under traffic. At the end the books must balance: every frame
//! that arrived was sent on, dropped or left to the kernel, each by a counted reason; every frame that was sent on was taken by
//! the device, or counted as refused.
//!
//! Takes root. `cargo xtask soak` runs it.

mod act;
mod books;
mod call;
mod random;
mod stack;
mod state;
mod traffic;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;

use crate::random::Random;
use crate::traffic::Traffic;
use crate::world::World;

/// How long, and how much.
#[derive(Parser)]
struct Arguments {
    /// Minutes of traffic.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// The same happens again with the same number; without one it is chosen, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Packets a second that the terminals send, all together.
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
}

/// Events that happen at least, however slow the machine is.
const EVENTS: u32 = 60;
/// Between two events.
const PAUSE: Duration = Duration::from_millis(40);
/// Between two reports.
const REPORT: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|error| anyhow!("choosing a seed: {error}"))?,
    };
    println!("seed {seed}");
    ensure!(
        arguments.minutes.is_finite() && (0.0..=10_000.0).contains(&arguments.minutes),
        "--minutes: found {}, expected 0 to 10000",
        arguments.minutes
    );
    let duration = Duration::from_secs_f64(arguments.minutes * 60.0);

    let mut world = World::create()?;
    let opening = world.quiet_books()?;
    let traffic = Traffic::start(&world.topology, arguments.rate)?;
    let start = Instant::now();
    let mut reported = start;
    let mut random = Random::new(seed);
    let mut events = 0;
    while start.elapsed() < duration || events < EVENTS {
        events += 1;
        act::once(&mut world, &traffic, &mut random)?;
        std::thread::sleep(PAUSE);
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            println!("{:>6.1} min  {}", start.elapsed().as_secs_f64() / 60.0, world.story());
        }
    }
    let sent = traffic.stop()?;
    world.end_calls()?;
    let books = world.quiet_books()?.since(&opening);
    println!("{}\n{sent} packets were sent by the terminals\n{books}", world.story());
    world.end()?;
    books.check(sent)
}
