//! Which engine makes the copies, and why.

use std::collections::HashMap;

use super::{FanOutError, FanOutSetup};
use crate::statistics::Path;

/// Which engine the caller wants to make copies for groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanOutChoice {
    /// XDP where the kernel makes copies that can be told apart, else AF_XDP.
    #[default]
    Auto,
    /// XDP or none. It takes native XDP on all interfaces.
    Xdp,
    /// AF_XDP or none.
    AfXdp,
}

/// The engine of all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// Who makes the copies.
    pub(crate) path: Path,
    /// Why, in one sentence.
    pub(crate) reason: String,
}

/// What speaks against each engine, if anything does.
#[derive(Debug, Default)]
struct Obstacles {
    xdp: Option<FanOutError>,
    /// Why there are no AF_XDP workers.
    af_xdp: Option<String>,
}

impl Engine {
    /// Takes the engine that the caller wants and nothing speaks against.
    ///
    /// # Errors
    /// Something speaks against each that would do.
    fn choose(choice: FanOutChoice, obstacles: Obstacles) -> Result<Self, FanOutError> {
        let wanted = "the caller asks for it";
        match (choice, obstacles.xdp, obstacles.af_xdp) {
            (FanOutChoice::Auto, None, _) => Ok(Self::new(
                Path::Xdp,
                "all interfaces run native XDP, and the kernel takes the programs".to_owned(),
            )),
            (FanOutChoice::Auto, Some(xdp), None) => {
                Ok(Self::new(Path::AfXdp, format!("XDP makes no copies: {}", xdp.short())))
            }
            (FanOutChoice::Auto, Some(xdp), Some(af_xdp)) => {
                Err(FanOutError::NoEngine { xdp: xdp.short(), af_xdp })
            }
            (FanOutChoice::Xdp, None, _) => Ok(Self::new(Path::Xdp, wanted.to_owned())),
            (FanOutChoice::Xdp, Some(xdp), _) => Err(xdp),
            (FanOutChoice::AfXdp, _, None) => Ok(Self::new(Path::AfXdp, wanted.to_owned())),
            (FanOutChoice::AfXdp, _, Some(problem)) => Err(FanOutError::NoAfXdp(problem)),
        }
    }

    pub(crate) fn new(path: Path, reason: String) -> Self {
        Self { path, reason }
    }
}

impl FanOutSetup {
    /// Chooses who makes the copies, and makes what the kernel needs for it, once; in the network namespace of the calling
    /// thread. `generic` is an interface that runs in generic mode, `no_workers` why there are no AF_XDP workers. Returns the
    /// engine, and the CPUs that make copies: one that means nothing if none of them belongs to a CPU.
    ///
    /// # Errors
    /// There is no engine.
    pub(crate) fn choose(
        &mut self,
        devices: &HashMap<u32, u32>,
        generic: Option<String>,
        no_workers: Option<String>,
    ) -> Result<(Engine, Vec<u32>), FanOutError> {
        let mut cpus = vec![0];
        let xdp = if self.choice == FanOutChoice::AfXdp {
            None
        } else if let Some(interface) = generic {
            Some(FanOutError::Generic(interface))
        } else if let Some(found) = self.untrusted.clone() {
            // It is tried once.
            Some(FanOutError::Untrusted(found))
        } else {
            self.prepare(devices).map(|prepared| cpus = prepared).err()
        };
        if let Some(FanOutError::Untrusted(found)) = &xdp {
            self.untrusted = Some(found.clone());
        }
        let engine = Engine::choose(self.choice, Obstacles { xdp, af_xdp: no_workers })?;
        Ok((engine, cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        choice: FanOutChoice,
        xdp: Option<FanOutError>,
        af_xdp: Option<&str>,
    ) -> Result<Engine, FanOutError> {
        Engine::choose(choice, Obstacles { xdp, af_xdp: af_xdp.map(str::to_owned) })
    }

    fn untrusted() -> Option<FanOutError> {
        Some(FanOutError::Untrusted("copy 3 came before copy 2".to_owned()))
    }

    #[test]
    fn xdp_is_taken_where_nothing_speaks_against_it() {
        for (choice, path) in [
            (FanOutChoice::Auto, Path::Xdp),
            (FanOutChoice::Xdp, Path::Xdp),
            (FanOutChoice::AfXdp, Path::AfXdp),
        ] {
            assert_eq!(chosen(choice, None, None).unwrap().path, path);
        }
        assert_eq!(chosen(FanOutChoice::Auto, None, Some("no sockets")).unwrap().path, Path::Xdp);
    }

    #[test]
    fn a_kernel_that_cannot_be_trusted_leads_to_af_xdp_and_is_told() {
        let engine = chosen(FanOutChoice::Auto, untrusted(), None).unwrap();
        assert_eq!(engine.path, Path::AfXdp);
        assert!(engine.reason.contains("copy 3 came before copy 2"), "{}", engine.reason);
        let generic =
            chosen(FanOutChoice::Auto, Some(FanOutError::Generic("eth1".to_owned())), None).unwrap();
        assert!(generic.path == Path::AfXdp && generic.reason.contains("`eth1` runs in generic mode"));
    }

    #[test]
    fn who_asks_for_an_engine_that_cannot_be_had_hears_why() {
        let refused = chosen(FanOutChoice::Xdp, untrusted(), None);
        assert!(matches!(refused, Err(FanOutError::Untrusted(_))), "{refused:?}");
        let refused = chosen(FanOutChoice::AfXdp, None, Some("no sockets"));
        assert!(matches!(refused, Err(FanOutError::NoAfXdp(_))), "{refused:?}");
        let refused = chosen(FanOutChoice::Auto, untrusted(), Some("no sockets")).unwrap_err().to_string();
        assert!(refused.contains("copy 3 came before copy 2") && refused.contains("no sockets"), "{refused}");
    }
}
