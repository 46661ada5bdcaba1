//! What tells transactions apart: RFC 3261 section 17.1.3 for clients, 17.2.3 for servers, 8.2.2.2 for merged requests.

use crate::sip::message::{HeaderError, Message, Method, Via};

/// Every branch of a client that follows RFC 3261 starts so (section 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// What a request is matched to its server transaction by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    branch: String,
    sent_by: String,
    method: String,
}

impl ServerKey {
    /// The key of a request whose topmost Via is `via`. An ACK has the key of its INVITE.
    #[must_use]
    pub fn of(via: &Via, method: &Method) -> Self {
        let method = if *method == Method::ACK { &Method::INVITE } else { method };
        let sent_by = format!("{}:{}", via.host, via.port.unwrap_or(5060)).to_ascii_lowercase();
        Self { branch: via.branch().unwrap_or_default(), sent_by, method: method.to_string() }
    }

    /// The key of the INVITE that a CANCEL with this key is for (RFC 3261 section 9.2).
    #[must_use]
    pub fn cancelled(&self) -> Self {
        Self { method: Method::INVITE.to_string(), ..self.clone() }
    }

    /// The key of a request whose branch does not name a transaction: what else tells it apart goes with it (RFC 3261 section
    /// 17.2.3).
    #[must_use]
    pub(super) fn of_call(self, call_id: &str, sequence: u32) -> Self {
        Self { branch: format!("{} {call_id} {sequence}", self.branch), ..self }
    }

    /// Whether the branch has the magic cookie. A branch without it does not name a transaction: terminals whose branches
    /// have none are refused, and devices, which the field is full of, are told apart by [`ServerKey::of_call`].
    #[must_use]
    pub fn has_magic_cookie(&self) -> bool {
        // The comparison ignores case, as that of any token does.
        self.branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
            && self.branch.len() > MAGIC_COOKIE.len()
    }
}

/// What a response is matched to its client transaction by. Branches are ours and unique, but CANCEL has that of its
/// INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    branch: String,
    method: String,
}

impl ClientKey {
    /// The key of a request that we send, or of a response to it: both carry our Via on top and the same CSeq.
    pub(super) fn of(message: &Message) -> Result<Self, HeaderError> {
        let branch = message.top_via()?.branch().unwrap_or_default();
        Ok(Self { branch, method: message.cseq()?.method.to_string() })
    }
}

/// What two copies of one request share when they arrive by different paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergeKey {
    from_tag: String,
    call_id: String,
    cseq: String,
}

impl MergeKey {
    /// The key of a request outside of a dialog; `None` inside of one, where copies are told apart by CSeq.
    ///
    /// # Errors
    /// A header field that every request has is malformed.
    pub fn of(request: &Message) -> Result<Option<Self>, HeaderError> {
        if request.to()?.tag().is_some() {
            return Ok(None);
        }
        let from_tag = request.from()?.tag().unwrap_or_default();
        Ok(Some(Self { from_tag, call_id: request.call_id()?, cseq: request.cseq()?.to_string() }))
    }
}
