//! Catalogues: parts are put together by identifier, whatever their order and however often they come. A list that is not
//! complete adds and changes channels, and never takes one away.

use std::time::Instant;

use super::super::id::DeviceId;
use super::super::manscdp::{CatalogPart, Change, Item, Query};
use super::device::Catalog;
use super::question::Progress;
use super::{Deadline, Platform};

impl Platform {
    /// A device is there: what is it, and which channels does it have?
    pub(super) fn introduce(&mut self, now: Instant, id: DeviceId) {
        self.wake_streams(now, id);
        for query in [Query::DeviceInfo, Query::DeviceStatus, Query::Catalog] {
            self.ask_device(now, id, query);
        }
        let Some(interval) = self.settings.catalog else { return };
        let Some(device) = self.devices.get_mut(&id) else { return };
        let timer = self.timers.set(now + interval, Deadline::Catalog(id));
        if let Some(old) = device.refresh.replace(timer) {
            self.timers.cancel(old);
        }
    }

    /// The catalogue is asked for again, because no notification of a change may have been lost.
    pub(super) fn refresh_catalog(&mut self, now: Instant, id: DeviceId) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        device.refresh = None;
        if !device.online {
            return;
        }
        if let Some(interval) = self.settings.catalog {
            device.refresh = Some(self.timers.set(now + interval, Deadline::Catalog(id)));
        }
        self.ask_device(now, id, Query::Catalog);
    }

    /// A part of an answer.
    pub(super) fn catalog_part(&mut self, now: Instant, id: DeviceId, number: u32, part: CatalogPart) {
        let question = self.questions.of(number, id).filter(|question| question.query == Query::Catalog);
        let Some(question) = question else {
            // Late, or twice: it is as good as any other part.
            self.counters.count("gb28181_catalog_parts_late");
            return self.merge(id, part.items);
        };
        if part.total.is_some() {
            question.progress.announced = part.total;
        }
        question.progress.channels.extend(part.items.iter().filter_map(|item| item.id));
        let all_here = question.progress.is_complete();
        self.merge(id, part.items);
        if all_here {
            self.close_question(now, number);
        } else {
            self.expect_more(now, number);
        }
    }

    /// What a device tells of its own accord (N.4.3.2).
    pub(super) fn catalog_changed(&mut self, now: Instant, id: DeviceId, part: CatalogPart) {
        let mut ask = false;
        for item in part.items {
            let Some(channel) = item.id else { continue };
            let Some(device) = self.devices.get_mut(&id) else { return };
            match (item.change, device.channels.get_mut(&channel)) {
                (Some(Change::On), Some(known)) => known.on = Some(true),
                (Some(Change::Off | Change::VideoLost | Change::Defect), Some(known)) => {
                    known.on = Some(false);
                }
                (Some(Change::Deleted), _) => {
                    device.channels.remove(&channel);
                }
                // Of a channel that nobody knows, only the identifier is said.
                (Some(Change::On | Change::Off | Change::VideoLost | Change::Defect), None) => ask = true,
                (Some(Change::Added | Change::Updated) | None, _) => self.merge(id, vec![item]),
            }
        }
        if ask {
            self.ask_device(now, id, Query::Catalog);
        }
    }

    /// The question is over. Channels that a complete answer does not have are gone.
    pub(super) fn catalog_ended(&mut self, id: DeviceId, progress: &Progress) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        let Some(expected) = progress.announced else { return };
        if progress.is_complete() {
            device.channels.retain(|channel, _| progress.channels.contains(channel));
            device.catalog = Catalog::Complete;
            return;
        }
        self.counters.count("gb28181_catalogs_partial");
        let received = progress.channels.len();
        device.catalog = Catalog::Partial { received, expected };
        tracing::warn!(device = %id, received, expected, "the catalogue is not complete, though it was asked for again");
    }

    /// Adds channels, or what is new of them.
    fn merge(&mut self, id: DeviceId, items: Vec<Item>) {
        let limit = self.settings.channels_per_device;
        let Some(device) = self.devices.get_mut(&id) else { return };
        for item in items {
            let Some(channel) = item.id else { continue };
            if device.channels.len() >= limit && !device.channels.contains_key(&channel) {
                self.counters.count("gb28181_channels_over_limit");
                continue;
            }
            device.channels.insert(channel, item);
        }
    }
}

impl Progress {
    /// Whether as many different channels came as were announced.
    fn is_complete(&self) -> bool {
        self.announced.is_some_and(|announced| self.channels.len() >= announced)
    }
}
