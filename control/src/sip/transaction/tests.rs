use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::sip::message::{Datagram, Limits, Message, parse_datagram};
use crate::sip::transport::{Flow, Transmit};

fn message(text: &str) -> Message {
    match parse_datagram(&Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap() {
        Datagram::Message(message) => *message,
        Datagram::KeepAlive => panic!("no message"),
    }
}

fn request(method: &str, branch: &str, sent_by: &str) -> Message {
    let number = 1;
    message(&format!(
        "{method} sip:camera@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP {sent_by};branch={branch}\nMax-Forwards: 70\n\
         From: <sip:viewer@192.0.2.1>;tag={branch}\nTo: <sip:camera@192.0.2.1>\nCall-ID: {branch}\n\
         CSeq: {number} {method}\nContact: <sip:viewer@192.0.2.7>\nContent-Length: 0\n\n"
    ))
}

fn flow() -> Flow {
    Flow::Udp { local: "192.0.2.1:5060".parse().unwrap(), remote: "192.0.2.7:5060".parse().unwrap() }
}

/// A table whose user values are numbers.
struct Table {
    transactions: Transactions<u32>,
    now: Instant,
    out: Vec<Transmit>,
}

impl Table {
    fn new() -> Self {
        Self { transactions: Transactions::new(Timers::default(), 100), now: Instant::now(), out: Vec::new() }
    }

    fn receive(&mut self, request: &Message) -> Received<u32> {
        self.transactions.request(self.now, flow(), request, &mut self.out).unwrap()
    }

    fn new_request(&mut self, request: &Message) -> TransactionId {
        match self.receive(request) {
            Received::New(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn respond(&mut self, id: TransactionId, request: &Message, status: u16) {
        let response = Message::response(request, status).with_to_tag("ours");
        self.transactions.respond(self.now, id, &response, &mut self.out);
    }

    fn send(&mut self, request: Message, user: u32) -> TransactionId {
        self.transactions.send(self.now, flow(), request, user, &mut self.out).unwrap()
    }

    fn response(&mut self, request: &Message, status: u16) -> Result<Option<(TransactionId, u32)>, Stray> {
        let response = Message::response(request, status).with_to_tag("theirs");
        self.transactions.response(self.now, &response, &mut self.out)
    }

    /// Time passes; what the user is told of.
    fn wait(&mut self, time: Duration) -> Vec<Event<u32>> {
        let end = self.now + time;
        let mut events = Vec::new();
        while let Some(due) = self.transactions.next_due().filter(|due| *due <= end) {
            self.now = due;
            events.extend(self.transactions.expire(due, &mut self.out));
        }
        self.now = end;
        events
    }

    /// First lines of what was sent since the last look.
    fn sent(&mut self) -> Vec<String> {
        let first_line = |transmit: Transmit| {
            let text = String::from_utf8(transmit.bytes.to_vec()).unwrap();
            text.lines().next().unwrap_or_default().to_owned()
        };
        self.out.drain(..).map(first_line).collect()
    }
}

const HERE: &str = "192.0.2.7:5060";

#[test]
fn retransmission_gets_the_last_response_and_is_not_passed_up() {
    let mut table = Table::new();
    let invite = request("INVITE", "z9hG4bK1", HERE);
    let id = table.new_request(&invite);
    table.respond(id, &invite, 180);
    assert_eq!(table.receive(&invite), Received::Absorbed);
    assert_eq!(table.sent(), ["SIP/2.0 180 Ringing", "SIP/2.0 180 Ringing"]);
}

#[test]
fn same_branch_of_another_sender_is_another_transaction() {
    let mut table = Table::new();
    table.new_request(&request("OPTIONS", "z9hG4bK1", HERE));
    let mut other = request("OPTIONS", "z9hG4bK1", "192.0.2.8:5060");
    other.headers.set(crate::sip::message::HeaderName::CallId, "other");
    table.new_request(&other);
    assert_eq!(table.transactions.len(), 2);
}

#[test]
fn ack_of_a_refusal_is_absorbed_and_that_of_a_2xx_is_passed_up() {
    let mut table = Table::new();
    let (refused, accepted) = (request("INVITE", "z9hG4bK1", HERE), request("INVITE", "z9hG4bK2", HERE));
    let id = table.new_request(&refused);
    table.respond(id, &refused, 486);
    assert_eq!(table.receive(&request("ACK", "z9hG4bK1", HERE)), Received::Absorbed);
    let id = table.new_request(&accepted);
    table.respond(id, &accepted, 200);
    assert_eq!(table.receive(&request("ACK", "z9hG4bK3", HERE)), Received::Ack);
    assert_eq!(table.receive(&request("ACK", "z9hG4bK2", HERE)), Received::Ack, "RFC 6026 section 7.1");
    assert!(table.wait(Duration::from_secs(32)).is_empty());
    assert!(table.transactions.is_empty());
}

#[test]
fn refusal_without_ack_is_repeated_and_then_given_up() {
    let mut table = Table::new();
    let invite = request("INVITE", "z9hG4bK1", HERE);
    let id = table.new_request(&invite);
    table.transactions.assign(id, 7);
    table.respond(id, &invite, 486);
    let events = table.wait(Duration::from_secs(32));
    assert_eq!(events, [Event::TimedOut(id, 7)]);
    // At 0, 0.5, 1.5, 3.5, and then every four seconds up to 31.5.
    assert_eq!(table.sent().len(), 11);
    assert!(table.transactions.is_empty());
}

#[test]
fn cancel_finds_its_invite() {
    let mut table = Table::new();
    let id = table.new_request(&request("INVITE", "z9hG4bK1", HERE));
    table.transactions.assign(id, 7);
    let cancel = table.receive(&request("CANCEL", "z9hG4bK1", HERE));
    assert!(matches!(cancel, Received::Cancel(_, Some((found, 7))) if found == id), "{cancel:?}");
    assert!(matches!(table.receive(&request("CANCEL", "z9hG4bK2", HERE)), Received::Cancel(_, None)));
}

#[test]
fn unanswered_invite_is_sent_seven_times_and_then_times_out() {
    let mut table = Table::new();
    let id = table.send(request("INVITE", "z9hG4bK1", HERE), 7);
    assert_eq!(table.wait(Duration::from_secs(32)), [Event::TimedOut(id, 7)]);
    assert_eq!(table.sent().len(), 7);
}

#[test]
fn lost_response_is_made_good_by_retransmission() {
    let mut table = Table::new();
    let bye = request("BYE", "z9hG4bK1", HERE);
    let id = table.send(bye.clone(), 7);
    assert!(table.wait(Duration::from_millis(1_500)).is_empty());
    assert_eq!(table.sent().len(), 3, "at 0, 0.5 and 1.5 seconds");
    assert_eq!(table.response(&bye, 200), Ok(Some((id, 7))));
    assert_eq!(table.response(&bye, 200), Ok(None), "the answer to the earlier copy");
    table.wait(Duration::from_secs(5));
    assert!(table.sent().is_empty() && table.transactions.is_empty());
}

#[test]
fn refused_invite_is_acknowledged_with_its_own_branch_and_the_tag_of_the_response() {
    let mut table = Table::new();
    let invite = request("INVITE", "z9hG4bK1", HERE);
    table.send(invite.clone(), 7);
    table.sent();
    assert!(table.response(&invite, 486).unwrap().is_some());
    let ack = message(&String::from_utf8(table.out.remove(0).bytes.to_vec()).unwrap().replace("\r\n", "\n"));
    assert_eq!(ack.cseq().unwrap().to_string(), "1 ACK");
    assert_eq!(ack.top_via().unwrap().branch().as_deref(), Some("z9hG4bK1"));
    assert_eq!(ack.to().unwrap().tag().as_deref(), Some("theirs"));
    assert_eq!(table.response(&invite, 486), Ok(None));
    assert_eq!(table.sent(), ["ACK sip:camera@192.0.2.1 SIP/2.0"]);
}

#[test]
fn every_2xx_is_passed_up() {
    let mut table = Table::new();
    let invite = request("INVITE", "z9hG4bK1", HERE);
    let id = table.send(invite.clone(), 7);
    assert_eq!(table.response(&invite, 200), Ok(Some((id, 7))));
    assert_eq!(table.response(&invite, 200), Ok(Some((id, 7))));
    table.wait(Duration::from_secs(32));
    assert_eq!(table.response(&invite, 200), Err(Stray));
}

#[test]
fn request_that_could_not_be_sent_is_told_once_and_not_after_an_answer() {
    let mut table = Table::new();
    let (bye, invite) = (request("BYE", "z9hG4bK1", HERE), request("INVITE", "z9hG4bK2", HERE));
    let id = table.send(bye, 7);
    assert_eq!(table.transactions.unreachable(id), Some(Event::Unreachable(id, 7)));
    assert_eq!(table.transactions.unreachable(id), None);
    let id = table.send(invite.clone(), 8);
    table.response(&invite, 180).unwrap();
    assert_eq!(table.transactions.unreachable(id), None);
}
