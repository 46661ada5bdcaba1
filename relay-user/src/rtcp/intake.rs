//! Where whoever takes packets brings RTCP that is not sent on as it is.

use std::sync::Arc;

use relay_common::checksum::Change;
use relay_common::verdict::Drop;

use super::arrival::Inbox;
use super::counters::Counts;
use super::translator::Translator;
use crate::leg::LegId;

/// What is done with RTCP that the route of its leg sends to user space. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    inbox: Inbox,
    translator: Translator,
}

impl Intake {
    /// RTCP that ends here goes to `inbox`, and the rest is translated.
    pub(crate) fn new(inbox: Inbox, translator: Translator) -> Self {
        Self { inbox, translator }
    }

    /// Takes RTCP that arrived on a leg, and translates it if it is to be sent on: the change of its sum.
    ///
    /// # Errors
    /// The reason why it is not to be sent on: it ends here, or it cannot be translated.
    pub(crate) fn take(&self, leg: LegId, payload: &mut [u8]) -> Result<Change, Drop> {
        match self.translator.translate(leg.slot, payload)? {
            Some(change) => {
                Counts::add(&self.inbox.counts().translated);
                Ok(change)
            }
            None => {
                self.inbox.put(leg, payload);
                Err(Drop::RtcpEnded)
            }
        }
    }

    /// What became of it.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        self.inbox.counts()
    }
}
