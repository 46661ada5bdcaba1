//! The answering side: accepts, reads one line, passes the question on, writes one line.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::protocol::{Reply, Request};

/// Questions answered at the same time.
const CONCURRENT: usize = 64;

/// Longest question, in bytes.
const LONGEST_REQUEST: u64 = 4_096;

/// How long a question may take to arrive, and its answer to be taken.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A question, and where its answer goes.
pub type Question = (Request, oneshot::Sender<Answer>);

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// One reply.
    Reply(Reply),
    /// [`Reply::Capturing`], and then what comes.
    Capture(Capture),
}

/// A capture as it grows.
#[derive(Debug)]
pub struct Capture {
    /// Its bytes, in whole blocks; it ends with the sender.
    pub chunks: mpsc::Receiver<Bytes>,
    /// Tells its maker to come to an end.
    pub stop: oneshot::Sender<()>,
}

/// Why the admin socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another daemon answers there.
    #[error(
        "admin.socket {}: another daemon answers there; stop it, or choose another path",
        socket.display()
    )]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// The system refuses.
    #[error("admin.socket {}: {error}; choose a path in a folder that Culvert may write to", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The listening admin socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
}

impl Server {
    /// Opens the socket with mode 0600, in place of a dead daemon's. Creates the last folder of the path.
    ///
    /// # Errors
    /// [`ServeError`] when a daemon answers there already, or the system refuses.
    pub fn open(socket: &Path) -> Result<Self, ServeError> {
        let refused = |error| ServeError::Refused { socket: socket.to_owned(), error };
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return Err(ServeError::InUse { socket: socket.to_owned() });
        }
        if let Some(folder) =
            socket.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        {
            std::fs::create_dir(folder).map_err(refused)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(refused)?;
        }
        match std::fs::symlink_metadata(socket) {
            Ok(facts) if std::os::unix::fs::FileTypeExt::is_socket(&facts.file_type()) => {
                std::fs::remove_file(socket).map_err(refused)?;
            }
            Ok(_) => {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there");
                return Err(refused(error));
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(socket).map_err(refused)?;
        let server = Self { listener, socket: socket.to_owned() };
        // Between bind and this line the umask decides; the folder above is ours alone.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
        Ok(server)
    }

    /// Serves until the receiver of the questions is gone.
    pub async fn run(self, questions: mpsc::Sender<Question>) {
        let places = Arc::new(Semaphore::new(CONCURRENT));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = questions.closed() => return,
            };
            let Ok((stream, _)) = stream else {
                // Out of descriptors: wait for some to come back instead of spinning.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let questions = questions.clone();
            tokio::spawn(async move {
                // A client that hangs up early is its own problem.
                let exchanged = exchange(stream, questions).await;
                // A capture takes as long as it takes, and the data plane limits how many there are.
                drop(place);
                if let Ok(Some((capture, reading, writing))) = exchanged {
                    stream_out(capture, reading, writing).await;
                }
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a file that somebody removed before us.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A capture that was asked for, and both halves of the connection that it goes to.
type Streaming = (Capture, OwnedReadHalf, OwnedWriteHalf);

/// One question and its answer.
async fn exchange(stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<Option<Streaming>> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reading = reading.take(LONGEST_REQUEST);
    tokio::time::timeout(TIMEOUT, BufReader::new(&mut reading).read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let patience = request.patience();
            let (answer, answered) = oneshot::channel();
            let stopping = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the daemon is stopping");
            questions.send((request, answer)).await.map_err(|_| stopping(()))?;
            tokio::time::timeout(patience, answered).await?.map_err(|_| stopping(()))?
        }
        Err(error) => Answer::Reply(Reply::Invalid { message: error.to_string() }),
    };
    let (reply, capture) = match answer {
        Answer::Reply(reply) => (reply, None),
        Answer::Capture(capture) => (Reply::Capturing, Some(capture)),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    if let Err(error) = tokio::time::timeout(TIMEOUT, writing.write_all(&line)).await? {
        if let Reply::Playing(playing) = reply {
            // Who asked is gone and never learns the viewer's name, so nobody else would end it.
            let (answer, _) = oneshot::channel();
            questions
                .send((Request::Hangup { call: playing.viewer }, answer))
                .await
                .map_err(io::Error::other)?;
        }
        return Err(error);
    }
    Ok(capture.map(|capture| (capture, reading.into_inner(), writing)))
}

/// Sends a capture until it ends or nobody takes it any more. A client that closes its sending side gets the rest.
async fn stream_out(capture: Capture, mut reading: OwnedReadHalf, mut writing: OwnedWriteHalf) {
    let Capture { mut chunks, stop } = capture;
    let mut stop = Some(stop);
    let mut word = [0; 64];
    loop {
        tokio::select! {
            chunk = chunks.recv() => {
                let Some(chunk) = chunk else { return };
                if writing.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            read = reading.read(&mut word), if stop.is_some() => {
                if !matches!(read, Ok(1..)) && let Some(stop) = stop.take() {
                    // It may have ended by itself.
                    let _ = stop.send(());
                }
            }
        }
    }
}
