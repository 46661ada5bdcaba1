//! Between calls and the media plane: session descriptions become sessions and come back readdressed.

use std::time::Duration;

use tokio::sync::mpsc;

use super::log;
use crate::config::Config;
use crate::sip::call::{Ended, MediaId, MediaRefusal, MediaReply, MediaRequest};

/// Why the media plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// What the media plane reports.
pub(super) enum MediaEvent {
    Reply(MediaReply),
    Silence(MediaId, Option<Duration>),
    Done,
}

pub(super) struct MediaPlane {
    events: mpsc::UnboundedReceiver<MediaEvent>,
    sender: mpsc::UnboundedSender<MediaEvent>,
}

impl MediaPlane {
    pub(super) async fn start(_config: &Config) -> Result<Self, StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        Ok(Self { events, sender })
    }
    pub(super) async fn next(&mut self) -> Option<MediaEvent> {
        self.events.recv().await
    }
    pub(super) fn ask(&mut self, request: MediaRequest) {
        let refusal = MediaRefusal {
            status: 503,
            warning: "no relay".to_owned(),
        };
        let _ = self.sender.send(MediaEvent::Reply(MediaReply {
            id: request.id,
            result: Err(refusal),
        }));
    }
    pub(super) fn check(&mut self, id: MediaId) {
        let _ = self.sender.send(MediaEvent::Silence(id, None));
    }
    pub(super) fn end(&mut self, ended: Ended) {
        log::ended(&ended.record, None);
    }
    pub(super) fn is_at_rest(&self) -> bool {
        true
    }
    pub(super) fn plane(&self) {}
    pub(super) async fn stop(self) {
        let _ = self.sender.send(MediaEvent::Done);
    }
}
