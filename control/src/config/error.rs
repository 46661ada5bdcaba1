//! Why a configuration was refused, in words that say how to fix it.

use std::io;
use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {error}; name the file with --config FILE", file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type. Points at line and column.
    #[error("{}: {error}", file.display())]
    Syntax {
        /// The configuration file.
        file: PathBuf,
        /// The parser's account, with the line and a caret.
        error: Box<toml::de::Error>,
    },
    /// A value that cannot work.
    #[error("{}: {key}: found {found}; expected {expected}. {fix}", file.display())]
    Value {
        /// The configuration file.
        file: PathBuf,
        /// The key, as a path: `account[1].password`.
        key: String,
        /// What was found. Never a secret.
        found: String,
        /// What would have been right.
        expected: String,
        /// What to do.
        fix: String,
    },
}
