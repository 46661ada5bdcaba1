//! UDP listeners: one datagram, one message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::counters::{TransportCounters, count};
use super::{Arrival, Flow, note_source};
use crate::sip::message::{self, Datagram, parse_datagram};

/// Room for bursts in the kernel, in bytes; the system may grant less (net.core.rmem_max).
const SOCKET_BUFFER: usize = 4 << 20;

/// Opens a listener.
pub(super) fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A smaller buffer than asked for is no reason not to run.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Reads datagrams until nobody wants them any more. When the queue is full this waits, and the kernel drops what does
/// not fit its buffer: SIP over UDP retransmits.
pub(super) async fn listen(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    limits: message::Limits,
    longest: usize,
    counters: Arc<TransportCounters>,
    arrivals: mpsc::Sender<Arrival>,
) {
    // One byte more than allowed shows that a datagram was longer.
    let mut buffer = vec![0; longest + 1];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = arrivals.closed() => return,
        };
        // An error here is the ICMP answer to something that we sent earlier; the socket stays usable.
        let Ok((length, remote)) = received else { continue };
        if length > longest {
            count(&counters.datagrams_too_long);
            continue;
        }
        let flow = Flow::Udp { local, remote };
        let datagram = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        let arrival = match parse_datagram(&datagram, &limits) {
            Ok(Datagram::KeepAlive) => {
                count(&counters.keep_alives);
                continue;
            }
            Ok(Datagram::Message(mut message)) => {
                note_source(&mut message, &flow);
                Arrival::Message(flow, message)
            }
            Err(error) => Arrival::Faulty(flow, error),
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
    }
}
