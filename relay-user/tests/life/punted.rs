//! Packets that user space sends on stop with its process, and go on with the next.

use relay_user::DEFAULT_PUNT_FRAMES;
use testbed::Topology;

use crate::support::*;

/// How often the process is killed.
const TIMES: usize = 3;

#[test]
fn a_killed_process_gives_its_queues_and_frames_back_and_its_successor_goes_on() {
    let (topology, state) = (Topology::create().expect("this test takes root"), State::mount());
    let mut holder = Holder::start(&topology, &state.folder(), 64);
    holder.punted_call();
    let media = Media::start(&topology);
    for _ in 0..TIMES {
        media.flows(1_000);
        holder.kill();
        // Nobody has the sockets: the program lets the network stack have the packets, and counts them.
        media.stops();
        holder = Holder::start(&topology, &state.folder(), 64);
        assert_eq!(holder.adopted, 2);
        assert!(holder.counter("no_worker") > 0);
    }
    // More than there are frames: each is used again.
    while holder.counter("punts_sent") < u64::from(2 * DEFAULT_PUNT_FRAMES) {
        media.flows(1_000);
    }
    assert_eq!(holder.counter("punts_misplaced"), 0);

    let (sent, wrong) = media.stop();
    let leg = holder.legs().swap_remove(0);
    // Every packet is in the leg's books, or was left to the network stack, or lay in a frame of a process that was killed.
    let (left, in_frames) = (holder.counter("no_worker"), TIMES as u64 * u64::from(DEFAULT_PUNT_FRAMES));
    let books = format!("{leg:?}, {left} left to the network stack, {} lost of {sent}", wrong.len());
    assert!(leg.adopted && leg.received <= sent, "{books}");
    assert!(leg.received + left + in_frames >= sent, "{books}");
    holder.end("stop");
    assert_eq!(state.pins(), [] as [std::path::PathBuf; 0]);
}
