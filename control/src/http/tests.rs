//! The schema says what there is: every field, and nothing else. And a request too many is told to wait.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{SCHEMA, Server};
use crate::admin;
use crate::config::Http;

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The names of an object's fields.
fn names(value: &Value) -> Vec<String> {
    let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

fn properties(name: &str) -> Vec<String> {
    names(&schema()["components"]["schemas"][name]["properties"])
}

/// What is serialised has the fields of the schema.
fn is_described(name: &str, value: impl serde::Serialize) {
    assert_eq!(names(&serde_json::to_value(value).unwrap()), properties(name), "{name}");
}

#[test]
fn every_field_is_in_the_schema() {
    let id = "34020000001310000001".parse().unwrap();
    let address = "10.0.0.1:6000".parse().unwrap();
    let device = json!({
        "id": id, "online": true, "kind": null, "name": "", "manufacturer": "", "model": "", "firmware": "", "address": "",
        "version": null, "registered_seconds": 0, "expires_in_seconds": null, "silent_seconds": 0.0, "keepalives": 0,
        "address_changes": 0, "rival": null, "works": null, "records": null, "faulty": [], "channels": 0,
        "catalog": {"state": "unknown"},
    });
    is_described("Device", serde_json::from_value::<admin::Device>(device).unwrap());
    let channel = json!({
        "id": id, "name": "", "kind": null, "on": null, "parent": null, "directory": false, "manufacturer": "", "model": "",
        "civil_code": "", "address": "", "ptz": null, "longitude": null, "latitude": null,
    });
    is_described("Channel", serde_json::from_value::<admin::Channel>(channel).unwrap());
    let playing = admin::Playing {
        viewer: String::new(),
        device: id,
        channel: id,
        from: address,
        to: address,
        ssrc: 1,
    };
    is_described("Playing", playing);
    let quality = json!({
        "ssrc": 1, "packets": 0, "expected": 0, "lost": 0, "reordered": 0, "duplicates": 0, "jitter_ms": null,
        "ssrc_changes": 0,
    });
    let viewer = json!({
        "viewer": "", "to": address, "from": null, "ssrc": 1, "leg": null, "sent": 0, "sent_bytes": 0, "lost": {},
    });
    is_described("Quality", serde_json::from_value::<admin::Quality>(quality).unwrap());
    is_described("Viewer", serde_json::from_value::<admin::Viewer>(viewer).unwrap());
    let stream = json!({
        "device": id, "channel": id, "state": "waiting", "age_seconds": 0.0, "invites": 0, "ssrc": 1, "answered_ssrc": null,
        "source": null, "received": 0, "received_bytes": 0, "dropped": {}, "quality": null, "viewers": [],
    });
    is_described("Stream", serde_json::from_value::<admin::Stream>(stream).unwrap());
}

#[test]
fn every_reference_leads_somewhere() {
    let text = SCHEMA;
    for (at, _) in text.match_indices("#/components/schemas/") {
        let rest = &text[at + "#/components/schemas/".len()..];
        let name = rest.split('"').next().unwrap();
        assert!(schema()["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn request_beyond_the_limit_is_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    let listen = "127.83.1.1:8080".parse().unwrap();
    let config = Http { listen, token_file: token_file.clone(), connections: 8, requests: 1 };
    let server = Server::open(&config).await.unwrap();
    let (questioner, mut questions) = mpsc::channel(16);
    tokio::spawn(server.run(questioner));
    let token = std::fs::read_to_string(token_file).unwrap();
    let request = format!(
        "GET /api/streams HTTP/1.1\r\nHost: culvert\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    let mut slow = TcpStream::connect(listen).await.unwrap();
    slow.write_all(request.as_bytes()).await.unwrap();
    // Its question is there, and not answered yet.
    let (_, answer) = questions.recv().await.unwrap();
    let mut second = TcpStream::connect(listen).await.unwrap();
    second.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    second.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 5"), "{text}");
    answer.send(admin::Answer::Reply(admin::Reply::Streams { streams: Vec::new() })).unwrap();
    text.clear();
    slow.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("[]"), "{text}");
}
