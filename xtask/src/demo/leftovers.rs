//! Names that tell which demo something belongs to, so that a later one can remove what a crashed one left behind.

use std::fs;

const PREFIX: &str = "culvert-demo-";

/// A name for something of this run.
pub(super) fn name(role: &str) -> String {
    format!("{PREFIX}{}-{role}", std::process::id())
}

/// The names among these that belong to demos whose process is gone.
pub(super) fn among(names: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    names
        .filter(|name| owner(name).is_some_and(|process| !is_running(process)))
        .inspect(|name| {
            eprintln!("demo: removing what a crashed run left behind: {name}");
        })
}

/// The names in a folder; none if there is no such folder.
pub(super) fn names_in(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// The process that made something of this name, if a demo did.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Whether this process number belongs to a demo; it may have been given to another program meanwhile.
fn is_running(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "xtask")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_made_has_an_owner() {
        assert_eq!(owner("culvert-demo-4711-camera"), Some(4711));
        assert_eq!(owner("culvert-demo-mine"), None);
        assert_eq!(owner("production"), None);
    }

    #[test]
    fn what_a_running_demo_made_is_no_leftover() {
        let process_that_cannot_be = u32::MAX;
        let gone = format!("{PREFIX}{process_that_cannot_be}-camera");
        let names = [gone.clone(), "production".to_owned()];
        assert_eq!(among(names.into_iter()).collect::<Vec<_>>(), [gone]);
    }
}
