//! The platform's account of itself for operators.

use std::time::Instant;

use super::super::id::DeviceId;
use super::super::manscdp::Item;
use super::Platform;
use super::StreamId;
use super::device::{Catalog, Device};
use super::live::{State, Stream, Viewer};
use crate::admin;

impl Platform {
    /// Devices in the order of their identifiers.
    #[must_use]
    pub fn devices(&self, now: Instant) -> Vec<admin::Device> {
        let mut devices: Vec<&Device> = self.devices.values().map(AsRef::as_ref).collect();
        devices.sort_by_key(|device| device.id);
        devices.into_iter().map(|device| describe(device, now)).collect()
    }

    /// The channels of a device; `None` where no such device has ever registered.
    #[must_use]
    pub fn channels(&self, id: DeviceId) -> Option<Vec<admin::Channel>> {
        let device = self.devices.get(&id)?;
        Some(device.channels.iter().map(|(id, item)| channel(*id, item)).collect())
    }

    /// Streams, oldest first, and what each is called; the data plane's counters are the daemon's to fill in.
    #[must_use]
    pub fn streams(&self, now: Instant) -> Vec<(StreamId, admin::Stream)> {
        let mut streams: Vec<&Stream> = self.streams.by_id.values().map(AsRef::as_ref).collect();
        streams.sort_by_key(|stream| stream.id);
        streams.into_iter().map(|stream| (stream.id, describe_stream(stream, now))).collect()
    }

    /// What the platform counted, by name.
    #[must_use]
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        let mut counters: std::collections::BTreeMap<String, u64> = self.counters.snapshot();
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let online = self.devices.values().filter(|device| device.online).count();
        counters.insert("gauge_gb28181_devices".to_owned(), gauge(self.devices.len()));
        counters.insert("gauge_gb28181_devices_online".to_owned(), gauge(online));
        counters.insert("gauge_gb28181_questions".to_owned(), gauge(self.questions.len()));
        counters.insert("gauge_gb28181_streams".to_owned(), gauge(self.streams.by_id.len()));
        counters.insert("gauge_gb28181_viewers".to_owned(), gauge(self.streams.viewers()));
        counters.insert("gauge_gb28181_ssrcs".to_owned(), gauge(self.streams.ssrcs()));
        counters.insert("gauge_gb28181_transactions".to_owned(), gauge(self.transactions.len()));
        counters
    }
}

fn describe(device: &Device, now: Instant) -> admin::Device {
    let info = device.info.clone().unwrap_or_default();
    admin::Device {
        id: device.id,
        online: device.online,
        kind: device.id.kind().map(str::to_owned),
        name: info.name,
        manufacturer: info.manufacturer,
        model: info.model,
        firmware: info.firmware,
        address: device.flow.to_string(),
        version: device.version.map(|version| version.to_string()),
        registered_seconds: now.saturating_duration_since(device.registered).as_secs(),
        expires_in_seconds: device.expires.map(|at| at.saturating_duration_since(now).as_secs()),
        silent_seconds: now.saturating_duration_since(device.seen).as_secs_f64(),
        keepalives: device.keepalives,
        address_changes: device.moves,
        rival: device.rival.map(|(address, _)| address.to_string()),
        works: device.status.as_ref().and_then(|status| status.works),
        records: device.status.as_ref().and_then(|status| status.records),
        faulty: device.faulty.clone(),
        channels: device.channels.len(),
        catalog: match device.catalog {
            Catalog::Unknown => admin::CatalogState::Unknown,
            Catalog::Complete => admin::CatalogState::Complete,
            Catalog::Partial { received, expected } => admin::CatalogState::Partial { received, expected },
        },
    }
}

fn describe_stream(stream: &Stream, now: Instant) -> admin::Stream {
    let viewer = |viewer: &Viewer| admin::Viewer {
        viewer: viewer.id.to_string(),
        to: viewer.to,
        from: viewer.local,
        ssrc: viewer.ssrc.0,
        leg: None,
        sent: 0,
        sent_bytes: 0,
        lost: std::collections::BTreeMap::new(),
    };
    admin::Stream {
        device: stream.device,
        channel: stream.channel,
        state: match stream.state {
            State::Opening | State::Inviting { .. } => admin::StreamState::Inviting,
            State::Running(_) => admin::StreamState::Running,
            State::Waiting => admin::StreamState::Waiting,
        },
        age_seconds: now.saturating_duration_since(stream.started).as_secs_f64(),
        invites: stream.invites,
        ssrc: stream.ssrc.0,
        answered_ssrc: stream.answered_ssrc.map(|ssrc| ssrc.0),
        source: None,
        received: 0,
        received_bytes: 0,
        dropped: std::collections::BTreeMap::new(),
        quality: None,
        viewers: stream.viewers.iter().map(viewer).collect(),
    }
}

fn channel(id: DeviceId, item: &Item) -> admin::Channel {
    admin::Channel {
        id,
        name: item.name.clone(),
        kind: id.kind().map(str::to_owned),
        on: item.on,
        parent: item.parent,
        directory: item.parental,
        manufacturer: item.manufacturer.clone(),
        model: item.model.clone(),
        civil_code: item.civil_code.clone(),
        address: item.address.clone(),
        ptz: item.ptz,
        longitude: item.longitude,
        latitude: item.latitude,
    }
}
