//! A camera that strangers wrote (the crate gb28181-rs), in the camera's namespace, with pictures of our making.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gb28181_rs::config::{CatalogChannel, Gb28181Config, Transport};
use gb28181_rs::frame::{AccessUnit, Nalu};
use gb28181_rs::manscdp::PtzCommand;
use gb28181_rs::mock::MockFrameHub;
use gb28181_rs::server::{DeviceControlHandler, Gb28181Server, ServerHandle};
use testbed::Topology;
use tokio::runtime::Runtime;

use super::device::{PASSWORD, PLATFORM, REALM};
use super::live::CHANNEL;

pub(crate) const CAMERA: &str = "34020000001320000001";

/// What the camera was ordered to do, in its own words.
#[derive(Default)]
pub(crate) struct Ordered(Mutex<Vec<String>>);

impl Ordered {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl DeviceControlHandler for Ordered {
    fn on_force_iframe(&self) {
        self.note("key frame".to_owned());
    }

    fn on_record(&self, start: bool) {
        self.note(format!("record {start}"));
    }

    fn on_guard(&self, arm: bool) {
        self.note(format!("guard {arm}"));
    }

    fn on_reset_alarm(&self) {
        self.note("reset alarm".to_owned());
    }

    fn on_teleboot(&self) {
        self.note("reboot".to_owned());
    }

    fn on_ptz(&self, command: &PtzCommand) {
        self.note(format!("{command:?}"));
    }
}

pub(crate) struct Camera {
    ordered: Arc<Ordered>,
    hub: Arc<MockFrameHub>,
    runtime: Runtime,
    server: ServerHandle,
    ends: Arc<AtomicBool>,
    pictures: Option<JoinHandle<()>>,
}

impl Camera {
    pub(crate) fn start(topology: &Topology, platform: SocketAddr, transport: Transport) -> Self {
        let config = Gb28181Config {
            platform_sip_address: platform.ip().to_string(),
            platform_sip_port: platform.port(),
            device_id: CAMERA.to_owned(),
            channel_id: CAMERA.to_owned(),
            sip_domain: REALM.to_owned(),
            password: PASSWORD.to_owned(),
            local_sip_port: 5060,
            register_interval_secs: 3_600,
            heartbeat_interval_secs: 1,
            transport,
            extra_channels: vec![CatalogChannel {
                device_id: CHANNEL.to_owned(),
                name: "大门 B&B".to_owned(),
                manufacturer: String::new(),
                model: String::new(),
                status: String::new(),
                ptz_type: Some(1),
                photoelectric_imaging_type: None,
            }],
            protocol_version: Some("3.0".to_owned()),
            model: Some("Model of strangers".to_owned()),
            // The rest is as it comes: the crate reads it from JSON.
            ..serde_json::from_str(&format!("{{\"device_id\": \"{PLATFORM}\"}}")).unwrap()
        };
        let hub = Arc::new(MockFrameHub::new());
        let ends = Arc::new(AtomicBool::new(false));
        let pictures = std::thread::spawn({
            let (hub, ends) = (Arc::clone(&hub), Arc::clone(&ends));
            move || film(&hub, &ends)
        });
        let filmed = Arc::clone(&hub);
        let ordered = Arc::new(Ordered::default());
        let handler: Arc<dyn DeviceControlHandler> = Arc::<Ordered>::clone(&ordered);
        let start = || {
            // The threads of the runtime, and so its sockets, are in the namespace of the thread that makes it.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let server = runtime.block_on(
                Gb28181Server::with_recording_index(config, hub, None)
                    .with_control_handler(Some(handler))
                    .spawn(),
            );
            let server = server.unwrap();
            (runtime, server)
        };
        let (runtime, server) = topology.camera.run(start).unwrap();
        Self { ordered, hub: filmed, runtime, server, ends, pictures: Some(pictures) }
    }

    /// What it was ordered to do so far.
    pub(crate) fn ordered(&self) -> Vec<String> {
        self.ordered.0.lock().unwrap().clone()
    }

    /// How many INVITEs it serves.
    pub(crate) fn serves(&self) -> usize {
        self.hub.subscriber_count()
    }

    /// Unregisters and ends.
    pub(crate) fn leave(mut self) {
        self.runtime.block_on(self.server.shutdown_with_deregister()).unwrap();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.server.abort();
        if let Some(pictures) = self.pictures.take() {
            pictures.join().unwrap();
        }
    }
}

/// Twenty-five pictures a second, each twelfth of which is a key picture.
fn film(hub: &MockFrameHub, ends: &AtomicBool) {
    for number in 0_u64.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        hub.write(picture(number));
        std::thread::sleep(Duration::from_millis(40));
    }
}

fn picture(number: u64) -> AccessUnit {
    let is_key_frame = number.is_multiple_of(12);
    let kinds: &[(u8, usize)] = if is_key_frame { &[(7, 27), (8, 9), (5, 9_000)] } else { &[(1, 1_200)] };
    let skip = usize::try_from(number % 50).unwrap();
    let nalus = kinds.iter().map(|&(kind, size)| Nalu {
        nalu_type: kind,
        // No byte is zero, so that nothing looks like a start code; the number of the picture is in it.
        data: std::iter::once(kind).chain((1..=200).cycle().skip(skip).take(size - 1)).collect(),
        is_idr: kind == 5,
        is_sps: kind == 7,
        is_pps: kind == 8,
        is_aud: false,
    });
    AccessUnit { nalus: nalus.collect(), timestamp: Instant::now(), is_key_frame }
}
