//! Threads that make the kernel send: one for each processor, until they are told to stop.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aya::programs::{ProgramError, TestRun, TestRunAttrs, TestRunOptions, Xdp};

use crate::machine::{self, CALLING_THREAD, Urgency};

/// How the kernel is to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive<'a> {
    /// The generator program.
    pub(crate) program: &'a Xdp,
    /// A frame of the right size; the program writes its headers anew.
    pub(crate) frame: &'a [u8],
    /// Packets that leave together.
    pub(crate) batch: u32,
    /// Processors that send.
    pub(crate) cpus: u32,
}

/// The threads that send, by the kernel's numbers; 0 until they run.
pub(crate) struct Senders(Vec<AtomicI32>);

impl Senders {
    /// Runs `work` while nothing else, not even another process, takes a processor from the senders: on a busy machine
    /// other work would not only take time, but also fill the caches. The calling thread keeps precedence over them.
    /// To be used for parts of a second.
    pub(crate) fn undisturbed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        machine::set_urgency(CALLING_THREAD, Urgency::AboveSenders)?;
        let urgent = self.set_urgency(Urgency::Sender);
        let result = urgent.and_then(|()| work());
        self.set_urgency(Urgency::Ordinary)?;
        machine::set_urgency(CALLING_THREAD, Urgency::Ordinary)?;
        result
    }

    /// How long they had a processor.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let times = self.0.iter().map(|number| machine::processor_time_of(number.load(Ordering::Relaxed)));
        Ok(times.sum::<io::Result<Duration>>()?)
    }

    fn set_urgency(&self, urgency: Urgency) -> Result<()> {
        self.0.iter().try_for_each(|number| {
            machine::set_urgency(number.load(Ordering::Relaxed), urgency)
                .context("giving the generators precedence")
        })
    }
}

/// Sends while `work` runs, and stops then. Returns what `work` returned.
pub(crate) fn while_sending<T>(drive: Drive<'_>, work: impl FnOnce(&Senders) -> Result<T>) -> Result<T> {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(handle_stop_signal);
    let stop = AtomicBool::new(false);
    let numbers = Senders((0..drive.cpus).map(|_| AtomicI32::new(0)).collect());
    thread::scope(|scope| {
        let stop = &stop;
        let senders: Vec<_> = (0..drive.cpus)
            .zip(&numbers.0)
            .map(|(cpu, number)| {
                scope.spawn(move || {
                    // SAFETY: only reads the number of this thread.
                    number.store(unsafe { libc::gettid() }, Ordering::Relaxed);
                    send(drive, cpu, stop)
                })
            })
            .collect();
        let result = work(&numbers);
        stop.store(true, Ordering::Relaxed);
        // A signal that comes before a run has begun is lost, so it is repeated.
        while senders.iter().any(|sender| !sender.is_finished()) {
            for number in &numbers.0 {
                interrupt(number.load(Ordering::Relaxed));
            }
            thread::sleep(Duration::from_millis(2));
        }
        for sender in senders {
            sender.join().map_err(|_| anyhow!("a generator thread panicked"))??;
        }
        result
    })
}

fn send(drive: Drive<'_>, cpu: u32, stop: &AtomicBool) -> Result<()> {
    machine::pin(cpu).with_context(|| format!("tying a generator to processor {cpu}"))?;
    while !stop.load(Ordering::Relaxed) {
        let options = TestRunOptions {
            data_in: Some(drive.frame),
            repeat: u32::MAX,
            attrs: TestRunAttrs::new().xdp_live_frames(drive.batch),
            ..TestRunOptions::default()
        };
        match drive.program.test_run(options) {
            Ok(_) => {}
            Err(ProgramError::SyscallError(call)) if call.io_error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(error)
                    .context("the kernel refused to send test packets (Linux 5.18 or later can)");
            }
        }
    }
    Ok(())
}

/// Interrupts the system call that a thread of this process is in.
fn interrupt(thread: i32) {
    if thread != 0 {
        // SAFETY: the signal's handler does nothing, and a thread that is gone is only an error.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
    }
}

/// Makes the signal interrupt a system call, and do nothing else.
fn handle_stop_signal() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler touches nothing; without SA_RESTART the interrupted call returns.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
}
