//! What a REGISTER asks for.

use std::time::Duration;

use crate::sip::message::{Contacts, HeaderError, Message, SipUri};

/// What a REGISTER asks for.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Call-ID of the REGISTER: orders the requests of one terminal, together with...
    pub call_id: String,
    /// ...its CSeq number.
    pub cseq: u32,
    /// What is to change.
    pub change: Change,
}

/// What is to change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing: the terminal asks what is registered.
    None,
    /// All bindings are to go (`Contact: *`).
    RemoveAll,
    /// These are to be added, refreshed, or (with zero seconds) removed.
    Contacts(Vec<Contact>),
}

/// A contact of a REGISTER.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Its URI.
    pub uri: SipUri,
    /// How long it asks to be registered; `None`: as long as we like.
    pub expires: Option<Duration>,
    /// Preference, 0 to 1000.
    pub preference: u16,
}

/// Why a REGISTER cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A header field is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// `Contact: *` is only for leaving (RFC 3261 section 10.2.2).
    #[error("Contact: * needs Expires: 0")]
    WildcardNeedsZero,
}

impl Registration {
    /// Reads a REGISTER.
    ///
    /// # Errors
    /// [`RegisterError`], to be answered 400.
    pub fn of(request: &Message) -> Result<Self, RegisterError> {
        let expires = request.expires()?;
        let change = match request.contacts()? {
            Contacts::Wildcard if expires == Some(Duration::ZERO) => Change::RemoveAll,
            Contacts::Wildcard => return Err(RegisterError::WildcardNeedsZero),
            Contacts::List(list) if list.is_empty() => Change::None,
            Contacts::List(list) => Change::Contacts(
                list.into_iter()
                    .map(|contact| Contact {
                        expires: contact.expires().or(expires),
                        preference: contact.preference(),
                        uri: contact.uri,
                    })
                    .collect(),
            ),
        };
        Ok(Self { call_id: request.call_id()?, cseq: request.cseq()?.number, change })
    }
}
