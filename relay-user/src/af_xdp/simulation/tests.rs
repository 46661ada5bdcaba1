//! The worker against the kernel that we play.

use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_frame_is_in_exactly_one_place(steps in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert_eq!(play(&steps), Ok(()));
    }
}

#[test]
fn a_packet_of_each_port_leaves_by_a_device_and_its_frame_is_free_again() {
    let (mut worker, mut kernel) = set_up().unwrap();
    for round in 0..100 {
        for port in &mut kernel {
            deliver(&mut worker, port, 2, 3, 20);
        }
        assert_eq!(worker.turn(), 3, "round {round}");
        take(&mut kernel[1], 15);
        assert_eq!(kernel[1].flying.len(), 3, "all leave by the port of the device");
        (0..3).for_each(|_| complete(&mut kernel[1], 0));
        check(&worker, &kernel).unwrap();
    }
    worker.turn();
    let free = worker.frames().free().len();
    assert_eq!(
        free,
        usize::from(PORTS) * RING as usize,
        "half of the frames are with the kernel, to be filled"
    );
    assert_eq!(worker.handler().book.borrow().sent, 300);
}

#[test]
fn a_device_that_takes_nothing_takes_no_frame_of_another() {
    let (mut worker, mut kernel) = set_up().unwrap();
    for _ in 0..100 {
        deliver(&mut worker, &mut kernel[0], 2, 3, 20);
        worker.turn();
    }
    assert_eq!(counted(&worker), (u64::from(RING), 100 - u64::from(RING)), "its ring is full");
    deliver(&mut worker, &mut kernel[2], 2, 5, 20);
    worker.turn();
    assert_eq!(worker.handler().book.borrow().sent, u64::from(RING) + 1, "another device's is not");
    check(&worker, &kernel).unwrap();
}

#[test]
fn what_a_device_that_is_down_does_not_take_is_dropped_until_it_is_up() {
    let (mut worker, mut kernel) = set_up().unwrap();
    let down = |worker: &mut Simulated| worker.wakeup_mut(1).unwrap().0.push_back(libc::ENETDOWN);
    for _ in 0..3 {
        down(&mut worker);
        deliver(&mut worker, &mut kernel[0], 2, 3, 20);
        worker.turn();
    }
    assert_eq!(counted(&worker), (1, 2), "only the first was tried");
    worker.turn();
    deliver(&mut worker, &mut kernel[0], 2, 3, 20);
    worker.turn();
    assert_eq!(worker.handler().book.borrow().sent, 2, "it is up again");
    check(&worker, &kernel).unwrap();
}

#[test]
fn every_receiver_gets_a_copy_and_the_last_one_the_packet_itself() {
    let (mut worker, mut kernel) = set_up().unwrap();
    // For the receivers 1 and 2, by the devices of slots 3 and 4: the latter has no port.
    deliver(&mut worker, &mut kernel[0], 2 << 2 | 3, 2, 20);
    let free = worker.frames().free().len();
    assert_eq!(worker.turn(), 2);
    let book = worker.handler().book.borrow();
    assert_eq!((book.entered, book.copied, book.lost[Loss::NoDevice as usize]), (1, 1, 1));
    drop(book);
    take(&mut kernel[1], 1);
    complete(&mut kernel[1], 0);
    check(&worker, &kernel).unwrap();
    worker.turn();
    assert_eq!(worker.frames().free().len(), free, "no frame is lost");
}

#[test]
fn what_a_device_drops_is_charged_to_who_it_was_for() {
    let (mut worker, mut kernel) = set_up().unwrap();
    // For receiver 1, by the device of slot 3.
    worker.wakeup_mut(1).unwrap().0.extend([libc::EBUSY, 0]);
    deliver(&mut worker, &mut kernel[0], 1 << 2 | 3, 2, 20);
    worker.turn();
    let book = worker.handler().book.borrow();
    assert_eq!((book.copied, book.lost[Loss::Refused as usize]), (1, 1), "it was handed to the device");
}

fn counted(worker: &Simulated) -> (u64, u64) {
    let book = worker.handler().book.borrow();
    (book.sent, book.dropped)
}
