//! How many files, and so sockets, this process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process needs beside the sockets of legs: maps, programs, signalling, logs.
const OTHERS: u64 = 512;

/// The limit is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{legs} legs of the user-space backend need {needed} open files, and this process may open {limit} (the hard limit of \
     RLIMIT_NOFILE); raise it (LimitNOFILE= of a systemd unit, `ulimit -Hn` of a shell), or relay fewer legs"
)]
pub struct OpenFilesError {
    /// Legs that were asked for.
    pub legs: u32,
    /// Files that they need, with those of the rest of the process.
    pub needed: u64,
    /// Files that may be open.
    pub limit: u64,
}

/// The limit of open files.
pub(crate) struct OpenFiles;

impl OpenFiles {
    /// Makes sure that a socket for each of `legs` can be opened: raises the soft limit as far as the hard one allows.
    ///
    /// # Errors
    /// The hard limit is too low.
    pub(crate) fn reserve(legs: u32) -> Result<(), OpenFilesError> {
        let needed = u64::from(legs) + OTHERS;
        let found = getrlimit(Resource::Nofile);
        if found.current.is_none_or(|limit| limit >= needed) {
            return Ok(());
        }
        let raised = Rlimit { current: found.maximum, maximum: found.maximum };
        if found.maximum.is_some_and(|limit| limit < needed) || setrlimit(Resource::Nofile, raised).is_err() {
            return Err(OpenFilesError { legs, needed, limit: found.maximum.unwrap_or(u64::MAX) });
        }
        Ok(())
    }

    /// Files that may be open now.
    pub(crate) fn limit() -> u64 {
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_legs_than_files_are_refused_with_the_limit_named() {
        let error = OpenFiles::reserve(u32::MAX).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("RLIMIT_NOFILE") && text.contains("LimitNOFILE="), "{text}");
        assert_eq!(error.needed, u64::from(u32::MAX) + OTHERS);
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_it_may_be() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit { current: Some(OTHERS), maximum: hard };
        setrlimit(Resource::Nofile, low).unwrap();
        assert_eq!(OpenFiles::reserve(100), Ok(()));
        assert!(OpenFiles::limit() >= OTHERS + 100);
    }
}
