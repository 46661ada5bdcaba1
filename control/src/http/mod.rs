//! The HTTP API: what the admin socket answers, as resources in JSON, for programs elsewhere. It translates requests into questions
//! to the daemon and replies into statuses, and knows nothing of how the daemon works.
//!
//! Every request needs the token, but for the schema, which holds no secret. `docs/api.md` shows how it is used.

mod connection;
mod reply;
mod routes;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

pub use token::TokenError;

use crate::admin::Question;
use crate::config::Http;
use connection::Bounded;
use token::Gate;

/// The schema of the API (OpenAPI 3.1).
pub const SCHEMA: &str = include_str!("openapi.json");

/// Why the API cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody can listen there.
    #[error("http.listen: {listen}: {error}; choose an address of this host, and a port that is free")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The API, listening.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    gate: Gate,
    connections: usize,
    requests: usize,
}

impl Server {
    /// Listens, and reads the token; a token is made where there is none yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: &Http) -> Result<Self, OpenError> {
        let token = token::load(&config.token_file)?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|error| OpenError::Listen { listen: config.listen, error })?;
        tracing::info!(listen = %config.listen, token = %config.token_file.display(), "HTTP API");
        let (connections, requests) = (config.connections, config.requests);
        Ok(Self { listener, gate: Gate::new(&token), connections, requests })
    }

    /// Serves until the receiver of the questions is gone.
    pub async fn run(self, questions: mpsc::Sender<Question>) {
        let ended = questions.clone();
        let listener = Bounded::new(self.listener, self.connections);
        let places = Arc::new(Semaphore::new(self.requests));
        let service = routes::service(self.gate, questions, places);
        tokio::select! {
            // It never ends by itself.
            _ = axum::serve(listener, service) => {}
            () = ended.closed() => {}
        }
    }
}

#[cfg(test)]
mod tests;
