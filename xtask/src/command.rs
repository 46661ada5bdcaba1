//! Runs programs: prints each command line before it runs, and says what to do when it fails.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Prints the command, runs it to its end with our own standard output, and fails with `hint` unless it succeeds.
pub(crate) fn run(command: &mut Command, hint: &str) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`\n  {hint}"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})\n  {hint}");
    }
    Ok(())
}

/// Runs a command silently and returns what it wrote to its standard output, if it succeeded.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of this name is on the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    let Some(path) = env::var_os("PATH") else {
        return false;
    };
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

/// `cargo` in the project's root, for the user half.
///
/// Started as `cargo xtask`, we carry variables that describe ourselves; a child build must not see them.
pub(crate) fn cargo() -> Command {
    cargo_named("cargo")
}

/// The same for a program that works like `cargo`.
pub(crate) fn cargo_named(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    for (name, _) in env::vars_os() {
        if describes_ourselves(&name) {
            command.env_remove(name);
        }
    }
    drop_library_paths_of_cargo(&mut command);
    command
}

/// Whether cargo or rustup set this variable to describe the package that it runs (ourselves).
///
/// The user's own settings (`CARGO_HOME`, `CARGO_NET_OFFLINE`, …) stay.
fn describes_ourselves(name: &OsStr) -> bool {
    const EXACT: &[&str] = &[
        "CARGO",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
        "RUSTUP_TOOLCHAIN",
        "RUSTUP_TOOLCHAIN_SOURCE",
        "RUST_RECURSION_COUNT",
    ];
    let name = name.to_string_lossy();
    EXACT.contains(&name.as_ref()) || name.starts_with("CARGO_PKG_")
}

/// `cargo run` puts the toolchain's own libraries first, among them an LLVM; other tools must find theirs.
fn drop_library_paths_of_cargo(command: &mut Command) {
    const VARIABLE: &str = "LD_LIBRARY_PATH";
    let Some(paths) = env::var_os(VARIABLE) else {
        return;
    };
    let is_foreign = |path: &Path| {
        !path.starts_with(workspace::target())
            && !path.components().any(|part| part.as_os_str() == "rustlib")
            && !path.components().any(|part| part.as_os_str() == "toolchains")
    };
    let kept: Vec<_> = env::split_paths(&paths).filter(|path| is_foreign(path)).collect();
    match env::join_paths(&kept) {
        Ok(joined) if !kept.is_empty() => command.env(VARIABLE, joined),
        _ => command.env_remove(VARIABLE),
    };
}

/// The command as a user would type it, with the variables that were set for it.
fn line(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir().filter(|folder| *folder != workspace::root()) {
        words.push(format!("cd {} &&", folder.strip_prefix(workspace::root()).unwrap_or(folder).display()));
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.display(), quote(value)));
        }
    }
    words.push(quote(command.get_program()));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// Quotes a word for a shell where it needs it.
fn quote(word: &OsStr) -> String {
    // Rust flags are handed over with an ASCII unit separator between them.
    let word = word.to_string_lossy().replace('\u{1f}', " ");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
