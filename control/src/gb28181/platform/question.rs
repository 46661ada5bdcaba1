//! Questions to devices: sent as many at a time as the configuration allows, matched with their answers by number, sent again
//! when a part is missing. A power cut brings ten thousand devices back at once; their questions wait in a line.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::id::DeviceId;
use super::super::manscdp::Query;
use super::{Deadline, Platform, Purpose};
use crate::timers::TimerHandle;

/// How long a device may be silent before its answer, or between two parts of it.
const QUIET: Duration = Duration::from_secs(5);

/// How often a question is asked when its answer does not come, or not all of it.
const ATTEMPTS: u8 = 3;

/// All questions.
#[derive(Debug)]
pub(super) struct Questions {
    /// Sent at a time.
    limit: usize,
    next: u32,
    open: HashMap<u32, Question>,
    /// Who is being asked what.
    asked: HashSet<(DeviceId, &'static str)>,
    waiting: VecDeque<u32>,
    sent: usize,
}

/// A question to a device.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) device: DeviceId,
    pub(super) query: Query,
    pub(super) progress: Progress,
    attempts: u8,
    is_sent: bool,
    timer: Option<TimerHandle>,
}

/// How much of an answer has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many items were announced; `None` while nothing was.
    pub(super) announced: Option<usize>,
    /// Which came.
    pub(super) channels: HashSet<DeviceId>,
}

impl Questions {
    pub(super) fn new(limit: usize, first: u32) -> Self {
        // Some devices keep the number in a signed word, and 0 stands for none.
        let next = first & 0x3FFF_FFFF;
        Self { limit, next, open: HashMap::new(), asked: HashSet::new(), waiting: VecDeque::new(), sent: 0 }
    }

    /// The question of this number, if this device was asked it.
    pub(super) fn of(&mut self, number: u32, device: DeviceId) -> Option<&mut Question> {
        self.open.get_mut(&number).filter(|question| question.device == device)
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A number that no other question has.
    pub(super) fn number(&mut self) -> u32 {
        self.next = self.next % 0x3FFF_FFFF + 1;
        self.next
    }
}

impl Platform {
    /// Asks a device, unless it is being asked that already.
    pub(super) fn ask_device(&mut self, now: Instant, device: DeviceId, query: Query) {
        if !self.questions.asked.insert((device, query.command())) {
            return;
        }
        let number = self.questions.number();
        let question = Question {
            device,
            query,
            progress: Progress::default(),
            attempts: 0,
            is_sent: false,
            timer: None,
        };
        self.questions.open.insert(number, question);
        self.questions.waiting.push_back(number);
        self.send_questions(now);
    }

    /// Sends as many of the waiting questions as may be under way.
    fn send_questions(&mut self, now: Instant) {
        while self.questions.sent < self.questions.limit {
            let Some(number) = self.questions.waiting.pop_front() else { return };
            self.send_question(now, number);
        }
    }

    fn send_question(&mut self, now: Instant, number: u32) {
        let Some(question) = self.questions.open.get_mut(&number) else { return };
        let Some(device) = self.devices.get(&question.device).filter(|device| device.online) else {
            return self.close_question(now, number);
        };
        question.attempts += 1;
        question.is_sent = true;
        self.questions.sent += 1;
        let (id, flow) = (device.id, device.flow);
        let body = question.query.to_xml(device.charset, number, &id);
        self.counters.count("gb28181_questions");
        let patience = self.config.sip.timers.t1 * 64 + QUIET;
        self.expect(now, number, patience);
        if !self.send_message(now, flow, id, body, Purpose::Question(number)) {
            self.counters.count("gb28181_questions_unsent");
            self.close_question(now, number);
        }
    }

    /// The device has received a question, or refused it.
    pub(super) fn question_received(&mut self, now: Instant, number: u32, status: u16) {
        match status {
            0..=199 => {}
            200..=299 => self.expect(now, number, QUIET),
            _ => {
                self.counters.count("gb28181_questions_refused");
                self.close_question(now, number);
            }
        }
    }

    /// Waits for the answer, or for more of it.
    pub(super) fn expect(&mut self, now: Instant, number: u32, patience: Duration) {
        let Some(question) = self.questions.open.get_mut(&number) else { return };
        let timer = self.timers.set(now + patience, Deadline::Question(number));
        if let Some(old) = question.timer.replace(timer) {
            self.timers.cancel(old);
        }
    }

    /// More of the answer may come.
    pub(super) fn expect_more(&mut self, now: Instant, number: u32) {
        self.expect(now, number, QUIET);
    }

    /// A question whose answer is one message has it.
    pub(super) fn question_answered(&mut self, now: Instant, device: DeviceId, number: u32) {
        if self.questions.of(number, device).is_some() {
            self.close_question(now, number);
        }
    }

    /// No more comes: asks again, or takes what there is. What came before is not lost with a new number.
    pub(super) fn question_quiet(&mut self, now: Instant, number: u32) {
        let Some(question) = self.questions.open.get_mut(&number) else { return };
        question.timer = None;
        if question.attempts >= ATTEMPTS {
            self.counters.count("gb28181_questions_unanswered");
            return self.close_question(now, number);
        }
        self.counters.count("gb28181_questions_repeated");
        let Some(mut question) = self.questions.open.remove(&number) else { return };
        self.questions.sent -= usize::from(std::mem::take(&mut question.is_sent));
        let again = self.questions.number();
        self.questions.open.insert(again, question);
        self.questions.waiting.push_back(again);
        self.send_questions(now);
    }

    /// Forgets a question; the next in line is sent.
    pub(super) fn close_question(&mut self, now: Instant, number: u32) {
        let Some(question) = self.questions.open.remove(&number) else { return };
        if let Some(timer) = question.timer {
            self.timers.cancel(timer);
        }
        self.questions.sent -= usize::from(question.is_sent);
        self.questions.asked.remove(&(question.device, question.query.command()));
        if question.query == Query::Catalog {
            self.catalog_ended(question.device, &question.progress);
        }
        self.send_questions(now);
    }
}
