//! TCP: a listener that accepts within limits, and connections that read messages and write what they are given.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::counters::{TransportCounters, count};
use super::{Arrival, ConnectionId, Flow, Outgoing, note_source};
use crate::sip::message::{self, StreamDecoder, StreamItem};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How long a peer may take to accept what we write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take to accept our connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages that wait to be written to one connection.
pub(super) const OUTGOING_QUEUE: usize = 256;

/// What all connections share.
pub(super) struct Shared {
    pub(super) limits: message::Limits,
    pub(super) idle: Duration,
    pub(super) total: usize,
    pub(super) per_source: usize,
    pub(super) counters: Arc<TransportCounters>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    next: AtomicU64,
    /// Connections by peer address, so that one source cannot take all.
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    taken: usize,
    by_source: HashMap<IpAddr, usize>,
}

impl Shared {
    pub(super) fn new(
        limits: message::Limits,
        config: &crate::config::Limits,
        counters: Arc<TransportCounters>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Self {
        Self {
            limits,
            idle: config.tcp_idle,
            total: config.tcp_connections,
            per_source: config.tcp_connections_per_source,
            counters,
            arrivals,
            next: AtomicU64::new(1),
            places: Mutex::new(Places::default()),
        }
    }

    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn place(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.taken >= self.total {
            count(&self.counters.connections_over_limit);
            return None;
        }
        let here = places.by_source.entry(source).or_insert(0);
        if *here >= self.per_source {
            count(&self.counters.connections_over_source_limit);
            return None;
        }
        *here += 1;
        places.taken += 1;
        Some(Place { shared: Arc::clone(self), source })
    }
}

/// A connection's place within the limits, given back when dropped.
struct Place {
    shared: Arc<Shared>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.shared.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.taken = places.taken.saturating_sub(1);
        if let Some(here) = places.by_source.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                places.by_source.remove(&self.source);
            }
        }
    }
}

/// Opens a listener.
pub(super) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.cast_signed())?;
    TcpListener::from_std(socket.into())
}

/// Accepts until nobody wants connections any more.
pub(super) async fn listen(listener: TcpListener, local: SocketAddr, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.arrivals.closed() => return,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: wait for some to come back instead of spinning.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = shared.place(remote.ip()) else {
            continue;
        };
        let id = shared.next_id();
        let (sender, outgoing) = mpsc::channel(OUTGOING_QUEUE);
        let flow = Flow::Tcp { local, remote, connection: Some(id) };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if shared.arrivals.send(Arrival::Opened(flow, id, sender.clone())).await.is_ok() {
                serve(stream, flow, id, sender, outgoing, &shared).await;
            }
            drop(place);
        });
    }
}

/// Connects, then serves like an accepted connection. What cannot be sent is reported.
pub(super) async fn connect(
    local: SocketAddr,
    remote: SocketAddr,
    id: ConnectionId,
    sender: mpsc::Sender<Outgoing>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
) {
    match tokio::time::timeout(CONNECT_TIMEOUT, dial(local, remote)).await {
        Ok(Ok(stream)) => {
            let flow = Flow::Tcp { local, remote, connection: Some(id) };
            serve(stream, flow, id, sender, outgoing, &shared).await;
        }
        Ok(Err(_)) | Err(_) => {
            drop(sender);
            outgoing.close();
            while let Some(message) = outgoing.recv().await {
                report(&message, &shared).await;
            }
            // Nobody listens when the daemon stops.
            let _ = shared.arrivals.send(Arrival::Closed(id)).await;
        }
    }
}

async fn dial(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(local.ip(), 0))?;
    socket.connect(remote).await
}

async fn serve(
    stream: TcpStream,
    flow: Flow,
    id: ConnectionId,
    sender: mpsc::Sender<Outgoing>,
    outgoing: mpsc::Receiver<Outgoing>,
    shared: &Arc<Shared>,
) {
    // Signalling is small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    let writer = tokio::spawn(write(writing, outgoing, Arc::clone(shared)));
    read(reading, flow, sender, shared).await;
    // After this the core drops its sender, the writer drains what was queued (the answer to a faulty message) and
    // closes.
    let _ = shared.arrivals.send(Arrival::Closed(id)).await;
    let _ = tokio::time::timeout(WRITE_TIMEOUT, writer).await;
}

async fn read(mut stream: OwnedReadHalf, flow: Flow, sender: mpsc::Sender<Outgoing>, shared: &Shared) {
    let mut buffer = BytesMut::with_capacity(4_096);
    let mut decoder = StreamDecoder::new(shared.limits);
    loop {
        loop {
            let arrival = match decoder.decode(&mut buffer) {
                Ok(None) => break,
                Ok(Some(StreamItem::Ping)) => {
                    count(&shared.counters.keep_alives);
                    let pong = Outgoing { bytes: Bytes::from_static(b"\r\n"), transaction: None };
                    // A peer that pings faster than it reads may miss a pong.
                    let _ = sender.try_send(pong);
                    continue;
                }
                Ok(Some(StreamItem::Message(mut message))) => {
                    note_source(&mut message, &flow);
                    Arrival::Message(flow, message)
                }
                Ok(Some(StreamItem::Faulty(error))) => Arrival::Faulty(flow, error),
                Err(error) => {
                    let _ = shared.arrivals.send(Arrival::Faulty(flow, error)).await;
                    return;
                }
            };
            if shared.arrivals.send(arrival).await.is_err() {
                return;
            }
        }
        match tokio::time::timeout(shared.idle, stream.read_buf(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(_) => return,
            Err(_) => {
                count(&shared.counters.connections_idle);
                return;
            }
        }
    }
}

async fn write(mut stream: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Outgoing>, shared: Arc<Shared>) {
    while let Some(message) = outgoing.recv().await {
        let written = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&message.bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            outgoing.close();
            report(&message, &shared).await;
            while let Some(message) = outgoing.recv().await {
                report(&message, &shared).await;
            }
            return;
        }
    }
}

async fn report(message: &Outgoing, shared: &Shared) {
    if let Some(transaction) = message.transaction {
        // Nobody listens when the daemon stops.
        let _ = shared.arrivals.send(Arrival::Unsent(transaction)).await;
    }
}
