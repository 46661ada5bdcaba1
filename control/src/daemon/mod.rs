//! The daemon: opens what the configuration names, drops what privilege it does not need, runs until a signal, and
//! leaves nothing behind.

mod adopted;
mod engine;
mod log;
mod media;
mod orphans;
mod privileges;
mod status;
mod streams;
mod tap;

use std::sync::Arc;

use crate::admin;
use crate::config::Config;
use crate::gb28181::platform::Platform;
use crate::http;
use crate::sip::core::Core;
use crate::sip::transport::{OpenError, Sockets};

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Privileges are missing, or cannot be dropped.
    #[error(transparent)]
    Privileges(#[from] privileges::PrivilegeError),
    /// The runtime cannot be built.
    #[error("the runtime cannot start: {0}")]
    Runtime(std::io::Error),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] OpenError),
    /// The admin socket cannot be opened.
    #[error(transparent)]
    Admin(#[from] admin::ServeError),
    /// The HTTP API cannot be opened.
    #[error(transparent)]
    Http(#[from] http::OpenError),
    /// No randomness.
    #[error("the system has no randomness to give: {0}")]
    Randomness(getrandom::Error),
    /// The media plane cannot start.
    #[error(transparent)]
    Media(#[from] media::StartError),
}

/// Runs until SIGINT or SIGTERM, then ends all calls and returns.
///
/// # Errors
/// [`RunError`] when the daemon cannot start; nothing stays open then.
pub fn run(mut config: Config) -> Result<(), RunError> {
    // Mounting takes more than is kept.
    if let Some(relay) = &mut config.relay {
        media::prepare_state(relay)?;
    }
    // Capabilities belong to a thread: drop them while there is only this one.
    privileges::drop_unneeded(&config)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(serve(Arc::new(config)))
}

async fn serve(config: Arc<Config>) -> Result<(), RunError> {
    let signals = engine::Signals::new().map_err(RunError::Signals)?;
    let admin = admin::Server::open(&config.admin_socket)?;
    let http = match &config.http {
        Some(http) => Some(http::Server::open(http).await?),
        None => None,
    };
    let media = media::MediaPlane::start(&config).await?;
    let opened = Sockets::open(&config.sip.listen, &config.sip.limits).map_err(RunError::from);
    let core = Core::new(Arc::clone(&config)).and_then(|core| Ok((core, Platform::new(&config)?)));
    let core = core.map_err(RunError::Randomness);
    let (sockets, arrivals, core, platform) = match (opened, core) {
        (Ok((sockets, arrivals)), Ok((core, platform))) => (sockets, arrivals, core, platform),
        (Err(error), _) | (_, Err(error)) => {
            media.abandon();
            return Err(error);
        }
    };
    for listen in &config.sip.listen {
        tracing::info!(%listen, "listening");
    }
    engine::Engine::new(config, core, platform, sockets, media).run(arrivals, admin, http, signals).await;
    Ok(())
}
