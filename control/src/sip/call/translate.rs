//! What of one side's message the other side sees: bodies and header fields that are meant for the far end pass, those
//! that steer a hop or tell about the topology do not.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::sip::dialog::{own_contact, own_uri};
use crate::sip::message::{Header, HeaderName, Message, NameAddr, StartLine};
use crate::sip::transport::Flow;

/// The methods that we take part in.
pub(in crate::sip) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, UPDATE, REGISTER";

/// Header fields of which each side of a call has its own, or which concern one hop only.
const OWN: [HeaderName; 29] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::Contact,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::ContentEncoding,
    HeaderName::ContentDisposition,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Path,
    HeaderName::Supported,
    HeaderName::Require,
    HeaderName::ProxyRequire,
    HeaderName::Unsupported,
    HeaderName::Allow,
    HeaderName::SessionExpires,
    HeaderName::MinSe,
    HeaderName::Authorization,
    HeaderName::WwwAuthenticate,
    HeaderName::ProxyAuthorization,
    HeaderName::ProxyAuthenticate,
    HeaderName::RSeq,
    HeaderName::RAck,
    HeaderName::Timestamp,
    HeaderName::MinExpires,
];

/// Header fields by which a side could claim an identity that we did not check, or name a dialog that the other side
/// does not know.
const UNTRUSTED: [&str; 7] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Identity",
    "Replaces",
    "Target-Dialog",
    "Join",
];

/// Copies what is meant for the far end.
pub(super) fn copy_headers(from: &Message, to: &mut Message) {
    for header in from.headers.iter().filter(|header| is_end_to_end(header)) {
        to.headers.push_header(header.clone());
    }
}

/// Copies the body with its description; `body` is what becomes of it.
pub(super) fn carry_body(from: &Message, to: &mut Message, body: Bytes) {
    if body.is_empty() {
        return;
    }
    let content_type = from.headers.get(HeaderName::ContentType).and_then(Header::text);
    to.set_body(content_type.as_deref().unwrap_or("application/sdp"), body);
    for name in [HeaderName::ContentEncoding, HeaderName::ContentDisposition] {
        for header in from.headers.all(name) {
            to.headers.push_header(header.clone());
        }
    }
}

/// Our INVITE to a contact of the called: everything but Via, body and session timer.
pub(super) fn invite(
    incoming: &Message,
    contact: &crate::sip::message::SipUri,
    flow: &Flow,
    users: (&str, &str),
    tag: &str,
    call_id: &str,
) -> Option<Message> {
    let (from, to) = users;
    let mut invite = Message::request(crate::sip::message::Method::INVITE, contact.clone());
    let hops = incoming.max_forwards().ok()?.unwrap_or(70).saturating_sub(1);
    let display = incoming.from().ok()?.display;
    let caller = NameAddr { display, ..NameAddr::new(own_uri(flow, from)) }.with_tag(tag);
    let called = NameAddr { display: incoming.to().ok()?.display, ..NameAddr::new(own_uri(flow, to)) };
    invite = invite
        .with(HeaderName::MaxForwards, hops.to_string())
        .with(HeaderName::From, caller.to_bytes())
        .with(HeaderName::To, called.to_bytes())
        .with(HeaderName::CallId, call_id)
        .with(HeaderName::CSeq, "1 INVITE")
        .with(HeaderName::Contact, own_contact(flow, from))
        .with(HeaderName::Allow, ALLOW)
        .with(HeaderName::Supported, "timer");
    copy_headers(incoming, &mut invite);
    Some(invite.with(HeaderName::ContentLength, "0"))
}

/// A response to `request` with the status line of `response`.
pub(super) fn translate_response(request: &Message, response: &Message) -> Message {
    match &response.start {
        StartLine::Response { code, reason } => {
            let mut onward = Message::response(request, *code);
            onward.start = StartLine::Response { code: *code, reason: reason.clone() };
            onward
        }
        StartLine::Request { .. } => Message::response(request, 500),
    }
}

/// A Warning header field's value (RFC 3261 section 20.43). 399 is "miscellaneous", whose text is for people.
pub(in crate::sip) fn warning(agent: SocketAddr, text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    format!("399 {agent} {}", crate::sip::message::grammar::quote(&text))
}

fn is_end_to_end(header: &Header) -> bool {
    match header.known() {
        Some(name) => !OWN.contains(&name),
        None => !UNTRUSTED.iter().any(|name| header.name_bytes().eq_ignore_ascii_case(name.as_bytes())),
    }
}
