//! Dialogs: RFC 3261 section 12. What a side of a call must remember to send requests and to check received ones.
//! It sends nothing itself, and knows neither calls nor media.

use bytes::Bytes;

use super::message::{CSeq, HeaderError, HeaderName, Host, Message, Method, NameAddr, SipUri, Via};
use super::transport::{Flow, Transport};

/// Hops that a request of ours may still take (RFC 3261 section 8.1.1.6).
const MAX_FORWARDS: &str = "70";

/// Why a request does not fit its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Call-ID or tags are those of another dialog: 481.
    OtherDialog,
    /// Its CSeq is not higher than the last one: 500 (section 12.2.2).
    OutOfOrder,
}

/// One confirmed dialog between us and a terminal.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local_tag: String,
    remote_tag: String,
    /// Our From, with its tag, as it stands in requests that we send.
    local: Bytes,
    /// Our To, with the terminal's tag, as it stands in requests that we send.
    remote: Bytes,
    /// Our Contact.
    contact: Bytes,
    local_sequence: u32,
    remote_sequence: Option<u32>,
    target: SipUri,
    routes: Vec<Bytes>,
    flow: Flow,
}

impl Dialog {
    /// The dialog that our answer to an INVITE makes. `invite` is what we received on `flow`, `local_tag` and `contact`
    /// are what we answered.
    ///
    /// # Errors
    /// A header field that is needed is absent or malformed.
    pub fn answered(
        invite: &Message,
        flow: Flow,
        local_tag: &str,
        contact: &[u8],
    ) -> Result<Self, HeaderError> {
        Ok(Self {
            call_id: invite.call_id()?,
            local_tag: local_tag.to_owned(),
            remote_tag: invite.from()?.tag().unwrap_or_default(),
            local: invite.to()?.with_tag(local_tag).to_bytes().into(),
            remote: invite.from()?.to_bytes().into(),
            contact: Bytes::copy_from_slice(contact),
            local_sequence: 0,
            remote_sequence: Some(invite.cseq()?.number),
            flow: flow.towards(&invite.contact()?.uri),
            target: invite.contact()?.uri,
            routes: invite.headers.elements(HeaderName::RecordRoute),
        })
    }

    /// The dialog that a 2xx to our INVITE makes.
    ///
    /// # Errors
    /// A header field that is needed is absent or malformed.
    pub fn established(invite: &Message, response: &Message, flow: Flow) -> Result<Self, HeaderError> {
        let contact =
            invite.headers.get(HeaderName::Contact).map(super::message::Header::value).unwrap_or_default();
        Ok(Self {
            call_id: response.call_id()?,
            local_tag: response.from()?.tag().unwrap_or_default(),
            remote_tag: response.to()?.tag().unwrap_or_default(),
            local: response.from()?.to_bytes().into(),
            remote: response.to()?.to_bytes().into(),
            contact,
            local_sequence: invite.cseq()?.number,
            remote_sequence: None,
            target: response.contact()?.uri,
            routes: response.headers.elements(HeaderName::RecordRoute).into_iter().rev().collect(),
            flow,
        })
    }

    /// The tag that we chose.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// Where requests go.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Our Contact in this dialog.
    #[must_use]
    pub fn contact(&self) -> &Bytes {
        &self.contact
    }

    /// A request of ours inside the dialog, with the next sequence number, ready but for its body.
    pub fn request(&mut self, method: Method, branch: &str) -> Message {
        self.local_sequence += 1;
        self.build(method, self.local_sequence, branch)
    }

    /// The ACK of a 2xx to our INVITE with this sequence number (RFC 3261 section 13.2.2.4).
    #[must_use]
    pub fn ack(&self, sequence: u32, branch: &str) -> Message {
        self.build(Method::ACK, sequence, branch)
    }

    /// Checks a received request and notes its sequence number. An ACK has that of its INVITE, and a CANCEL too.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn receive(&mut self, flow: Flow, request: &Message) -> Result<(), Misfit> {
        let fits = || -> Result<bool, HeaderError> {
            Ok(request.call_id()? == self.call_id
                && request.from()?.tag().unwrap_or_default() == self.remote_tag
                && request.to()?.tag().unwrap_or_default() == self.local_tag)
        };
        if !fits().unwrap_or(false) {
            return Err(Misfit::OtherDialog);
        }
        let Ok(cseq) = request.cseq() else {
            return Err(Misfit::OtherDialog);
        };
        if cseq.method != Method::ACK {
            if self.remote_sequence.is_some_and(|last| cseq.number <= last) {
                return Err(Misfit::OutOfOrder);
            }
            self.remote_sequence = Some(cseq.number);
        }
        // The terminal may have moved, or its NAT may have given it another port.
        self.flow = flow.towards(&self.target);
        Ok(())
    }

    /// Notes the Contact of a target refresh (INVITE or UPDATE, and their 2xx).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(contact) = message.contact() {
            self.target = contact.uri;
        }
    }

    fn build(&self, method: Method, sequence: u32, branch: &str) -> Message {
        let mut request = Message::request(method.clone(), self.target.clone());
        request.push_via(&own_via(&self.flow, branch));
        for route in &self.routes {
            request.headers.push(HeaderName::Route, route);
        }
        request
            .with(HeaderName::MaxForwards, MAX_FORWARDS)
            .with(HeaderName::From, &self.local)
            .with(HeaderName::To, &self.remote)
            .with(HeaderName::CallId, &self.call_id)
            .with(HeaderName::CSeq, CSeq { number: sequence, method }.to_string())
            .with(HeaderName::Contact, &self.contact)
            .with(HeaderName::ContentLength, "0")
    }
}

/// Our Via on a flow.
#[must_use]
pub fn own_via(flow: &Flow, branch: &str) -> Via {
    let transport = match flow.transport() {
        Transport::Udp => super::message::Transport::UDP,
        Transport::Tcp => super::message::Transport::TCP,
    };
    let local = flow.local();
    Via::new(transport, Host::Address(local.ip()), Some(local.port()), branch)
}

/// Our address on a flow, for From, To and Contact.
#[must_use]
pub fn own_uri(flow: &Flow, user: &str) -> SipUri {
    let local = flow.local();
    let uri = SipUri::new(Some(user), Host::Address(local.ip()), Some(local.port()));
    match flow.transport() {
        Transport::Udp => uri,
        Transport::Tcp => uri.with_param("transport", Some("tcp")),
    }
}

/// Our Contact on a flow.
#[must_use]
pub fn own_contact(flow: &Flow, user: &str) -> Vec<u8> {
    NameAddr::new(own_uri(flow, user)).to_bytes()
}

#[cfg(test)]
mod tests;
