//! A request that waits, without hyper: its buffers would cost more than all the rest of the connection.
//!
//! What is written here is what hyper would have written: the answer to a GET, with its length, the date, and whether the
//! connection stays.

use super::Answer;
use crate::ground::clock::since_epoch;
use crate::ground::net::{Io, Said};
use futures_lite::StreamExt as _;
use httpdate::HttpDate;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::rt::Write as _;
use hyper::{Method, Request, StatusCode, Version};
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::time::UNIX_EPOCH;

/// Bodies up to this are copied behind their head, so that both go in one write.
const JOINED: usize = 16 * 1024;

/// What has to be known of a request to answer it without hyper.
#[derive(Clone, Copy)]
pub struct Manner {
    version: Version,
    keep_alive: bool,
}

impl Manner {
    /// `None` where hyper has to answer itself: only a GET without a body can do without it.
    pub fn of(request: &Request<Incoming>) -> Option<Self> {
        let plain = request.method() == Method::GET && request.body().is_end_stream();
        let version = request.version();
        let keep_alive = match version {
            Version::HTTP_11 => !says(request.headers(), "close"),
            _ => says(request.headers(), "keep-alive"),
        };
        plain.then_some(Self {
            version,
            keep_alive,
        })
    }
}

/// A request whose answer is not there yet.
pub struct Waiting {
    pub answering: Pin<Box<dyn Future<Output = Answer>>>,
    pub manner: Manner,
}

/// Writes an answer; whether the connection stays.
///
/// # Errors
/// The client does not take it.
pub async fn write(io: &mut Io, answer: Answer, manner: Manner) -> io::Result<bool> {
    let has_length = matches!(answer.body(), Said::Whole(_));
    let keep_alive = manner.keep_alive
        && !says(answer.headers(), "close")
        && (has_length || manner.version == Version::HTTP_11);
    let (head, body) = answer.into_parts();
    let mut bytes = first_line(head.status, manner.version);
    for (name, value) in &head.headers {
        add(&mut bytes, name.as_str(), value.as_bytes());
    }
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    match &body {
        Said::Whole(body) if !has_none => {
            let length = body.len().to_string();
            add(&mut bytes, "content-length", length.as_bytes());
        }
        Said::InPieces(_) if manner.version == Version::HTTP_11 => {
            add(&mut bytes, "transfer-encoding", b"chunked");
        }
        _ => {}
    }
    let date = HttpDate::from(UNIX_EPOCH + since_epoch()).to_string();
    add(&mut bytes, "date", date.as_bytes());
    match (manner.version, keep_alive) {
        _ if head.headers.contains_key(CONNECTION) => {}
        (Version::HTTP_11, false) => add(&mut bytes, "connection", b"close"),
        (Version::HTTP_10, true) => add(&mut bytes, "connection", b"keep-alive"),
        _ => {}
    }
    bytes.extend_from_slice(b"\r\n");
    match body {
        Said::InPieces(mut pieces) => {
            write_all(io, &bytes).await?;
            let chunked = manner.version == Version::HTTP_11;
            while let Some(piece) = pieces.next().await {
                write_piece(io, &piece, chunked).await?;
            }
            write_all(io, if chunked { b"0\r\n\r\n" } else { b"" }).await?;
        }
        Said::Whole(body) if body.len() > JOINED => {
            write_all(io, &bytes).await?;
            drop(bytes);
            write_all(io, &body).await?;
        }
        Said::Whole(body) => {
            bytes.extend_from_slice(&body);
            write_all(io, &bytes).await?;
        }
    }
    Ok(keep_alive)
}

/// One chunk (RFC 9112, 7.1), or the bytes as they are.
async fn write_piece(io: &mut Io, piece: &[u8], chunked: bool) -> io::Result<()> {
    if !chunked {
        return write_all(io, piece).await;
    }
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    write_all(io, &bytes).await
}

fn first_line(status: StatusCode, version: Version) -> Vec<u8> {
    let mut line = String::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or("Unknown");
    // Writing to a String can't fail.
    let _ = write!(line, "{version:?} {} {reason}\r\n", status.as_u16());
    line.into_bytes()
}

fn add(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// Whether `Connection` has this word.
fn says(headers: &HeaderMap, word: &str) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let mut words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    words.any(|said| said.trim().eq_ignore_ascii_case(word))
}

async fn write_all(io: &mut Io, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[n..];
    }
    Ok(())
}
