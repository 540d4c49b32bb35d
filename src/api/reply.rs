//! What goes back: JSON, or problem details (RFC 9457).

use crate::directory::Refusal;
use crate::directory::local::RecordError;
use crate::ground::embedded::Embedded;
use crate::ground::net::Said;
use crate::store::StoreError;
use futures_lite::Stream;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

/// What a function of a resource answers. Nothing of it is for a cache, but for what is embedded.
pub struct Reply(Response<Said>);

impl Reply {
    fn new(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Self {
        let mut response = Response::new(Said::whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self(response)
    }

    /// 200 with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self::new(StatusCode::OK, "application/json", body)
    }

    /// 201 for what was made, 200 for what was replaced.
    pub fn put<T: Serialize + ?Sized>(created: bool, value: &T) -> Self {
        let mut reply = Self::json(value);
        if created {
            *reply.0.status_mut() = StatusCode::CREATED;
        }
        reply
    }

    /// 200 with bytes that are none of a browser's business.
    pub fn file(bytes: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, "application/octet-stream", bytes)
    }

    /// 200 with server-sent events, as they come.
    pub fn events(events: impl Stream<Item = Bytes> + 'static) -> Self {
        let mut reply = Self::new(StatusCode::OK, "text/event-stream", Vec::new());
        *reply.0.body_mut() = Said::InPieces(Box::pin(events));
        // nginx would keep them until it has many.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        let no = HeaderValue::from_static("no");
        reply.0.headers_mut().insert(unbuffered, no);
        reply
    }

    /// 204: it is done, and there is nothing to say.
    pub fn done() -> Self {
        Self::new(StatusCode::NO_CONTENT, "", Vec::new())
    }

    /// A file that lies in the binary, for a request with these headers.
    pub fn embedded(file: &'static Embedded, asked: &HeaderMap) -> Self {
        Self(file.answer(asked))
    }

    /// As HTTP.
    pub fn response(self) -> Response<Said> {
        self.0
    }
}

/// Why a request was not answered. The detail is for the asker: nothing internal.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            header: None,
        }
    }

    /// 404.
    pub fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 422: it is JSON, but not what is asked for.
    pub fn shape(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// As problem details about the resource at `path`.
    pub fn reply(self, path: &str) -> Reply {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": path,
        });
        let body = body.to_string().into_bytes();
        let mut reply = Reply::new(self.status, "application/problem+json", body);
        let header = self.header.map(|(name, value)| (Some(name), value));
        reply.0.headers_mut().extend(header);
        reply
    }
}

impl From<StoreError> for Problem {
    fn from(fault: StoreError) -> Self {
        let detail = format!("Not saved or not read: {}.", fault.sentence());
        match fault {
            StoreError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, detail),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .with(header::RETRY_AFTER, HeaderValue::from_static("5")),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Missing(what) => Self::missing(format!("There is {what}.")),
            RecordError::Invalid(why) => Self::shape(format!("{why}.")),
            RecordError::Store(fault) => fault.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied(why) => Self::new(StatusCode::CONFLICT, format!("Refused: {why}.")),
            Refusal::Unavailable(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("Not possible now: {why}."),
            )
            .with(header::RETRY_AFTER, HeaderValue::from_static("5")),
        }
    }
}
