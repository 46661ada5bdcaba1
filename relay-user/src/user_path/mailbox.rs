//! Messages to a thread that waits for sockets: it wakes up for either.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::event::{EventfdFlags, eventfd};

/// Where messages are put in.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    messages: Sender<T>,
    bell: Arc<OwnedFd>,
}

/// Where they are taken out.
#[derive(Debug)]
pub(super) struct Letters<T> {
    messages: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// A mailbox and its other side.
///
/// # Errors
/// No more files can be opened.
pub(super) fn mailbox<T>() -> io::Result<(Mailbox<T>, Letters<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Mailbox { messages: sender, bell: Arc::clone(&bell) }, Letters { messages: receiver, bell }))
}

impl<T> Mailbox<T> {
    /// Puts a message in and rings. A thread that has ended does not read it.
    pub(super) fn put(&self, message: T) {
        let _ = self.messages.send(message);
        // Fails only if the bell rings already, 2^64 times.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl<T> Letters<T> {
    /// The oldest message, if there is one.
    pub(super) fn take(&self) -> Option<T> {
        self.messages.try_recv().ok()
    }

    /// Stops the ringing; messages that are put in from now on ring again.
    pub(super) fn heard(&self) {
        let mut count = [0; 8];
        // Fails only if it does not ring.
        let _ = rustix::io::read(&self.bell, &mut count);
    }
}

impl<T> AsFd for Letters<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
