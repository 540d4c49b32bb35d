//! `POST /api/v1/chat/event` and `/chat/stream`: a backend writes a message of a chat, event by event.

use super::ApiResult;
use super::frames;
use super::input::{self, ApiRequest};
use super::reply::{Problem, Reply};
use crate::app::emitter::{Emitted as Sent, Emitter, Large, Message, Reading};
use crate::directory::{Directory, NotAnEvent, Refusal, Saved};
use crate::ground::json;
use crate::ground::names::Id;
use crate::ground::net::input::{Owner, SMALL, Unfinished, grow};
use crate::ground::tasks::{LARGE, aside};
use futures_lite::future::yield_now;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::future::poll_fn;
use std::time::{Duration, Instant};

/// How long a stream may be silent.
const SILENCE: Duration = Duration::from_secs(300);
/// How long lines are emitted before the others have their turn.
const TIME: Duration = Duration::from_millis(1);
/// Bad lines that the reply names; further ones are counted only.
const MAX_NAMED: usize = 100;
/// What a long line leaves behind of the buffer for lines that arrive in pieces.
const RETAINED: usize = 8192;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatEvent {
    user_id: Id,
    chat_id: Id,
    message_id: Option<Id>,
    session_id: Option<Id>,
    event: Box<RawValue>,
    #[serde(default = "yes")]
    save: bool,
    #[serde(default)]
    internal: bool,
}

fn yes() -> bool {
    true
}

/// What the reply to one event says.
#[derive(Serialize)]
struct Emitted {
    delivered: usize,
    saved: &'static str,
}

pub async fn event(request: ApiRequest) -> ApiResult {
    let house = request.house;
    let asked: ChatEvent = request.json().await?;
    let emitter = house.emitters.of(&Message {
        user_id: &asked.user_id,
        chat_id: &asked.chat_id,
        message_id: asked.message_id.as_deref(),
        session_id: asked.session_id.as_deref(),
        save: asked.save,
        internal: asked.internal,
    });
    let emitted = match asked.event.get().len() > LARGE {
        true => {
            let (raw, how) = (Box::<str>::from(asked.event), emitter.reading());
            match aside(move || Large::read(raw.into(), &how)).await {
                Ok(large) => Ok(emitter.emit_large(large).await),
                Err(NotAnEvent) => Err(NotAnEvent),
            }
        }
        false => emitter.emit(asked.event.get()).await,
    };
    let emitted = emitted
        .map_err(|NotAnEvent| Problem::shape("`event` must be an object with a text `type`."))?;
    let saved = on_disk(&house.core.directory, emitted.saved).await;
    Ok(Reply::json(&Emitted {
        delivered: emitted.reached,
        saved: word(saved),
    }))
}

/// Waits until what was saved is on disk: only then the reply may say so. The store logs what is wrong with it.
async fn on_disk(directory: &Directory, saved: Result<Saved, Refusal>) -> Result<Saved, Refusal> {
    if saved == Ok(Saved::Yes) {
        directory.durable().await?;
    }
    saved
}

fn word(saved: Result<Saved, Refusal>) -> &'static str {
    match saved {
        Ok(Saved::No) => "no",
        Ok(Saved::Yes) => "yes",
        Ok(Saved::NoMessage) => "no such message",
        Err(_) => "failed",
    }
}

/// What the reply to a stream says.
#[derive(Default, Serialize)]
struct Streamed {
    /// Lines that were not empty.
    lines: usize,
    emitted: usize,
    /// Sockets of this instance that each event reached, added up.
    delivered: usize,
    saved: usize,
    /// Emitted, and lost to the next reload. With those that are saved and those that are bad: all lines.
    not_saved: usize,
    bad: usize,
    /// The first of them, by number from 1.
    bad_lines: Vec<BadLine>,
}

#[derive(Serialize)]
struct BadLine {
    line: usize,
    detail: String,
}

pub async fn stream(request: ApiRequest) -> ApiResult {
    let house = request.house;
    let text = |name| request.query(name).unwrap_or_default();
    let emitter = house.emitters.of(&Message {
        user_id: text("user_id"),
        chat_id: text("chat_id"),
        message_id: request.query("message_id"),
        session_id: request.query("session_id"),
        save: request.query("save") != Some("false"),
        internal: request.query("internal") == Some("true"),
    });
    let mut stream = Stream {
        emitter,
        rest: Vec::new(),
        number: 0,
        reply: Streamed::default(),
    };
    let chat_id = text("chat_id").to_owned();
    let request_message = request.query("message_id").map(str::to_owned);
    let most = house.core.config.max_payload;
    let mut frames = request.frames();
    let (part, mut held) = (Unfinished::begin(Owner::Stream), 0);
    while let Some(frame) = frames.next(Instant::now() + SILENCE).await? {
        stream.take(&frame).await;
        // Short lines are not worth the counting.
        let rest = match stream.rest.len() {
            ..=SMALL => 0,
            _ => stream.rest.capacity(),
        };
        if std::mem::replace(&mut held, rest) != rest {
            let room = poll_fn(|cx| part.poll_hold(rest, cx)).await;
            room.map_err(|_| frames::late())?;
        }
        if stream.rest.len() > most {
            return Err(input::too_large(most));
        }
    }
    let last = std::mem::take(&mut stream.rest);
    stream.long_line(last).await;
    if let Some(message_id) = request_message {
        house.readers.finished(&chat_id, &message_id);
        house.core.peers.answered(&chat_id, &message_id);
    }
    let mut reply = stream.reply;
    if reply.saved > 0
        && let Err(refusal) = house.core.directory.durable().await
    {
        log::debug!("a stream was emitted and not saved: {refusal}");
        reply.not_saved += std::mem::take(&mut reply.saved);
    }
    Ok(Reply::json(&reply))
}

/// A body of lines, taken as it arrives.
struct Stream {
    emitter: Emitter,
    /// The line that has not ended yet.
    rest: Vec<u8>,
    number: usize,
    reply: Streamed,
}

impl Stream {
    /// Emits every line that ends in this piece; the others have their turn meanwhile, should there be many.
    async fn take(&mut self, mut piece: &[u8]) {
        let mut began = Instant::now();
        while let Some(end) = memchr::memchr(b'\n', piece) {
            if began.elapsed() > TIME {
                yield_now().await;
                began = Instant::now();
            }
            let (line, after) = piece.split_at(end);
            piece = after.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                self.line(line).await;
            } else {
                self.rest.extend_from_slice(line);
                let line = std::mem::take(&mut self.rest);
                let mut line = self.long_line(line).await;
                line.clear();
                line.shrink_to(RETAINED);
                self.rest = line;
            }
        }
        grow(&mut self.rest, piece.len());
        self.rest.extend_from_slice(piece);
    }

    async fn line(&mut self, line: &[u8]) {
        self.number += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        self.reply.lines += 1;
        let event = str::from_utf8(line).unwrap_or_default();
        if json::is_too_deep(event) {
            return self.bad(TOO_DEEP.into());
        }
        match self.emitter.emit(event).await {
            Ok(emitted) => self.count(emitted),
            Err(NotAnEvent) => self.bad(why_none(line)),
        }
    }

    /// A line that came in pieces, which may be large: then it is read beside our thread. Returns its buffer.
    async fn long_line(&mut self, line: Vec<u8>) -> Vec<u8> {
        if line.len() <= LARGE || line.trim_ascii().is_empty() {
            self.line(&line).await;
            return line;
        }
        self.number += 1;
        self.reply.lines += 1;
        let how = self.emitter.reading();
        match aside(move || read_large(line, &how)).await {
            Ok(large) => {
                let emitted = self.emitter.emit_large(large).await;
                self.count(emitted);
            }
            Err(why) => self.bad(why),
        }
        Vec::new()
    }

    fn count(&mut self, emitted: Sent) {
        self.reply.emitted += 1;
        self.reply.delivered += emitted.reached;
        match emitted.saved {
            Ok(Saved::Yes) => self.reply.saved += 1,
            Ok(_) | Err(_) => self.reply.not_saved += 1,
        }
    }

    fn bad(&mut self, detail: String) {
        self.reply.bad += 1;
        if self.reply.bad_lines.len() < MAX_NAMED {
            let line = self.number;
            self.reply.bad_lines.push(BadLine { line, detail });
        }
    }
}

const TOO_DEEP: &str = "nested too deep";

/// The event of a large line, or why there is none.
fn read_large(line: Vec<u8>, how: &Reading) -> Result<Large, String> {
    let text = String::from_utf8(line).map_err(|error| why_none(error.as_bytes()))?;
    if json::is_too_deep(&text) {
        return Err(TOO_DEEP.into());
    }
    Large::read(text.trim_ascii().to_owned(), how).map_err(|NotAnEvent| why_none(text.as_bytes()))
}

/// Why a line is no event.
fn why_none(line: &[u8]) -> String {
    match json::read::<&RawValue>(line) {
        Ok(_) => "not an object with a text `type`".into(),
        Err(error) => format!("not JSON: {error}"),
    }
}
