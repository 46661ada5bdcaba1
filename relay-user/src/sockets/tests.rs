//! Batches over the loopback device.

use std::net::{SocketAddr, UdpSocket as Plain};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::*;

const ANY_PORT: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// A socket of ours and its address.
fn ours(any: &str) -> (UdpSocket, SocketAddr) {
    // The port that the kernel would choose, free again.
    let address = Plain::bind(any).unwrap().local_addr().unwrap();
    (UdpSocket::bind(address).unwrap(), address)
}

/// Packets of these sizes, each full of its own number, one behind the other.
fn packets(sizes: &[usize]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut bytes = Vec::new();
    let ranges = sizes.iter().enumerate().map(|(number, size)| {
        let start = bytes.len();
        bytes.resize(start + size, u8::try_from(number % 251).unwrap());
        start..bytes.len()
    });
    let ranges = ranges.collect();
    (bytes, ranges)
}

/// Sends packets of these sizes through a batch; returns what it reported.
fn send(batch: &mut SendBatch, socket: &UdpSocket, to: SocketAddr, sizes: &[usize]) -> Vec<Sent> {
    let (buffer, ranges) = packets(sizes);
    let mut reports = Vec::new();
    for bytes in ranges {
        batch.push(Part { bytes, to, traffic_class: 0xb8, hops: Some(9), account: 7 });
        if batch.is_full() {
            batch.flush(socket.as_fd(), &buffer, |sent| reports.push(sent));
        }
    }
    batch.flush(socket.as_fd(), &buffer, |sent| reports.push(sent));
    assert!(batch.is_empty());
    reports
}

/// The packets that arrive, until there are `count`, and how many datagrams of the kernel's they came in.
fn receive(socket: &UdpSocket, from: SocketAddr, count: usize) -> (Vec<Vec<u8>>, usize) {
    let mut batch = ReceiveBatch::new(4, 1 << 16);
    let (mut arrived, mut datagrams) = (Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while arrived.len() < count && Instant::now() < deadline {
        for at in 0..batch.receive(socket.as_fd()).unwrap_or_default() {
            let datagram = batch.datagram(at).unwrap();
            assert_eq!((datagram.source, datagram.truncated), (from, false));
            assert_eq!((datagram.traffic_class, datagram.hops), (0xb8, Some(9)));
            arrived.extend(datagram.packets().map(|range| batch.buffer()[range].to_vec()));
            datagrams += 1;
        }
    }
    (arrived, datagrams)
}

#[test]
fn packets_arrive_as_they_were_sent_however_many_travel_together() {
    let key_frame = [[1200; 79].as_slice(), &[311]].concat();
    for any in ANY_PORT {
        for sizes in [&key_frame[..], &[160], &[160, 160, 200, 160, 1], &[0, 5, 0, 0], &[60_000, 9_000]] {
            for mut batch in [SendBatch::new(16), SendBatch::without_segmentation(16)] {
                let ((sender, from), (receiver, to)) = (ours(any), ours(any));
                let reports = send(&mut batch, &sender, to, sizes);
                let sent: u32 = reports.iter().map(|sent| sent.packets).sum();
                assert!(
                    reports.iter().all(|sent| sent.refused.is_none() && sent.account == 7),
                    "{reports:?}"
                );
                assert_eq!(sent as usize, sizes.len());
                let (arrived, _) = receive(&receiver, from, sizes.len());
                let (bytes, ranges) = packets(sizes);
                let expected: Vec<_> = ranges.into_iter().map(|range| bytes[range].to_vec()).collect();
                assert!(
                    arrived == expected,
                    "{any} {sizes:?}: {:?}",
                    arrived.iter().map(Vec::len).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn a_key_frame_is_a_handful_of_datagrams() {
    let ((sender, from), (receiver, to)) = (ours(ANY_PORT[0]), ours(ANY_PORT[0]));
    let reports = send(&mut SendBatch::new(16), &sender, to, &[1200; 80]);
    assert_eq!(reports.len(), 2, "54 packets of 1200 bytes fit in 65,507: {reports:?}");
    let (arrived, datagrams) = receive(&receiver, from, 80);
    assert_eq!((arrived.len(), datagrams), (80, 2));
}

#[test]
fn what_the_kernel_refuses_is_reported_and_the_rest_is_sent() {
    let ((sender, from), (receiver, to)) = (ours(ANY_PORT[0]), ours(ANY_PORT[0]));
    let (buffer, ranges) = packets(&[100, 100, 100]);
    let mut batch = SendBatch::new(4);
    // No route leads from the loopback address to there.
    let nowhere: SocketAddr = "192.0.2.1:9".parse().unwrap();
    for (bytes, to) in ranges.into_iter().zip([to, nowhere, to]) {
        batch.push(Part { bytes, to, traffic_class: 0xb8, hops: Some(9), account: 1 });
    }
    let mut refused = Vec::new();
    batch.flush(sender.as_fd(), &buffer, |sent| refused.push(sent.refused.is_some()));
    assert_eq!(refused, [false, true, false]);
    assert_eq!(receive(&receiver, from, 2).0.len(), 2);
}

#[test]
fn a_port_belongs_to_one_socket() {
    let (_held, address) = ours(ANY_PORT[0]);
    let error = UdpSocket::bind(address).unwrap_err();
    assert!(matches!(error, UdpSocketError::InUse(found) if found == address), "{error}");
    let foreign = UdpSocket::bind("192.0.2.1:4000".parse().unwrap()).unwrap_err();
    assert!(foreign.to_string().contains("192.0.2.1 is no address of this machine"), "{foreign}");
}

#[test]
fn what_a_full_socket_lost_is_told() {
    let ((sender, _), (receiver, to)) = (ours(ANY_PORT[0]), ours(ANY_PORT[0]));
    let mut batch = ReceiveBatch::new(64, 2048);
    let mut lost = None;
    // Far more than any socket holds.
    for _ in 0..100 {
        send(&mut SendBatch::without_segmentation(64), &sender, to, &[1400; 200]);
    }
    while let Ok(count) = batch.receive(receiver.as_fd()) {
        lost = (0..count).filter_map(|at| batch.datagram(at)?.overflowed).max().or(lost);
    }
    // The last datagram that was taken in knows of those that were not before it; one more knows of all.
    send(&mut SendBatch::new(1), &sender, to, &[10]);
    batch.receive(receiver.as_fd()).unwrap();
    let all = batch.datagram(0).unwrap().overflowed;
    assert!(all > Some(0) && all >= lost, "{lost:?} {all:?}");
}
