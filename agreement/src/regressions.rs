//! Frames that the two sides once disagreed about: kept in a file, and run first ever after.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shared::frame::{Frame, LONGEST, ROOM, SHORTEST};

/// A frame, and whose scene it arrives in.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The frame before the core sees it.
    pub frame: Frame,
    /// The scene is the one of this seed
    pub seed: u64,
    /// and of the frame of this number.
    pub number: u64,
}

/// The file of such frames: seed, number, and the frame in hexadecimal, one a line; what follows `#` is a comment.
pub struct Regressions(PathBuf);

impl Regressions {
    /// The file at this path; it need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The frames that are in it.
    ///
    /// # Errors
    /// A line that is no frame, or a file that cannot be read.
    pub fn read(&self) -> Result<Vec<Case>> {
        let name = self.0.display();
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("reading {name}"))?,
        };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
            .map(|(at, line)| {
                case(line).with_context(|| {
                    format!(
                        "{name}, line {}: found `{line}`, expected a seed, a number and {SHORTEST} to {LONGEST} bytes in \
                         hexadecimal",
                        at + 1
                    )
                })
            })
            .collect()
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, case: &Case) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        let bytes = hexadecimal(&case.frame.bytes[..case.frame.length as usize]);
        writeln!(file, "{} {} {bytes}", case.seed, case.number)?;
        Ok(())
    }
}

fn case(line: &str) -> Option<Case> {
    let mut words = line.split_whitespace();
    let (seed, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Case { frame: frame(&bytes(words.next()?)?)?, seed, number })
}

/// A frame of these bytes, if there are neither too few nor too many.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| (SHORTEST..=LONGEST).contains(length))?;
    let mut frame = Frame { length, reserved: 0, bytes: [0; ROOM] };
    frame.bytes[..bytes.len()].copy_from_slice(bytes);
    Some(frame)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<_>>().filter(|_| digits.len().is_multiple_of(2))
}

/// Bytes as they are written in the file.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
