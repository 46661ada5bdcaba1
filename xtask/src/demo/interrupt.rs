//! Ctrl-C: noticed between steps, so that everything which was set up is taken down in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long one look at whatever is waited for may be late.
const STEP: Duration = Duration::from_millis(20);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP end the demo in order instead of at once.
pub(super) fn watch() {
    let note: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler has the required signature and only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, note as libc::sighandler_t) };
    }
}

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Sleeps, unless interrupted.
pub(super) fn sleep(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        check()?;
        thread::sleep(left.min(STEP));
    }
    check()
}

/// Looks again and again until there is something; fails after `patience`.
pub(super) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        check()?;
        thread::sleep(STEP);
    }
}

/// Whether the user wants the demo to end.
pub(super) fn happened() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn check() -> Result<()> {
    if happened() { bail!("interrupted; everything was taken down") } else { Ok(()) }
}
