//! Which request asks what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::connect_info::{ConnectInfo, IntoMakeServiceWithConnectInfo};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::SCHEMA;
use super::connection::Peer;
use super::reply::{Refusal, answer};
use super::token::{Entry, Gate};
use crate::admin::{Answer, Order, Question, Reply, Request};
use crate::gb28181::id::DeviceId;
use crate::gb28181::ptz::PtzCommand;

/// Longest body, in bytes.
const LONGEST_BODY: usize = 16 * 1_024;

/// What handlers need.
#[derive(Clone)]
struct Api {
    gate: Arc<Gate>,
    questions: mpsc::Sender<Question>,
    places: Arc<Semaphore>,
}

/// The API, ready to be served.
pub(super) fn service(
    gate: Gate,
    questions: mpsc::Sender<Question>,
    places: Arc<Semaphore>,
) -> IntoMakeServiceWithConnectInfo<Router, Peer> {
    router(gate, questions, places).into_make_service_with_connect_info()
}

pub(super) fn router(gate: Gate, questions: mpsc::Sender<Question>, places: Arc<Semaphore>) -> Router {
    let api = Api { gate: Arc::new(gate), questions, places };
    Router::new()
        .route("/api/status", get(status))
        .route("/api/devices", get(devices))
        .route("/api/devices/{device}", get(device))
        .route("/api/devices/{device}/channels", get(channels))
        .route("/api/channels/{channel}/play", post(play))
        .route("/api/channels/{channel}/ptz", post(ptz))
        .route("/api/channels/{channel}/control", post(control))
        .route("/api/streams", get(streams))
        .route("/api/viewers/{viewer}", delete(stop))
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        // Whoever wants to know how to ask may know.
        .route("/api/openapi.json", get(schema))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(api)
}

/// Only with the token, and only so many at a time.
async fn admit(
    State(api): State<Api>,
    ConnectInfo(Peer(source)): ConnectInfo<Peer>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
    match api.gate.check(Instant::now(), source.ip(), authorization) {
        Entry::Granted => {}
        Entry::Refused => {
            let message =
                "the token is absent or wrong: send `Authorization: Bearer` and what http.token_file holds";
            return Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response();
        }
        Entry::Banned => {
            let message = "too many wrong tokens from your address; wait a minute";
            return Refusal::new(StatusCode::TOO_MANY_REQUESTS, "banned", message).into_response();
        }
    }
    let Ok(_place) = api.places.try_acquire() else {
        return Refusal::busy().into_response();
    };
    next.run(request).await
}

async fn schema() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], SCHEMA).into_response()
}

async fn nothing_there() -> Refusal {
    Refusal::not_found("there is nothing at this path; GET /api/openapi.json says what there is")
}

async fn not_so() -> Refusal {
    let message = "this path does not take this method; GET /api/openapi.json says which it takes";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
}

async fn status(State(api): State<Api>) -> Response {
    api.ask(Request::Status).await
}

async fn devices(State(api): State<Api>) -> Response {
    api.ask(Request::Devices).await
}

async fn device(State(api): State<Api>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let id = identifier(&device)?;
    match api.reply(Request::Devices).await? {
        Reply::Devices { devices } => match devices.into_iter().find(|device| device.id == id) {
            Some(device) => Ok(Json(device).into_response()),
            None => Ok(answer(crate::gb28181::platform::no_such_device(id))),
        },
        other => Ok(answer(other)),
    }
}

async fn channels(State(api): State<Api>, Path(device): Path<String>) -> Result<Response, Refusal> {
    let device = identifier(&device)?;
    Ok(api.ask(Request::Channels { device }).await)
}

async fn streams(State(api): State<Api>) -> Response {
    api.ask(Request::Streams).await
}

/// The body of a request to play.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    to: SocketAddr,
    device: Option<DeviceId>,
    ssrc: Option<u32>,
}

async fn play(State(api): State<Api>, Path(channel): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    let channel = identifier(&channel)?;
    let Play { to, device, ssrc } = json(&body)?;
    Ok(api.ask(Request::Play { device, channel, to, ssrc }).await)
}

/// Which device, where several have the channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    device: Option<DeviceId>,
}

async fn ptz(
    State(api): State<Api>,
    Path(channel): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (channel, device) = (identifier(&channel)?, device_of(which)?);
    let command: PtzCommand = json(&body)?;
    Ok(api.ask(Request::Ptz { device, channel, command }).await)
}

/// The body of an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    order: Order,
}

async fn control(
    State(api): State<Api>,
    Path(channel): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (channel, device) = (identifier(&channel)?, device_of(which)?);
    let Ordered { order } = json(&body)?;
    Ok(api.ask(Request::Control { device, channel, order }).await)
}

async fn stop(State(api): State<Api>, Path(viewer): Path<String>) -> Response {
    api.ask(Request::Hangup { call: viewer }).await
}

impl Api {
    /// Asks the daemon.
    async fn ask(&self, request: Request) -> Response {
        match self.reply(request).await {
            Ok(reply) => answer(reply),
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn reply(&self, request: Request) -> Result<Reply, Refusal> {
        let patience = request.patience();
        let (sender, answered) = oneshot::channel();
        let stopping = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is stopping");
        self.questions.send((request, sender)).await.map_err(|_| stopping())?;
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(Answer::Reply(reply))) => Ok(reply),
            Ok(Ok(Answer::Capture(_)) | Err(_)) => Err(stopping()),
            Err(_) => {
                let message = format!("there was no answer within {} s", patience.as_secs());
                Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message))
            }
        }
    }
}

fn identifier(text: &str) -> Result<DeviceId, Refusal> {
    text.parse().map_err(|error: crate::gb28181::id::IdError| Refusal::bad_request(error.to_string()))
}

fn device_of(which: Result<Query<Which>, QueryRejection>) -> Result<Option<DeviceId>, Refusal> {
    which.map(|Query(which)| which.device).map_err(|error| Refusal::bad_request(error.body_text()))
}

fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("the body: {error}")))
}
