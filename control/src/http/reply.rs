//! What the daemon answers, as HTTP: a status and JSON. Errors have one form, with a word for programs and a sentence for people.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::Reply;

/// Seconds after which one may try again.
const RETRY_AFTER: &str = "5";

/// Something that cannot be had.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Words<'a>,
}

#[derive(Serialize)]
struct Words<'a> {
    code: &'a str,
    message: &'a str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn busy() -> Self {
        let message = "too many requests are being worked on; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(Body { error: Words { code: self.code, message: &self.message } });
        match self.status {
            StatusCode::UNAUTHORIZED => {
                (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                (self.status, [(header::RETRY_AFTER, RETRY_AFTER)], body).into_response()
            }
            _ => (self.status, body).into_response(),
        }
    }
}

/// A reply of the daemon. What was asked for is sent as it is; everything else is a refusal.
pub(super) fn answer(reply: Reply) -> Response {
    let refused = |status, code, message: String| Refusal::new(status, code, message).into_response();
    match reply {
        Reply::Status(status) => Json(status).into_response(),
        Reply::Devices { devices } => Json(devices).into_response(),
        Reply::Channels { channels } => Json(channels).into_response(),
        Reply::Streams { streams } => Json(streams).into_response(),
        Reply::Playing(playing) => (StatusCode::CREATED, Json(playing)).into_response(),
        Reply::HangingUp | Reply::Done => StatusCode::NO_CONTENT.into_response(),
        Reply::NoSuchCall => {
            refused(StatusCode::NOT_FOUND, "no-such-viewer", "there is no such viewer".to_owned())
        }
        Reply::NoSuchDevice { message } => refused(StatusCode::NOT_FOUND, "no-such-device", message),
        Reply::NoSuchChannel { message } => refused(StatusCode::NOT_FOUND, "no-such-channel", message),
        Reply::NoAnswer { message } => refused(StatusCode::BAD_GATEWAY, "no-answer", message),
        Reply::Refused { message } => refused(StatusCode::CONFLICT, "refused", message),
        Reply::Invalid { message } => refused(StatusCode::BAD_REQUEST, "bad-request", message),
        Reply::Stopping | Reply::Capturing | Reply::NoSuchLeg { .. } => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the daemon answered something else".to_owned(),
        ),
    }
}
