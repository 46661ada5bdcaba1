//! The token that requests must have: made at the first start, kept in a file that only its owner can read. It must not know
//! requests.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::attempts::Attempts;

/// Shortest token that is accepted, in characters.
const SHORTEST: usize = 32;

/// Longest file that is read, in bytes.
const LONGEST_FILE: u64 = 4_096;

/// Wrong tokens from one address in a minute; after that it is answered 429 for a minute.
const WRONG_PER_MINUTE: u32 = 20;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("http.token_file: {}: {error}; name a file in a folder that Culvert may write to", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can read it.
    #[error("http.token_file: {} has mode {mode:o}, expected 600: others can read the token; chmod 600 it", file.display())]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no secret.
    #[error(
        "http.token_file: {} holds {length} characters, expected {SHORTEST} or more; remove it to have a token made",
        file.display()
    )]
    Short {
        /// The file.
        file: PathBuf,
        /// How many.
        length: usize,
    },
    /// No randomness.
    #[error("the system has no randomness to give: {0}")]
    Randomness(getrandom::Error),
}

/// Reads the token, or makes one.
pub(super) fn load(file: &Path) -> Result<String, TokenError> {
    let failed = |error| TokenError::File { file: file.to_owned(), error };
    match OpenOptions::new().read(true).open(file) {
        Ok(opened) => {
            let mode = opened.metadata().map_err(failed)?.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(TokenError::Mode { file: file.to_owned(), mode });
            }
            let mut text = String::new();
            opened.take(LONGEST_FILE).read_to_string(&mut text).map_err(failed)?;
            let token = text.trim_ascii().to_owned();
            let length = token.chars().count();
            if length < SHORTEST {
                return Err(TokenError::Short { file: file.to_owned(), length });
            }
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(TokenError::Randomness)?;
            let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            made.and_then(|mut made| writeln!(made, "{token}")).map_err(failed)?;
            tracing::info!(file = %file.display(), "a token for the HTTP API was made");
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Lets requests in that have the token.
#[derive(Debug)]
pub(super) struct Gate {
    /// SHA-256 of the token, so that comparing takes as long whatever is offered.
    digest: [u8; 32],
    wrong: Mutex<Attempts<IpAddr>>,
}

/// What a request's token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Granted,
    /// There is none, or a wrong one: 401.
    Refused,
    /// There were too many wrong ones: 429.
    Banned,
}

impl Gate {
    pub(super) fn new(token: &str) -> Self {
        let wrong = Mutex::new(Attempts::new(WRONG_PER_MINUTE));
        Self { digest: Sha256::digest(token).into(), wrong }
    }

    /// Checks the value of an Authorization field.
    pub(super) fn check(&self, now: Instant, source: IpAddr, authorization: Option<&[u8]>) -> Entry {
        // The data behind the lock is whole after every statement.
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.is_over_limit(now, &source) {
            return Entry::Banned;
        }
        let Some(value) = authorization else { return Entry::Refused };
        let (scheme, offered) = value.split_at_checked(7).unwrap_or((value, b""));
        let offered = Sha256::digest(offered.trim_ascii());
        if scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(offered.ct_eq(&self.digest)) {
            return Entry::Granted;
        }
        wrong.note(now, source);
        Entry::Refused
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = load(&file).unwrap();
        assert_eq!((token.len(), fs::metadata(&file).unwrap().mode() & 0o777), (64, 0o600));
        assert_eq!(load(&file).unwrap(), token);
        assert_ne!(load(&folder.path().join("other")).unwrap(), token);
    }

    #[test]
    fn token_that_others_can_read_or_guess_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "x".repeat(40)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("mode 644, expected 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(load(&file).unwrap(), "x".repeat(40));
        fs::write(&file, "admin\n").unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("holds 5 characters"));
        let nowhere = load(Path::new("/nowhere/token")).unwrap_err().to_string();
        assert!(nowhere.contains("/nowhere/token"), "{nowhere}");
    }

    #[test]
    fn who_guesses_is_banned_and_others_are_not() {
        let (gate, now) = (Gate::new("secret of tests"), Instant::now());
        let (bad, good) = ("192.0.2.66".parse().unwrap(), "192.0.2.7".parse().unwrap());
        let check = |source, value: &str| gate.check(now, source, Some(value.as_bytes()));
        assert_eq!(check(good, "bearer secret of tests"), Entry::Granted);
        assert_eq!(gate.check(now, good, None), Entry::Refused);
        for wrong in ["Bearer", "Basic secret of tests", "Bearer secret of test", ""].iter().cycle().take(20)
        {
            assert_eq!(check(bad, wrong), Entry::Refused, "{wrong}");
        }
        assert_eq!(check(bad, "Bearer secret of tests"), Entry::Banned);
        assert_eq!(check(good, "Bearer secret of tests"), Entry::Granted);
    }
}
