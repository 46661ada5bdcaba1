//! Sentences of the report: what was compared, what is missing, and where others are ahead.

use anyhow::Error;

use super::rates::USUAL;
use super::subject::Subject;
use super::{Comparison, Effort, rtpengine};

/// What all should know before they read a figure.
pub(super) fn scope() -> Vec<String> {
    let mut scope = vec![
        "Every subject has the same two wires (veth pairs), the same packets, the same generator and the same sink, and takes \
         turns with the others. The sink checks each packet's addresses, ports, lengths, checksums, numbers and last word."
            .to_owned(),
        "What the kernel does (XDP, NAT) it does on both processors, which also generate and receive; programs have one \
         processor to themselves, and the generator and the kernel's receiving have the other."
            .to_owned(),
        "A rate counts if every packet arrives, and arrives meanwhile. One with loss is tried a second time.".to_owned(),
    ];
    if !rtpengine::has_kernel_module() {
        scope.push(
            "rtpengine runs in user space: its kernel module is not loaded on this machine, so it is not compared.".to_owned(),
        );
    }
    scope
}

/// A subject that is not there.
pub(super) fn missing(subject: Subject, package: &str) -> String {
    format!(
        "{} is missing: the package {package} is not installed. `cargo xtask bench -- --install-peers` installs it.",
        subject.title()
    )
}

/// A subject that this machine cannot run.
pub(super) fn refused(subject: Subject, error: &Error) -> String {
    format!("{} is missing: this kernel has none ({error:#}).", subject.title())
}

/// What the results say.
pub(super) fn of(comparison: &Comparison, effort: Effort) -> Vec<String> {
    let mut words = Vec::new();
    for subject in Subject::ALL {
        let (most, reason) = subject.limit();
        if comparison.rates.of(USUAL, subject).is_some() && most < effort.streams() {
            words.push(format!("{} is not given more than {most} streams: {reason}.", subject.title()));
        }
    }
    let is_overloaded = |subject| comparison.overload.iter().any(|(overloaded, _)| *overloaded == subject);
    let others = Subject::ALL.into_iter().filter(|subject| {
        *subject != Subject::Instruments
            && comparison.rates.of(USUAL, *subject).is_some()
            && !is_overloaded(*subject)
    });
    let others: Vec<_> = others.map(Subject::title).collect();
    if !others.is_empty() {
        words.push(format!(
            "Not overloaded, because the generator shares a processor with them, or with the kernel's work for them, and could \
             not send twice as much: {}.",
            others.join(", ")
        ));
    }
    words
}

/// Where somebody else is ahead of one of our modes.
pub(super) fn behind(comparison: &Comparison) -> Vec<String> {
    let others =
        [Subject::Nftables, Subject::Flowtable, Subject::Rtpengine, Subject::PlainRelay, Subject::Socat];
    let ours = Subject::ALL.into_iter().filter(|subject| subject.is_ours());
    let mut words = Vec::new();
    for subject in ours {
        let ahead = others.into_iter().filter_map(|other| {
            let ratio = comparison.rates.ratio(USUAL, subject, other)?.median();
            (ratio < 1.0).then(|| format!("{} ({:.2} times its rate)", other.title(), 1.0 / ratio))
        });
        let ahead: Vec<_> = ahead.collect();
        if !ahead.is_empty() {
            words.push(format!("Ahead of {}: {}.", subject.title(), ahead.join(", ")));
        }
    }
    for delays in &comparison.delays {
        let p50 = delays.figures().into_iter().next().map_or(f64::NAN, |figure| figure.value);
        let slower = comparison.delays.iter().filter(|other| {
            !other.subject.is_ours()
                && other.percent == delays.percent
                && other.figures().first().is_some_and(|figure| figure.value < p50)
        });
        let quicker: Vec<_> = slower.map(|other| other.subject.title()).collect();
        if delays.subject.is_ours() && !quicker.is_empty() {
            words.push(format!(
                "At {} percent of each subject's own rate, the median packet is quicker through {} than through {}.",
                delays.percent,
                quicker.join(", "),
                delays.subject.title()
            ));
        }
    }
    words
}
