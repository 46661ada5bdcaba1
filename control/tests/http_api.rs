//! The HTTP API of the real binary: who may ask, what is answered, and that the schema is true.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::Value;
use support::device::{Device, platform};
use support::gateway::{Gateway, PATIENCE};
use tempfile::TempDir;

const CAMERA: &str = "34020000001320000001";

struct Api {
    gateway: Gateway,
    listen: SocketAddr,
    sip: SocketAddr,
    folder: TempDir,
}

impl Api {
    /// `number` makes the addresses unique among tests that run at the same time.
    fn start(number: u8, keys: &str) -> Self {
        let at = |port| SocketAddr::from(([127, 82, number, 1], port));
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        let configuration = format!(
            "{}[http]\nlisten = \"{}\"\ntoken_file = \"{}\"\n{keys}",
            platform(at(5060), ""),
            at(8080),
            token.display()
        );
        Self { gateway: Gateway::start(None, &configuration), listen: at(8080), sip: at(5060), folder }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.token_file()).unwrap().trim().to_owned()
    }

    /// A request with these header fields; status, head and body.
    fn request_with(&self, method: &str, path: &str, fields: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.listen).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// A request with the token; status and JSON, `null` where there is none.
    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let fields = format!("Authorization: Bearer {}\r\n", self.token());
        let (status, _, body) = self.request_with(method, path, &fields, body);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn camera(&self) -> Device {
        let [a, b, c, _] = match self.sip.ip() {
            std::net::IpAddr::V4(address) => address.octets(),
            std::net::IpAddr::V6(_) => [127, 0, 0, 1],
        };
        Device::new(CAMERA, SocketAddr::from(([a, b, c, 2], 5060)), self.sip)
    }
}

#[test]
fn nothing_is_told_without_the_token_but_the_schema() {
    use std::os::unix::fs::PermissionsExt as _;
    let api = Api::start(1, "");
    let mode = std::fs::metadata(api.token_file()).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, api.token().len()), (0o600, 64));
    for (path, fields) in [
        ("/api/devices", ""),
        ("/api/devices", "Authorization: Bearer guess\r\n"),
        ("/api/nothing", ""),
        ("/", "Authorization: Basic YWRtaW46YWRtaW4=\r\n"),
    ] {
        let (status, head, body) = api.request_with("GET", path, fields, "");
        assert_eq!(status, 401, "{path}");
        assert!(head.to_ascii_lowercase().contains("www-authenticate: bearer"), "{head}");
        assert!(body.contains("\"code\":\"unauthorized\"") && body.contains("http.token_file"), "{body}");
    }
    let (status, _, schema) = api.request_with("GET", "/api/openapi.json", "", "");
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&schema).unwrap()["openapi"], "3.1.0");
    for _ in 0..18 {
        api.request_with("GET", "/api/devices", "Authorization: Bearer guess\r\n", "");
    }
    let (status, ..) =
        api.request_with("GET", "/api/devices", &format!("Authorization: Bearer {}\r\n", api.token()), "");
    assert_eq!(status, 429, "who guesses has to wait");
}

#[test]
fn every_path_of_the_schema_is_there_with_its_methods_and_no_others() {
    let api = Api::start(2, "");
    let (_, _, schema) = api.request_with("GET", "/api/openapi.json", "", "");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let id = CAMERA;
    for (path, methods) in schema["paths"].as_object().unwrap() {
        let at =
            path.replace("{device}", id).replace("{channel}", id).replace("{viewer}", "0123456789abcdef");
        for method in ["get", "post", "delete", "put"] {
            let (status, body) =
                api.request(&method.to_ascii_uppercase(), &at, "{\"to\": \"127.82.2.9:6000\"}");
            let described =
                methods.get(method).map(|method| method["responses"].get(status.to_string()).is_some());
            assert!(described.unwrap_or(status == 405), "{method} {path}: {status} {body}");
        }
    }
    assert_eq!(api.request("GET", "/api/nothing", "").0, 404);
}

#[test]
fn devices_and_channels_are_resources() {
    let api = Api::start(3, "");
    assert_eq!(api.request("GET", "/api/devices", "").1, serde_json::json!([]));
    let camera = api.camera();
    camera.register();
    let item =
        "<DeviceList><Item><DeviceID>34020000001310000001</DeviceID><Name>gate</Name></Item></DeviceList>";
    for _ in 0..3 {
        camera.answer_question(1, item);
    }
    let (status, devices) = api.request("GET", "/api/devices", "");
    assert_eq!(
        (status, devices[0]["id"].as_str(), devices[0]["online"].as_bool()),
        (200, Some(CAMERA), Some(true))
    );
    let (status, device) = api.request("GET", &format!("/api/devices/{CAMERA}"), "");
    assert_eq!((status, device["catalog"]["state"].as_str()), (200, Some("complete")));
    let (status, channels) = api.request("GET", &format!("/api/devices/{CAMERA}/channels"), "");
    assert_eq!((status, channels[0]["name"].as_str()), (200, Some("gate")));
    let (status, body) = api.request("GET", "/api/devices/34020000001320000099/channels", "");
    assert_eq!((status, body["error"]["code"].as_str()), (404, Some("no-such-device")));
    let (status, body) = api.request("GET", "/api/devices/no%20body", "");
    assert_eq!((status, body["error"]["code"].as_str()), (400, Some("bad-request")));
    assert_eq!(api.request("GET", "/api/status", "").1["counters"]["gauge_gb28181_devices"], 1);
}

#[test]
fn what_cannot_be_played_has_a_status_and_a_reason() {
    let api = Api::start(4, "");
    let play = |channel: &str, body: &str| {
        let (status, body) = api.request("POST", &format!("/api/channels/{channel}/play"), body);
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), body.to_string())
    };
    let (status, code, text) = play(CAMERA, "{\"to\": \"nowhere\"}");
    assert_eq!((status, code.as_str()), (400, "bad-request"), "{text}");
    assert_eq!(play(CAMERA, "{\"to\": \"10.0.0.1:6000\", \"speed\": 2}").0, 400);
    let (status, code, text) = play(CAMERA, "{\"to\": \"10.0.0.1:6000\"}");
    assert_eq!((status, code.as_str()), (409, "refused"), "{text}");
    assert!(text.contains("no [relay]"), "{text}");
    assert_eq!(play(CAMERA, &"x".repeat(20_000)).0, 413);
    assert_eq!(api.request("DELETE", "/api/viewers/0123456789abcdef", "").0, 404);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let api = Api::start(5, "connections = 2\n");
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(api.listen).unwrap()).collect();
    let mut waiting = TcpStream::connect(api.listen).unwrap();
    waiting
        .write_all(b"GET /api/openapi.json HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\n\r\n")
        .unwrap();
    waiting.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let mut answer = [0; 15];
    assert!(waiting.read_exact(&mut answer).is_err(), "it has a place beside two others");
    drop(idle);
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert!(
        api.gateway.status().counters.contains_key("gauge_gb28181_devices"),
        "the daemon is not disturbed"
    );
}

#[test]
fn camera_is_moved_by_a_body_that_says_how() {
    let api = Api::start(6, "");
    let camera = api.camera();
    camera.settle();
    let path = format!("/api/channels/{CAMERA}/ptz");
    let (status, body) = api.request("POST", &path, "{\"command\": \"move\", \"pan\": \"sideways\"}");
    assert_eq!((status, body["error"]["code"].as_str()), (400, Some("bad-request")), "{body}");
    assert_eq!(api.request("POST", &format!("{path}?devices=1"), "{\"command\": \"stop\"}").0, 400);
    std::thread::scope(|scope| {
        let body = "{\"command\": \"move\", \"pan\": \"right\", \"pan_speed\": 31, \"tilt_speed\": 31}";
        let asked = scope.spawn(|| api.request("POST", &format!("{path}?device={CAMERA}"), body));
        let order = String::from_utf8(camera.take("MESSAGE").body.to_vec()).unwrap();
        assert!(order.contains("<PTZCmd>A50F01011F1F00F4</PTZCmd>"), "{order}");
        assert_eq!(asked.join().unwrap().0, 204);
    });
}
