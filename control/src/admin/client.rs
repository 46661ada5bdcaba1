//! The asking side, for one-shot commands.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Reply, Request};

/// How long the daemon may take beyond the patience of a request.
const GRACE: Duration = Duration::from_secs(1);

/// Longest answer that is read, in bytes.
const LONGEST_REPLY: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or we may not ask.
    #[error(
        "{}: {error}; is `culvert run` running, with this admin.socket, and are you the user that it runs as?",
        socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The answer cannot be read.
    #[error("{}: the answer makes no sense ({error}); are daemon and command of the same version?", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What was wrong.
        error: serde_json::Error,
    },
}

/// Asks the daemon and waits for its answer, as long as the request may take ([`Request::patience`]).
///
/// # Errors
/// [`AskError`] when the daemon cannot be reached or does not answer sensibly.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    let line = exchange(socket, request)
        .map_err(|error| AskError::Unreachable { socket: socket.to_owned(), error })?;
    serde_json::from_str(&line).map_err(|error| AskError::Answer { socket: socket.to_owned(), error })
}

fn exchange(socket: &Path, request: &Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let patience = request.patience() + GRACE;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST_REPLY)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the daemon closed the connection without an answer",
        ));
    }
    Ok(answer)
}
