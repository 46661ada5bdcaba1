//! Requests of our own to a device, outside of dialogs.

use std::time::Instant;

use super::super::id::DeviceId;
use super::super::manscdp;
use super::{Platform, Purpose};
use crate::sip::dialog::{own_contact, own_via};
use crate::sip::message::{CSeq, HeaderName, Host, Message, Method, NameAddr, SipUri};
use crate::sip::transport::{Flow, Transport};

impl Platform {
    /// A request to a device, or to a channel of it, ready but for its body. Everything but a REGISTER names the device where
    /// it is, not its domain.
    pub(super) fn build(&mut self, method: Method, flow: &Flow, target: DeviceId) -> Message {
        let remote = flow.remote();
        let uri = SipUri::new(Some(target.as_str()), Host::Address(remote.ip()), Some(remote.port()));
        let host = Host::parse(&self.settings.realm).unwrap_or(Host::Address(flow.local().ip()));
        let own = SipUri::new(Some(self.settings.platform.as_str()), host, None);
        let (tag, branch) = (self.identifiers.token(), self.identifiers.branch());
        let call_id = format!("{}@{}", self.identifiers.token(), flow.local().ip());
        let to = NameAddr::new(uri.clone());
        let uri = match flow.transport() {
            Transport::Udp => uri,
            Transport::Tcp => uri.with_param("transport", Some("tcp")),
        };
        let mut request = Message::request(method.clone(), uri);
        request.push_via(&own_via(flow, &branch));
        request
            .with(HeaderName::MaxForwards, "70")
            .with(HeaderName::From, NameAddr::new(own).with_tag(&tag).to_bytes())
            .with(HeaderName::To, to.to_bytes())
            .with(HeaderName::CallId, call_id)
            .with(HeaderName::CSeq, CSeq { number: 1, method }.to_string())
            .with(HeaderName::Contact, own_contact(flow, self.settings.platform.as_str()))
            .with(HeaderName::ContentLength, "0")
    }

    /// Sends a MESSAGE. Says whether there was room for it.
    pub(super) fn send_message(
        &mut self,
        now: Instant,
        flow: Flow,
        device: DeviceId,
        body: Vec<u8>,
        purpose: Purpose,
    ) -> bool {
        let mut request = self.build(Method::MESSAGE, &flow, device);
        request.set_body(manscdp::CONTENT_TYPE, body.into());
        self.transactions.send(now, flow, request, purpose, &mut self.effects.transmits).is_some()
    }
}
