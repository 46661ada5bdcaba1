//! Legs and streams that are installed together, and the checks that a plan passes before anything is touched.

mod address;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::error::InstallError;
use crate::leg::{LegSpec, MediaKind, RtcpMode, SHORTEST_RELEARN, Sharing, SourcePolicy};
use crate::retag::Continuity;
use crate::vlan::Tag;

pub(crate) use address::{check_address, check_remote, scope};

/// A direction of media: what arrives on one leg leaves by another. Indexes are into [`Plan::legs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The leg that receives.
    pub ingress: usize,
    /// The leg that sends.
    pub egress: usize,
}

/// Legs and streams that are installed together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The legs.
    pub legs: Vec<LegSpec>,
    /// The directions between them; a leg without a stream swallows what it admits.
    pub streams: Vec<StreamSpec>,
}

/// Streams that may leave by one leg: statistics of that leg are read from all of them.
const MOST_SOURCES: usize = 1_024;

/// What the checks found out about a plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// For each leg, the leg that sends on what arrives there.
    pub(crate) egress: Vec<Option<usize>>,
    /// For each leg, whether anything is sent from it.
    pub(crate) sends: Vec<bool>,
}

/// Checks everything that can be known without the state of the relay, in time proportional to the plan.
///
/// # Errors
/// The first thing that no kernel table could hold, or that contradicts another.
pub(crate) fn check(plan: &Plan) -> Result<Checked, InstallError> {
    for (at, leg) in plan.legs.iter().enumerate() {
        check_leg(leg).map_err(|refusal| refusal.of(at))?;
    }
    let checked = check_streams(plan)?;
    check_keys(plan)?;
    Ok(checked)
}

/// Why a leg is refused.
enum Refusal {
    /// One of its addresses, or its remote side is missing.
    Address(InstallError),
    RemoteNeeded,
    /// A rule of it: its name in [`LegSpec`], and what is wrong with it.
    Rule(&'static str, String),
}

impl From<InstallError> for Refusal {
    fn from(error: InstallError) -> Self {
        Self::Address(error)
    }
}

impl Refusal {
    fn of(self, leg: usize) -> InstallError {
        match self {
            Self::Address(error) => error,
            Self::RemoteNeeded => InstallError::RemoteNeeded(leg),
            Self::Rule(rule, problem) => InstallError::Rule { leg, rule, problem },
        }
    }
}

/// Checks one leg by itself.
fn check_leg(leg: &LegSpec) -> Result<(), Refusal> {
    let refuse = |rule, problem: &str| Err(Refusal::Rule(rule, problem.to_owned()));
    check_address(leg.local, "local address")?;
    match leg.remote {
        Some(remote) => {
            check_remote(remote)?;
            check_family(leg.local, remote)?;
        }
        None if leg.source != SourcePolicy::Learn => return Err(Refusal::RemoteNeeded),
        None => {}
    }
    check_sharing(leg)?;
    let rtcp_alone = leg.media == MediaKind::Rtcp;
    if leg.clock_rate == Some(0) {
        return refuse("clock_rate", "a clock of 0 Hz stands still");
    }
    if let Some(problem) = leg.vlan.iter().find_map(Tag::problem) {
        return refuse("vlan", problem);
    }
    if let Some(problem) = leg.limit.and_then(|limit| limit.problem()) {
        return Err(Refusal::Rule("limit", problem));
    }
    if leg.quality && rtcp_alone {
        return refuse("quality", "RTCP has no sequence numbers: measure the leg of its RTP");
    }
    if leg.rtcp == RtcpMode::Terminate && leg.media == MediaKind::Rtp {
        return refuse("rtcp", "a leg of RTP alone gets no RTCP: terminate it on the leg that does");
    }
    match leg.relearn_after {
        Some(_) if leg.source == SourcePolicy::Pinned => {
            return refuse("relearn_after", "a pinned leg learns nothing that it could forget");
        }
        Some(after) if after < SHORTEST_RELEARN => {
            return refuse("relearn_after", &format!("{after:?}, and the shortest is {SHORTEST_RELEARN:?}"));
        }
        _ => {}
    }
    let Some(retag) = &leg.retag else { return Ok(()) };
    if let Some(problem) = retag.problem() {
        return Err(Refusal::Rule("retag", problem));
    }
    if rtcp_alone && retag.changes_rtp() {
        return refuse("retag", "RTCP has no RTP header: only its DSCP can change");
    }
    if retag.continuity == Continuity::Continue && leg.clock_rate.is_none() {
        return refuse("retag", "a timestamp that continues needs `clock_rate`");
    }
    if retag.continuity == Continuity::Continue && retag.ssrc.is_none() {
        return refuse(
            "retag",
            "a stream that continues another needs an SSRC of its own, `RetagSpec::ssrc`",
        );
    }
    Ok(())
}

/// Both sides of a leg speak one family, and it does not talk to itself.
pub(crate) fn check_family(local: SocketAddr, remote: SocketAddr) -> Result<(), InstallError> {
    if local.is_ipv4() != remote.is_ipv4() {
        let problem =
            "its local address is of the other family; give the other side's leg that family instead";
        return Err(InstallError::Address { address: remote, role: "remote address", problem });
    }
    if scope(local) != 0 && scope(local) != scope(remote) {
        let problem =
            "its local address is link-local, and reaches link-local addresses of its own interface only";
        return Err(InstallError::Address { address: remote, role: "remote address", problem });
    }
    if local == remote {
        let problem = "it is its local address too: media would go in circles";
        return Err(InstallError::Address { address: remote, role: "remote address", problem });
    }
    Ok(())
}

/// What shared ports, and the legs on them, must and must not say.
fn check_sharing(leg: &LegSpec) -> Result<(), Refusal> {
    let refuse = |problem: &str| Err(Refusal::Rule("shared", problem.to_owned()));
    match leg.shared {
        Sharing::Port => {
            let door = LegSpec { owner: leg.owner, limit: leg.limit, ..LegSpec::shared_port(leg.local) };
            if *leg == door {
                return Ok(());
            }
            refuse("a shared port has a limit and an owner at most; everything else is said of its legs")
        }
        Sharing::BySsrc if leg.ssrc.is_none() => refuse("a leg that is found by its SSRC needs `ssrc`"),
        Sharing::Alone | Sharing::BySsrc => Ok(()),
        Sharing::BySource => match leg.remote {
            Some(remote) if remote.port() != 0 && leg.source == SourcePolicy::Pinned => Ok(()),
            _ => refuse("a leg that is found by its source is pinned to a remote address and port"),
        },
    }
}

/// Streams join two different legs; each leg feeds one; a stream that continues another has one source.
fn check_streams(plan: &Plan) -> Result<Checked, InstallError> {
    let legs = plan.legs.len();
    let mut egress = vec![None; legs];
    let mut sources = vec![0; legs];
    for stream in &plan.streams {
        let StreamSpec { ingress, egress: to } = *stream;
        let wrong = InstallError::Stream { ingress, egress: to, legs };
        let (Some(from), Some(sender)) = (plan.legs.get(ingress), plan.legs.get(to)) else {
            return Err(wrong);
        };
        if ingress == to {
            return Err(wrong);
        }
        for (leg, spec) in [(ingress, from), (to, sender)] {
            if spec.shared == Sharing::Port {
                let problem = "a shared port is no side of a stream; its legs are".to_owned();
                return Err(InstallError::Rule { leg, rule: "shared", problem });
            }
        }
        if egress[ingress].replace(to).is_some() {
            return Err(InstallError::TwoStreams(ingress));
        }
        let continues = sender.retag.as_ref().is_some_and(|retag| retag.continuity == Continuity::Continue);
        sources[to] += 1;
        if sources[to] > MOST_SOURCES {
            let problem = format!("it is the egress of more than {MOST_SOURCES} streams");
            return Err(InstallError::Rule { leg: to, rule: "streams", problem });
        }
        if sources[to] > 1 && continues {
            let problem = "a stream that continues another has one source at a time".to_owned();
            return Err(InstallError::Rule { leg: to, rule: "retag", problem });
        }
    }
    Ok(Checked { egress, sends: sources.into_iter().map(|sources| sources > 0).collect() })
}

/// No two legs of the plan claim the same packets.
fn check_keys(plan: &Plan) -> Result<(), InstallError> {
    let mut alone = HashSet::with_capacity(plan.legs.len());
    let mut on_shared = HashSet::new();
    for leg in &plan.legs {
        let is_new = match leg.shared {
            Sharing::Alone | Sharing::Port => alone.insert(leg.local),
            Sharing::BySsrc => on_shared.insert((leg.local, leg.ssrc, None)),
            Sharing::BySource => on_shared.insert((leg.local, None, leg.remote)),
        };
        if !is_new {
            return Err(InstallError::Taken(leg.local));
        }
    }
    Ok(())
}
