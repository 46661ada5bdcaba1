//! The workers of the user-space backend, and the sockets that they share out among themselves.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::mailbox::{Mailbox, mailbox};
use super::relay::{Copier, Decider};
use super::worker::{Bound, Command, Worker};
use crate::sockets::{UdpSocket, UdpSocketError};

/// What the thread that opens sockets is asked for.
struct Request {
    locals: Vec<SocketAddr>,
    answer: mpsc::Sender<Result<Vec<UdpSocket>, UdpSocketError>>,
}

/// The workers; they end when this is dropped.
pub(super) struct Workers {
    mailboxes: Vec<Mailbox<Command>>,
    threads: Vec<JoinHandle<()>>,
    /// Opens sockets in the network namespace that the workers were started in, whoever asks for them.
    opener: mpsc::Sender<Request>,
    /// The open sockets.
    open: HashMap<SocketAddr, Arc<Bound>>,
    /// Worker of the next socket.
    next: usize,
}

impl Workers {
    /// Starts one worker for each of `deciders`, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No more files can be opened, or no more threads started.
    pub(super) fn start<D: Decider + Copier + Send + 'static>(deciders: Vec<D>) -> io::Result<Self> {
        let (opener, requests) = mpsc::channel();
        let mut workers =
            Self { mailboxes: Vec::new(), threads: Vec::new(), opener, open: HashMap::new(), next: 0 };
        let open = move || requests.iter().for_each(answer);
        workers.threads.push(thread::Builder::new().name("culvert-open".into()).spawn(open)?);
        for (number, decider) in deciders.into_iter().enumerate() {
            let (mailbox, letters) = mailbox()?;
            let worker = Worker::new(letters, decider)?;
            let name = format!("culvert-user-{number}");
            workers.threads.push(thread::Builder::new().name(name).spawn(move || worker.run())?);
            workers.mailboxes.push(mailbox);
        }
        Ok(workers)
    }

    /// Opens a socket at each of these addresses that has none yet, at all of them or at none.
    ///
    /// # Errors
    /// See [`UdpSocketError`]; none is open then that was not before.
    pub(super) fn open(&mut self, locals: &[SocketAddr]) -> Result<(), UdpSocketError> {
        let missing: HashSet<SocketAddr> =
            locals.iter().copied().filter(|local| !self.open.contains_key(local)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<SocketAddr> = missing.into_iter().collect();
        let (answer, sockets) = mpsc::channel();
        // The thread lives as long as this: both ends are here.
        let _ = self.opener.send(Request { locals: missing.clone(), answer });
        let sockets = sockets.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
        for (local, socket) in missing.into_iter().zip(sockets) {
            self.add(local, socket);
        }
        Ok(())
    }

    /// Closes the sockets at these addresses; they are closed when this returns.
    pub(super) fn close(&mut self, locals: &[SocketAddr]) {
        let mut closed = false;
        for local in locals {
            if self.open.remove(local).is_none() {
                continue;
            }
            closed = true;
            for mailbox in &self.mailboxes {
                mailbox.put(Command::Remove(*local));
            }
        }
        if closed {
            self.wait();
        }
    }

    /// Sends one datagram by the socket at `from`.
    ///
    /// # Errors
    /// There is no such socket, or the kernel does not take the datagram.
    pub(super) fn send(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let bound = self.open.get(&from).ok_or(io::ErrorKind::NotConnected)?;
        bound.socket.send_to(payload, to)
    }

    /// Closes every socket and ends the threads.
    pub(super) fn end(&mut self) {
        for mailbox in self.mailboxes.drain(..) {
            mailbox.put(Command::Stop);
        }
        // Nobody asks any more: the thread that opens sockets ends.
        self.opener = mpsc::channel().0;
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
        self.open.clear();
    }

    fn add(&mut self, local: SocketAddr, socket: UdpSocket) {
        let bound = Arc::new(Bound::new(local, socket));
        self.open.insert(local, Arc::clone(&bound));
        self.next = (self.next + 1) % self.mailboxes.len().max(1);
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            mailbox.put(Command::Add(Arc::clone(&bound), number == self.next));
        }
    }

    /// Waits until every worker has done what it was told, and counted what it sent before.
    pub(super) fn wait(&self) {
        let (answer, answers) = mpsc::channel();
        for mailbox in &self.mailboxes {
            mailbox.put(Command::Answer(answer.clone()));
        }
        drop(answer);
        // Ends when every worker has answered, or is gone.
        while answers.recv().is_ok() {}
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

fn answer(request: Request) {
    let sockets = request.locals.into_iter().map(UdpSocket::bind).collect();
    // Nobody may be waiting any more.
    let _ = request.answer.send(sockets);
}
