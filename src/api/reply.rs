//! What goes back: JSON, or problem details (RFC 9457).

use crate::directory::Refusal;
use crate::directory::local::Wrong;
use crate::store::Fault;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

/// An answer, not yet HTTP.
pub struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: Vec<u8>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// 200 with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "application/json",
            body: serde_json::to_vec(value).unwrap_or_default(),
            header: None,
        }
    }

    /// 201 for what was made, 200 for what was replaced.
    pub fn put<T: Serialize + ?Sized>(created: bool, value: &T) -> Self {
        let status = if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Self {
            status,
            ..Self::json(value)
        }
    }

    /// 200 with bytes that are none of a browser's business.
    pub fn file(bytes: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "application/octet-stream",
            body: bytes,
            header: None,
        }
    }

    /// 204: it is done, and there is nothing to say.
    pub fn done() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Vec::new(),
            ..Self::json(&())
        }
    }

    /// As HTTP. Nothing of the API is for a cache.
    pub fn response(self) -> Response<Full<Bytes>> {
        let empty = self.body.is_empty();
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !empty {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        response
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
        Reply {
            status: self.status,
            kind: "application/problem+json",
            header: self.header,
            ..Reply::json(&body)
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = format!("Not saved or not read: {}.", fault.sentence());
        match fault {
            Fault::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            Fault::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, detail),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .with(header::RETRY_AFTER, HeaderValue::from_static("5")),
        }
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Missing(what) => Self::missing(format!("There is {what}.")),
            Wrong::Invalid(why) => Self::shape(format!("{why}.")),
            Wrong::Fault(fault) => fault.into(),
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
