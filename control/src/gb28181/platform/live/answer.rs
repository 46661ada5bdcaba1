//! The camera accepts: the ACK, the dialogue, and where its media comes from.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{MediaRequest, Running, State, StreamId};
use crate::gb28181::platform::{Deadline, Platform};
use crate::gb28181::sdp::Answer;
use crate::sip::dialog::{Dialog, own_contact};
use crate::sip::message::{HeaderName, Message, NameAddr};
use crate::sip::transport::{Flow, Transmit};

impl Platform {
    /// A 200 to the INVITE that a stream waits for.
    pub(super) fn accepted(&mut self, now: Instant, id: StreamId, response: &Message) {
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        let Some((transaction, invite, flow)) = stream.take_inviting() else { return };
        let Some((dialog, ack)) = self.acknowledge(&invite, response, flow) else {
            return self.invite_failed(now, id, "the camera's answer cannot be read");
        };
        let answer = match Answer::parse(&response.body) {
            Ok(answer) if answer.tcp => Err("the camera answers with TCP where UDP was offered".to_owned()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(format!("the camera's answer: {error}")),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.counters.count("gb28181_answers_unusable");
                self.say_goodbye(now, dialog, None);
                return self.invite_failed(now, id, &why);
            }
        };
        let running = Running { dialog, transaction, ack, since: now };
        let check = self.timers.set(now + self.settings.silence, Deadline::Media(id));
        let Some(stream) = self.streams.by_id.get_mut(&id) else { return };
        stream.state = State::Running(Box::new(running));
        stream.check = Some(check);
        stream.answered_ssrc = answer.ssrc.filter(|answered| *answered != stream.ssrc);
        if let Some(timer) = stream.timer.take() {
            self.timers.cancel(timer);
        }
        let known = flow.remote().ip();
        let address = media_address(known, answer.address);
        let moves = address != known;
        let address = SocketAddr::new(address, answer.port);
        self.effects.media.push(MediaRequest::CameraAt { stream: id, address, moves });
        tracing::info!(device = %stream.device, channel = %stream.channel, from = %address, ssrc = %stream.ssrc, "camera sends");
        self.tell_askers(id);
    }

    /// Sends the ACK of a 200. A camera that says nothing of where it is to be reached is reached where it was invited.
    pub(super) fn acknowledge(
        &mut self,
        invite: &Message,
        response: &Message,
        flow: Flow,
    ) -> Option<(Dialog, Transmit)> {
        let mut response = response.clone();
        if response.contact().is_err() {
            let target = invite.request_uri()?.clone();
            response.headers.set(HeaderName::Contact, NameAddr::new(target).to_bytes());
        }
        let mut invite = invite.clone();
        invite.headers.set(HeaderName::Contact, own_contact(&flow, self.settings.platform.as_str()));
        let dialog = Dialog::established(&invite, &response, flow).ok()?;
        let branch = self.identifiers.branch();
        let ack = dialog.ack(invite.cseq().ok()?.number, &branch);
        let ack = Transmit { flow, bytes: ack.to_bytes(), transaction: None };
        self.effects.transmits.push(ack.clone());
        Some((dialog, ack))
    }
}

/// Where media will come from. A camera behind a NAT says a private address, and its packets come from where its signalling
/// comes from; a recorder may have another machine send.
fn media_address(known: IpAddr, told: Option<IpAddr>) -> IpAddr {
    match told {
        Some(told) if told.is_ipv4() == known.is_ipv4() && (!is_private(told) || is_private(known)) => told,
        _ => known,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::media_address;

    #[test]
    fn private_address_of_a_camera_behind_a_nat_is_not_believed() {
        let address =
            |known: &str, told: &str| media_address(known.parse().unwrap(), told.parse().ok()).to_string();
        assert_eq!(address("203.0.113.7", "192.168.1.64"), "203.0.113.7");
        assert_eq!(address("203.0.113.7", "203.0.113.8"), "203.0.113.8", "another machine sends");
        assert_eq!(address("10.0.0.7", "10.0.0.8"), "10.0.0.8");
        assert_eq!(address("10.0.0.7", "no address"), "10.0.0.7");
        assert_eq!(address("10.0.0.7", "2001:db8::1"), "10.0.0.7", "our port is of the other family");
    }
}
