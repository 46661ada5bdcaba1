//! Legs whose packets are sent on by user space over AF_XDP: the same behaviour as in the kernel, and exact books.

use crate::support::*;
use relay_user::{ModeChoice, SourcePolicy};

#[test]
fn a_punted_leg_forwards_both_ways_and_user_space_counts_it() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let bench = Bench::with_mode(mode);
        assert_eq!(bench.relay.punt_path().unwrap().problem, None);
        bench.call(
            camera_leg(SourcePolicy::Pinned).punted(true),
            viewer_leg(SourcePolicy::Pinned).punted(true),
        );
        let camera = bench.camera_socket(CAMERA_PORT);
        let viewer = bench.viewer_socket(VIEWER_PORT);

        for sequence in 0..100 {
            camera.send_to(&rtp(sequence, 7), to_relay_from_camera()).unwrap();
            let (packet, source) = receive(&viewer);
            assert_eq!((packet, source), (rtp(sequence, 7), to_relay_from_viewer()), "{mode:?}");
        }
        for sequence in 0..50 {
            viewer.send_to(&rtp(sequence, 8), to_relay_from_viewer()).unwrap();
            assert_eq!(receive(&camera).0, rtp(sequence, 8));
        }
        let counters = bench.relay.punt_path().unwrap().counters;
        assert_eq!((counters.received, counters.sent), (150, 150), "{counters:?}");
    }
}
