//! One camera, many receivers: what arrives at the first address goes to every receiver, with its own addresses and SSRC.
//!
//! ```text
//! fan_out INTERFACE,... LOCAL CAMERA [LOCAL RECEIVER]...
//! fan_out eth1,eth2 10.77.2.1:30000 10.77.2.2:5004 10.77.1.1:40000 10.77.1.2:6004 10.77.1.1:40002 10.77.1.3:6004
//! ```
//!
//! Every second it prints what each receiver was sent, until it is interrupted; then media ends.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use relay_user::{LegSpec, Options, Plan, Relay, RetagSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: fan_out INTERFACE,... LOCAL CAMERA [LOCAL RECEIVER]...";
    let interfaces = arguments.next().ok_or(usage)?.split(',').map(str::to_owned).collect();
    let addresses: Vec<SocketAddr> = arguments.map(|address| address.parse()).collect::<Result<_, _>>()?;
    let mut legs = addresses.chunks_exact(2).map(|pair| LegSpec::new(pair[0]).remote(pair[1]));
    let camera = legs.next().ok_or(usage)?;
    let receivers: Vec<LegSpec> =
        (1..).zip(legs).map(|(ssrc, leg)| leg.retag(RetagSpec::default().ssrc(ssrc))).collect();

    let relay = Relay::start(&Options { interfaces, ..Options::default() }).await?;
    let source = relay.install(&Plan { legs: vec![camera], streams: Vec::new() }).await?[0];
    // They may come one by one, at any time; `Relay::remove` lets them leave.
    let receivers = relay.join(source, &receivers).await?;

    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let arrived = relay.statistics(source).unwrap_or_default();
        println!("{} packets arrived, {} of them for the group", arrived.received, arrived.forwarded);
        for receiver in &receivers {
            let counted = relay.statistics(*receiver).unwrap_or_default();
            println!("  {receiver}: {} sent, lost: {:?}", counted.sent, counted.lost);
        }
    }
}
