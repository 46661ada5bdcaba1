//! All transactions: finds the one that a message belongs to, runs its machine, keeps what is retransmitted.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::time::Instant;

use bytes::Bytes;

use super::key::ClientKey;
use super::{
    Action, ClientInvite, ClientOther, MergeKey, ServerInvite, ServerKey, ServerOther, Timer, Timing,
    follow_up,
};
use crate::config::Timers;
use crate::sip::message::{HeaderError, Message, Method};
use crate::sip::transport::{Flow, Transmit};
use crate::timers::{TimerHandle, TimerQueue};

/// Names a transaction; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(u64);

/// What a request turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A new request: the user answers it through this transaction.
    New(TransactionId),
    /// A retransmission, or an ACK that its transaction absorbed: nothing to do.
    Absorbed,
    /// An ACK that belongs to no transaction: the ACK of a 2xx, for the dialog.
    Ack,
    /// A new CANCEL, and the INVITE that it cancels, where there is one.
    Cancel(TransactionId, Option<(TransactionId, T)>),
    /// The same request came by another path already: to be answered 482.
    Merged,
    /// No place for another transaction: to be answered 503.
    Full,
}

/// What the transactions have to tell their user.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A request of ours got no final response in time, or a refusal of ours no ACK.
    TimedOut(TransactionId, T),
    /// A request of ours could not be sent.
    Unreachable(TransactionId, T),
}

#[derive(Clone, Copy, Debug)]
enum Machine {
    ClientInvite(ClientInvite),
    ClientOther(ClientOther),
    ServerInvite(ServerInvite),
    ServerOther(ServerOther),
}

#[derive(Debug)]
enum Key {
    Client(ClientKey),
    Server(ServerKey, Option<MergeKey>),
}

#[derive(Debug)]
struct Entry<T> {
    machine: Machine,
    key: Key,
    flow: Flow,
    /// What [`Action::Send`] sends.
    last: Option<Bytes>,
    /// Our INVITE, for its ACK and its CANCEL.
    invite: Option<Message>,
    pacing: Option<TimerHandle>,
    ending: Option<TimerHandle>,
    user: T,
}

impl<T> Entry<T> {
    /// A transaction lingers for half a minute: what it will not send any more need not.
    fn forget_what_is_not_sent_again(&mut self) {
        match self.machine {
            Machine::ClientInvite(ClientInvite::Accepted)
            | Machine::ClientOther(ClientOther::Completed)
            | Machine::ServerInvite(ServerInvite::Accepted | ServerInvite::Confirmed) => {
                self.last = None;
                self.invite = None;
            }
            // Its INVITE is what the ACK is made of.
            Machine::ClientInvite(ClientInvite::Completed) => self.last = None,
            _ => {}
        }
    }
}

/// The transactions, each with a value of type `T` by which their user knows what they are for.
#[derive(Debug)]
pub struct Transactions<T> {
    timers: Timers,
    limit: usize,
    next: u64,
    /// Whether copies of a request that came by different paths are looked for.
    merges: bool,
    entries: HashMap<TransactionId, Entry<T>>,
    clients: HashMap<ClientKey, TransactionId>,
    servers: HashMap<ServerKey, TransactionId>,
    merged: HashMap<MergeKey, TransactionId>,
    queue: TimerQueue<(TransactionId, Timer)>,
}

impl<T: Copy + Default> Transactions<T> {
    /// No transactions; at most `limit` at a time, of which a tenth is kept for requests of our own, so that calls
    /// can be ended under overload.
    #[must_use]
    pub fn new(timers: Timers, limit: usize) -> Self {
        Self {
            timers,
            limit,
            next: 0,
            merges: true,
            entries: HashMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            merged: HashMap::new(),
            queue: TimerQueue::default(),
        }
    }

    /// [`Transactions::new`], of which the first has this number: where there are several tables, their transactions are
    /// told apart by it. No request is taken for a copy of another that came by another path: devices come by one, and some
    /// repeat Call-ID, tag and CSeq in new requests.
    #[must_use]
    pub fn of_devices(timers: Timers, limit: usize, first: u64) -> Self {
        Self { next: first, merges: false, ..Self::new(timers, limit) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts a request in. `flow` is where its responses go.
    ///
    /// # Errors
    /// A header field that every request has is malformed.
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message,
        out: &mut Vec<Transmit>,
    ) -> Result<Received<T>, HeaderError> {
        let via = request.top_via()?;
        let sequence = request.cseq()?;
        let method = sequence.method;
        let mut key = ServerKey::of(&via, &method);
        if !key.has_magic_cookie() {
            key = key.of_call(&request.call_id()?, sequence.number);
        }
        if let Some(&id) = self.servers.get(&key) {
            let passed_up = if method == Method::ACK {
                self.step(now, id, None, out, |machine, timing| match machine {
                    Machine::ServerInvite(state) => wrap(Machine::ServerInvite, state.ack(timing)),
                    other => (other, Vec::new()),
                })
            } else {
                self.step(now, id, None, out, |machine, _| match machine {
                    Machine::ServerInvite(state) => wrap(Machine::ServerInvite, state.retransmission()),
                    Machine::ServerOther(state) => wrap(Machine::ServerOther, state.retransmission()),
                    other => (other, Vec::new()),
                })
            };
            return Ok(if passed_up.is_some() { Received::Ack } else { Received::Absorbed });
        }
        if method == Method::ACK {
            return Ok(Received::Ack);
        }
        let merge = if self.merges { MergeKey::of(request)? } else { None };
        // CANCEL shares Call-ID, From and CSeq number with its INVITE, but its CSeq names another method.
        if merge.as_ref().is_some_and(|merge| self.merged.contains_key(merge)) {
            return Ok(Received::Merged);
        }
        // BYE and CANCEL free more than they take.
        let frees = method == Method::BYE || method == Method::CANCEL;
        if self.entries.len() >= self.limit || !frees && self.entries.len() >= self.limit - self.limit / 10 {
            return Ok(Received::Full);
        }
        let machine = if method == Method::INVITE {
            Machine::ServerInvite(ServerInvite::Proceeding)
        } else {
            Machine::ServerOther(ServerOther::Trying)
        };
        let cancelled = (method == Method::CANCEL).then(|| self.cancelled(&key));
        let id = self.insert(machine, Key::Server(key, merge), flow, T::default());
        Ok(match cancelled {
            Some(invite) => Received::Cancel(id, invite),
            None => Received::New(id),
        })
    }

    /// Whether a transaction is one of these and not over.
    #[must_use]
    pub fn holds(&self, id: TransactionId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Remembers what a transaction is for.
    pub fn assign(&mut self, id: TransactionId, user: T) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.user = user;
        }
    }

    /// Answers a request. Nothing happens when the transaction is over or has its final response.
    pub fn respond(&mut self, now: Instant, id: TransactionId, response: &Message, out: &mut Vec<Transmit>) {
        let Some(status) = response.status_code() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let takes = match entry.machine {
            Machine::ServerInvite(ServerInvite::Proceeding)
            | Machine::ServerOther(ServerOther::Trying | ServerOther::Proceeding) => true,
            Machine::ServerInvite(ServerInvite::Accepted) => (200..300).contains(&status),
            _ => false,
        };
        if !takes {
            return;
        }
        entry.last = Some(response.to_bytes());
        self.step(now, id, None, out, |machine, timing| match machine {
            Machine::ServerInvite(state) => wrap(Machine::ServerInvite, state.respond(status, timing)),
            Machine::ServerOther(state) => wrap(Machine::ServerOther, state.respond(status, timing)),
            other => (other, Vec::new()),
        });
    }

    /// Sends a request of ours, whose topmost Via carries a branch of its own (or, for CANCEL, that of its INVITE).
    /// `None` when there is no place, or when the request lacks what every request has.
    pub fn send(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Message,
        user: T,
        out: &mut Vec<Transmit>,
    ) -> Option<TransactionId> {
        if self.entries.len() >= self.limit {
            return None;
        }
        let key = ClientKey::of(&request).ok()?;
        let timing = Timing { timers: self.timers, reliable: flow.is_reliable() };
        let is_invite = request.method() == Some(&Method::INVITE);
        let (machine, actions) = if is_invite {
            wrap(Machine::ClientInvite, ClientInvite::start(&timing))
        } else {
            wrap(Machine::ClientOther, ClientOther::start(&timing))
        };
        let id = self.insert(machine, Key::Client(key), flow, user);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.last = Some(request.to_bytes());
            entry.invite = is_invite.then_some(request);
        }
        self.act(now, id, actions, None, out);
        Some(id)
    }

    /// Our INVITE of a transaction that is still alive.
    #[must_use]
    pub fn invite(&self, id: TransactionId) -> Option<&Message> {
        self.entries.get(&id)?.invite.as_ref()
    }

    /// Whether our request got a provisional response and no final one: it may be cancelled (RFC 3261 section 9.1).
    #[must_use]
    pub fn is_proceeding(&self, id: TransactionId) -> bool {
        let machine = self.entries.get(&id).map(|entry| entry.machine);
        matches!(machine, Some(Machine::ClientInvite(ClientInvite::Proceeding)))
    }

    /// Whether a request of ours waits for its final response.
    #[must_use]
    pub fn has_open_requests(&self) -> bool {
        self.entries.values().any(|entry| {
            matches!(
                entry.machine,
                Machine::ClientInvite(ClientInvite::Calling { .. } | ClientInvite::Proceeding)
                    | Machine::ClientOther(ClientOther::Trying { .. } | ClientOther::Proceeding)
            )
        })
    }

    /// Forgets a transaction whose outcome does not matter any more.
    pub fn abandon(&mut self, id: TransactionId) {
        self.remove(id);
    }

    /// Sorts a response in; says what it answers, unless it is a retransmission that its transaction absorbed.
    ///
    /// # Errors
    /// [`Stray`] when the response belongs to no transaction.
    pub fn response(
        &mut self,
        now: Instant,
        response: &Message,
        out: &mut Vec<Transmit>,
    ) -> Result<Option<(TransactionId, T)>, Stray> {
        let status = response.status_code().ok_or(Stray)?;
        let key = ClientKey::of(response).map_err(|_| Stray)?;
        let id = *self.clients.get(&key).ok_or(Stray)?;
        let passed_up = self.step(now, id, Some(response), out, |machine, timing| match machine {
            Machine::ClientInvite(state) => wrap(Machine::ClientInvite, state.response(status, timing)),
            Machine::ClientOther(state) => wrap(Machine::ClientOther, state.response(status, timing)),
            other => (other, Vec::new()),
        });
        Ok(passed_up.map(|user| (id, user)))
    }

    /// When [`Transactions::expire`] is to be called next.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    /// Runs the timers that are due, up to the first that the user should hear of.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Option<Event<T>> {
        while let Some((id, timer)) = self.queue.pop(now) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let user = entry.user;
            let slot = if timer.is_pacing() { &mut entry.pacing } else { &mut entry.ending };
            *slot = None;
            let timed_out = self.step_with_outcome(now, id, None, out, |machine, timing| match machine {
                Machine::ClientInvite(state) => wrap(Machine::ClientInvite, state.timer(timer, timing)),
                Machine::ClientOther(state) => wrap(Machine::ClientOther, state.timer(timer, timing)),
                Machine::ServerInvite(state) => wrap(Machine::ServerInvite, state.timer(timer, timing)),
                Machine::ServerOther(state) => wrap(Machine::ServerOther, state.timer(timer, timing)),
            });
            if timed_out.timed_out {
                return Some(Event::TimedOut(id, user));
            }
        }
        None
    }

    /// Ends a client transaction whose request could not be sent (RFC 3261 section 8.1.3.1). `None` when it is over, or
    /// has an answer already.
    pub fn unreachable(&mut self, id: TransactionId) -> Option<Event<T>> {
        let entry = self.entries.get(&id)?;
        let waiting = matches!(
            entry.machine,
            Machine::ClientInvite(ClientInvite::Calling { .. })
                | Machine::ClientOther(ClientOther::Trying { .. })
        );
        let user = entry.user;
        if !waiting {
            return None;
        }
        self.remove(id);
        Some(Event::Unreachable(id, user))
    }

    fn cancelled(&self, key: &ServerKey) -> Option<(TransactionId, T)> {
        let id = *self.servers.get(&key.cancelled())?;
        Some((id, self.entries.get(&id)?.user))
    }

    fn insert(&mut self, machine: Machine, key: Key, flow: Flow, user: T) -> TransactionId {
        let id = TransactionId(self.next);
        self.next += 1;
        match &key {
            Key::Client(client) => {
                self.clients.insert(client.clone(), id);
            }
            Key::Server(server, merge) => {
                self.servers.insert(server.clone(), id);
                if let Some(merge) = merge {
                    self.merged.insert(merge.clone(), id);
                }
            }
        }
        let entry = Entry { machine, key, flow, last: None, invite: None, pacing: None, ending: None, user };
        self.entries.insert(id, entry);
        id
    }

    fn remove(&mut self, id: TransactionId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        for timer in [entry.pacing, entry.ending].into_iter().flatten() {
            self.queue.cancel(timer);
        }
        match entry.key {
            Key::Client(client) => forget(&mut self.clients, client, id),
            Key::Server(server, merge) => {
                forget(&mut self.servers, server, id);
                if let Some(merge) = merge {
                    forget(&mut self.merged, merge, id);
                }
            }
        }
    }

    fn step(
        &mut self,
        now: Instant,
        id: TransactionId,
        response: Option<&Message>,
        out: &mut Vec<Transmit>,
        transition: impl FnOnce(Machine, &Timing) -> (Machine, Vec<Action>),
    ) -> Option<T> {
        let user = self.entries.get(&id)?.user;
        self.step_with_outcome(now, id, response, out, transition).passed_up.then_some(user)
    }

    fn step_with_outcome(
        &mut self,
        now: Instant,
        id: TransactionId,
        response: Option<&Message>,
        out: &mut Vec<Transmit>,
        transition: impl FnOnce(Machine, &Timing) -> (Machine, Vec<Action>),
    ) -> Outcome {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Outcome::default();
        };
        let timing = Timing { timers: self.timers, reliable: entry.flow.is_reliable() };
        let (machine, actions) = transition(entry.machine, &timing);
        entry.machine = machine;
        let outcome = self.act(now, id, actions, response, out);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.forget_what_is_not_sent_again();
        }
        outcome
    }

    fn act(
        &mut self,
        now: Instant,
        id: TransactionId,
        actions: Vec<Action>,
        response: Option<&Message>,
        out: &mut Vec<Transmit>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for action in actions {
            let Some(entry) = self.entries.get_mut(&id) else {
                return outcome;
            };
            match action {
                Action::Send => {
                    if let Some(bytes) = &entry.last {
                        out.push(Transmit { flow: entry.flow, bytes: bytes.clone(), transaction: Some(id) });
                    }
                }
                Action::SendAck => {
                    let invite = entry.invite.as_ref();
                    if let Some(ack) =
                        invite.zip(response).and_then(|(invite, response)| follow_up::ack(invite, response))
                    {
                        out.push(Transmit { flow: entry.flow, bytes: ack.to_bytes(), transaction: None });
                    }
                }
                Action::PassUp => outcome.passed_up = true,
                Action::TimedOut => outcome.timed_out = true,
                Action::Set(timer, duration) => {
                    let handle = self.queue.set(now + duration, (id, timer));
                    let slot = if timer.is_pacing() { &mut entry.pacing } else { &mut entry.ending };
                    if let Some(old) = slot.replace(handle) {
                        self.queue.cancel(old);
                    }
                }
                Action::Terminate => self.remove(id),
            }
        }
        outcome
    }
}

/// A response that answers nothing that we asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray;

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    passed_up: bool,
    timed_out: bool,
}

fn wrap<S>(machine: impl FnOnce(S) -> Machine, (state, actions): (S, Vec<Action>)) -> (Machine, Vec<Action>) {
    (machine(state), actions)
}

/// Removes a key unless it names another transaction by now.
fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, TransactionId>, key: K, id: TransactionId) {
    if let Place::Occupied(place) = index.entry(key)
        && *place.get() == id
    {
        place.remove();
    }
}
