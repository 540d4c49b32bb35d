//! The answer to a request, and answers of fixed text.

use crate::ground::net::Said;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// The answer to a request.
pub type Answer = Response<Said>;

/// An answer that is its status and says so in words.
pub fn status(code: StatusCode) -> Answer {
    let words = format!(
        "{} {}\n",
        code.as_u16(),
        code.canonical_reason().unwrap_or_default()
    );
    text(code, words, "text/plain; charset=utf-8")
}

/// An answer of text of a fixed type, which is no cache's to keep.
pub fn text(code: StatusCode, body: impl Into<Bytes>, content_type: &'static str) -> Answer {
    let mut answer = Response::new(Said::whole(body));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
