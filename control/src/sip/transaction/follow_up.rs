//! The two requests that a client transaction derives from its INVITE: the ACK of a refusal and the CANCEL.

use crate::sip::message::{CSeq, HeaderName, Message, Method};

/// The ACK of a final response that is not 2xx (RFC 3261 section 17.1.1.3): same Request-URI, topmost Via, From,
/// Call-ID, Route and CSeq number as the INVITE, To from the response.
pub(super) fn ack(invite: &Message, response: &Message) -> Option<Message> {
    let mut ack = derive(invite, Method::ACK)?;
    if let Some(to) = response.headers.get(HeaderName::To) {
        ack.headers.set(HeaderName::To, to.value());
    }
    Some(ack)
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
#[must_use]
pub fn cancel(invite: &Message) -> Option<Message> {
    derive(invite, Method::CANCEL)
}

fn derive(invite: &Message, method: Method) -> Option<Message> {
    let uri = invite.request_uri()?.clone();
    let via = invite.top_via().ok()?;
    let number = invite.cseq().ok()?.number;
    let mut request = Message::request(method.clone(), uri);
    request.push_via(&via);
    for name in [HeaderName::Route, HeaderName::From, HeaderName::To, HeaderName::CallId] {
        for header in invite.headers.all(name) {
            request.headers.push_header(header.clone());
        }
    }
    Some(
        request
            .with(HeaderName::CSeq, CSeq { number, method }.to_string())
            .with(HeaderName::MaxForwards, "70")
            .with(HeaderName::ContentLength, "0"),
    )
}
