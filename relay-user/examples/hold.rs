//! A data plane with a state folder, driven by lines on standard input: for trying what happens to media when its process
//! is killed, leaves or is replaced.
//!
//! ```text
//! hold STATE LEGS INTERFACE...      prints `ready N` when it runs: N legs were adopted; a STATE of `-` is none
//! call LOCAL REMOTE LOCAL REMOTE    two legs and a stream each way; prints `called`
//! punt LOCAL REMOTE LOCAL REMOTE    the same, and user space sends the packets on; prints `called`
//! join SSRC LOCAL REMOTE LOCAL REMOTE...
//!                                   what arrives on the first leg, which is installed if it is not there, goes to the others,
//!                                   which are; the first of these sees this SSRC, the next the next one, and with `-` each
//!                                   that of the source; prints `joined`
//! group LOCAL                       what is counted for the receivers of a leg together; or `none`
//! switch LOCAL LOCAL                the receivers of the first leg get the second as their source; prints `switched`
//! remove LOCAL...                   removes legs; prints `removed`
//! counters                          one line for each counter that is not zero, with its name; then `end`
//! legs                              one line for each leg, by its local address, then `end`
//! backend                           who forwards, and why
//! devices                           one line for each interface: what it refused, and what was not sent; then `end`
//! leave                             lets media run on, and ends
//! stop                              ends media, and ends
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use relay_user::{LegId, LegSpec, Options, Plan, Relay, RetagSpec, StreamSpec};

/// Whose legs these are.
const OWNER: u64 = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: hold STATE LEGS INTERFACE...";
    let state = Some(arguments.next().ok_or(usage)?).filter(|state| state != "-").map(PathBuf::from);
    let legs = arguments.next().ok_or(usage)?.parse()?;
    let relay =
        Relay::start(&Options { interfaces: arguments.collect(), legs, state, ..Options::default() }).await?;
    println!("ready {}", relay.adopted().len());
    let (sender, mut lines) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [what @ ("call" | "punt"), addresses @ ..] => {
                let addresses: Vec<SocketAddr> =
                    addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
                let leg = |pair: &[SocketAddr]| {
                    LegSpec::new(pair[0]).remote(pair[1]).owner(OWNER).punted(*what == "punt")
                };
                let streams =
                    vec![StreamSpec { ingress: 0, egress: 1 }, StreamSpec { ingress: 1, egress: 0 }];
                relay.install(&Plan { legs: addresses.chunks_exact(2).map(leg).collect(), streams }).await?;
                println!("called");
            }
            ["join", ssrc, addresses @ ..] => {
                let ssrc: Option<u32> = if *ssrc == "-" { None } else { Some(ssrc.parse()?) };
                let addresses: Vec<SocketAddr> =
                    addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
                let leg = |pair: &[SocketAddr]| LegSpec::new(pair[0]).remote(pair[1]).owner(OWNER);
                let mut legs: Vec<LegSpec> = addresses.chunks_exact(2).map(leg).collect();
                let source = legs.remove(0);
                if let Some(first) = ssrc {
                    for (leg, ssrc) in legs.iter_mut().zip(first..) {
                        leg.retag = Some(RetagSpec::default().ssrc(ssrc));
                    }
                }
                let source = match find(&relay, source.local) {
                    Some(leg) => leg,
                    None => relay.install(&Plan { legs: vec![source], streams: Vec::new() }).await?[0],
                };
                relay.join(source, &legs).await?;
                println!("joined");
            }
            ["group", local] => match find(&relay, local.parse()?).and_then(|leg| relay.group(leg)) {
                Some(group) => println!(
                    "receivers {} passes {} entered {}",
                    group.receivers, group.passes, group.entered
                ),
                None => println!("none"),
            },
            ["switch", source, next] => {
                let legs =
                    [source, next].map(|local| local.parse().ok().and_then(|local| find(&relay, local)));
                let [Some(source), Some(next)] = legs else { return Err(format!("{legs:?}").into()) };
                relay.switch_group(source, next).await?;
                println!("switched");
            }
            ["remove", locals @ ..] => {
                let locals: Vec<SocketAddr> =
                    locals.iter().map(|local| local.parse()).collect::<Result<_, _>>()?;
                relay.remove(&locals.iter().filter_map(|local| find(&relay, *local)).collect::<Vec<_>>());
                println!("removed");
            }
            ["counters"] => {
                for (name, count) in relay.counters() {
                    println!("{name} {count}");
                }
                println!("end");
            }
            ["legs"] => {
                let adopted: Vec<LegId> = relay.adopted().into_iter().map(|(leg, _)| leg).collect();
                let mut legs = relay.legs();
                legs.sort_unstable_by_key(|(_, spec)| spec.local);
                for (leg, LegSpec { local, owner, .. }) in legs {
                    let counted = relay.statistics(leg).unwrap_or_default();
                    let dropped: u64 = counted.dropped.iter().map(|(_, count)| count).sum();
                    let (received, forwarded, sent) = (counted.received, counted.forwarded, counted.sent);
                    let adopted = adopted.contains(&leg);
                    println!(
                        "{local} {owner} received {received} forwarded {forwarded} sent {sent} dropped {dropped} adopted {adopted}"
                    );
                }
                println!("end");
            }
            ["backend"] => println!("{}", relay.backend()),
            ["devices"] => {
                for device in relay.device_counters() {
                    println!("{} refused {} unsent {}", device.name, device.refused, device.unsent);
                }
                println!("end");
            }
            ["leave"] => {
                relay.leave();
                return Ok(());
            }
            ["stop"] => return Ok(relay.stop()?),
            _ => return Err(format!("what is `{line}`?").into()),
        }
    }
    Ok(())
}

/// The leg that has this address.
fn find(relay: &Relay, local: SocketAddr) -> Option<LegId> {
    relay.legs().into_iter().find(|(_, spec)| spec.local == local).map(|(leg, _)| leg)
}
