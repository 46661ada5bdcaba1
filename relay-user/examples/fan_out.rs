//! One camera, many receivers, which come and go while media runs, as lines on standard input say.
//!
//! ```text
//! fan_out INTERFACE,... LOCAL CAMERA   prints `ready BACKEND` when what CAMERA sends to LOCAL can be fanned out
//! join LOCAL RECEIVER SSRC             from now on RECEIVER gets a copy of every packet, from LOCAL and with this SSRC;
//!                                      prints `joined LOCAL in N us`
//! leave LOCAL                          ends that; prints `left LOCAL sent N lost N`
//! show                                 a line for the camera, one for the group, one for each receiver; then `end`
//! stop                                 ends media, and ends
//!
//! fan_out eth1,eth2 10.77.2.1:30000 10.77.2.2:5004
//! join 10.77.1.1:40000 10.77.1.2:6004 1001
//! join 10.77.1.1:40002 10.77.1.3:6004 1002
//! ```
//!
//! At any time it prints `key frame wanted`: whoever can ask the camera for a key frame would do so now.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use relay_user::{Event, LegId, LegSpec, LegStatistics, Options, Plan, Relay, RetagSpec};
use tokio::sync::{broadcast, mpsc};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interfaces, local, camera] = arguments.as_slice() else {
        return Err("usage: fan_out INTERFACE,... LOCAL CAMERA".into());
    };
    let interfaces = interfaces.split(',').map(str::to_owned).collect();
    let camera = LegSpec::new(local.parse()?).remote(camera.parse()?);

    let relay = Relay::start(&Options { interfaces, ..Options::default() }).await?;
    let mut events = relay.subscribe();
    let source = relay.install(&Plan { legs: vec![camera], streams: Vec::new() }).await?[0];
    let mut group = Group { relay, source, receivers: BTreeMap::new() };
    println!("ready {}", group.relay.backend());

    let mut lines = standard_input();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(Event::KeyFrameWanted { .. }) => println!("key frame wanted"),
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
                // What happens to single legs is not shown here.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            line = lines.recv() => match line.as_deref() {
                None | Some("stop") => return Ok(group.relay.stop()?),
                Some(line) => group.obey(line).await?,
            },
        }
    }
}

/// The camera's leg and who receives what arrives on it.
struct Group {
    relay: Relay,
    source: LegId,
    /// By their local address.
    receivers: BTreeMap<SocketAddr, LegId>,
}

impl Group {
    async fn obey(&mut self, line: &str) -> Result<()> {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["join", local, receiver, ssrc] => {
                self.join(local.parse()?, receiver.parse()?, ssrc.parse()?).await
            }
            ["leave", local] => self.leave(local.parse()?),
            ["show"] => {
                self.show();
                Ok(())
            }
            _ => Err(format!("what is `{line}`?").into()),
        }
    }

    async fn join(&mut self, local: SocketAddr, receiver: SocketAddr, ssrc: u32) -> Result<()> {
        let leg = LegSpec::new(local).remote(receiver).retag(RetagSpec::default().ssrc(ssrc));
        let start = Instant::now();
        let joined = self.relay.join(self.source, &[leg]).await?;
        println!("joined {local} in {} us", start.elapsed().as_micros());
        self.receivers.insert(local, joined[0]);
        Ok(())
    }

    fn leave(&mut self, local: SocketAddr) -> Result<()> {
        let leg = self.receivers.remove(&local).ok_or_else(|| format!("nobody receives from {local}"))?;
        for counted in self.relay.remove(&[leg]) {
            println!("left {local} {}", copies(&counted));
        }
        Ok(())
    }

    fn show(&self) {
        let counted = self.relay.statistics(self.source).unwrap_or_default();
        let by_path = counted.paths.by_path().map(|(path, packets)| format!("{path} {packets}")).join(" ");
        println!("camera received {} forwarded {} {by_path}", counted.received, counted.forwarded);
        if let Some(group) = self.relay.group(self.source) {
            println!(
                "group path {} receivers {} passes {} entered {}",
                group.path, group.receivers, group.passes, group.entered
            );
        }
        for (local, leg) in &self.receivers {
            let counted = self.relay.statistics(*leg).unwrap_or_default();
            println!("receiver {local} {}", copies(&counted));
        }
        println!("end");
    }
}

/// What a receiver was sent, and what was not sent to it.
fn copies(counted: &LegStatistics) -> String {
    let lost: u64 = counted.lost.iter().map(|(_, packets)| packets).sum();
    format!("sent {} lost {lost}", counted.sent)
}

/// Lines of standard input; they end with it.
fn standard_input() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
