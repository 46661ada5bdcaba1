//! The answering side: accepts, reads one line, passes the question on, writes one line.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::protocol::{Reply, Request};

/// Questions answered at the same time.
const CONCURRENT: usize = 16;

/// Longest question, in bytes.
const LONGEST_REQUEST: u64 = 4_096;

/// How long one exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A question, and where its answer goes.
pub type Question = (Request, oneshot::Sender<Reply>);

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
                let _ = tokio::time::timeout(TIMEOUT, exchange(stream, questions)).await;
                drop(place);
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

async fn exchange(stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(LONGEST_REQUEST)).read_line(&mut line).await?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let stopping = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the daemon is stopping");
            questions.send((request, answer)).await.map_err(|_| stopping(()))?;
            answered.await.map_err(|_| stopping(()))?
        }
        Err(error) => Reply::Invalid { message: error.to_string() },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    writing.write_all(&line).await
}
