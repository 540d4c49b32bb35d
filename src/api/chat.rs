//! `POST /api/v1/chat/event` and `/chat/stream`: a backend writes a message of a chat, event by event.

use super::Answer;
use super::input::{self, Ask};
use super::reply::{Problem, Reply};
use crate::app::emitter::{Emitter, NotAnEvent, Saved};
use crate::directory::Directory;
use crate::ground::names::Id;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// How long a stream may be silent.
const SILENCE: Duration = Duration::from_secs(300);
/// Bad lines that the reply names; further ones are counted only.
const MAX_NAMED: usize = 100;
/// What a long line leaves behind of the buffer for lines that arrive in pieces.
const KEPT: usize = 8192;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatEvent {
    user_id: Id,
    chat_id: Id,
    message_id: Option<Id>,
    event: Box<RawValue>,
    #[serde(default = "yes")]
    save: bool,
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

pub async fn event(ask: Ask) -> Answer {
    let house = ask.house;
    let asked: ChatEvent = ask.json().await?;
    let emitter = Emitter::new(
        house.core,
        &asked.user_id,
        &asked.chat_id,
        asked.message_id.as_deref(),
        asked.save,
    );
    let emitted = emitter.emit(&asked.event).await;
    let emitted = emitted
        .map_err(|NotAnEvent| Problem::shape("`event` must be an object with a text `type`."))?;
    let saved = settle(&house.core.directory, emitted.saved).await;
    Ok(Reply::json(&Emitted {
        delivered: emitted.reached,
        saved: word(saved),
    }))
}

/// What was saved is on disk before anybody is told so. The store says in the log what is wrong with it.
async fn settle(directory: &Directory, saved: Saved) -> Saved {
    match saved {
        Saved::Yes => directory
            .durable()
            .await
            .map_or_else(Saved::Failed, |()| Saved::Yes),
        other => other,
    }
}

fn word(saved: Saved) -> &'static str {
    match saved {
        Saved::No => "no",
        Saved::Yes => "yes",
        Saved::NoMessage => "no such message",
        Saved::Failed(_) => "failed",
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
    /// Emitted, and lost to the next reload.
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

pub async fn stream(ask: Ask) -> Answer {
    let house = ask.house;
    let text = |name| ask.query(name).unwrap_or_default();
    let save = ask.query("save") != Some("false");
    let emitter = Emitter::new(
        house.core,
        text("user_id"),
        text("chat_id"),
        ask.query("message_id"),
        save,
    );
    let mut stream = Stream {
        emitter,
        rest: Vec::new(),
        number: 0,
        told: Streamed::default(),
    };
    let most = house.core.config.max_payload;
    let mut frames = ask.frames();
    while let Some(frame) = frames.next(Instant::now() + SILENCE).await? {
        stream.take(&frame).await;
        if stream.rest.len() > most {
            return Err(input::too_large(most));
        }
    }
    let last = std::mem::take(&mut stream.rest);
    stream.line(&last).await;
    let mut told = stream.told;
    if told.saved > 0
        && let Err(refusal) = house.core.directory.durable().await
    {
        log::debug!("a stream was emitted and not saved: {refusal}");
        told.not_saved += std::mem::take(&mut told.saved);
    }
    Ok(Reply::json(&told))
}

/// A body of lines, taken as it arrives.
struct Stream {
    emitter: Emitter,
    /// The line that has not ended yet.
    rest: Vec<u8>,
    number: usize,
    told: Streamed,
}

impl Stream {
    /// Emits every line that ends in this piece.
    async fn take(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, after) = piece.split_at(end);
            piece = after.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                self.line(line).await;
            } else {
                self.rest.extend_from_slice(line);
                let mut line = std::mem::take(&mut self.rest);
                self.line(&line).await;
                line.clear();
                line.shrink_to(KEPT);
                self.rest = line;
            }
        }
        self.rest.extend_from_slice(piece);
    }

    async fn line(&mut self, line: &[u8]) {
        self.number += 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        self.told.lines += 1;
        if input::too_deep(line) {
            return self.bad("nested too deep".into());
        }
        let event: &RawValue = match crate::ground::json::read(line) {
            Ok(event) => event,
            Err(error) => return self.bad(format!("not JSON: {error}")),
        };
        match self.emitter.emit(event).await {
            Err(NotAnEvent) => self.bad("not an object with a text `type`".into()),
            Ok(emitted) => {
                self.told.emitted += 1;
                self.told.delivered += emitted.reached;
                match emitted.saved {
                    Saved::Yes => self.told.saved += 1,
                    Saved::No => {}
                    Saved::NoMessage | Saved::Failed(_) => self.told.not_saved += 1,
                }
            }
        }
    }

    fn bad(&mut self, detail: String) {
        self.told.bad += 1;
        if self.told.bad_lines.len() < MAX_NAMED {
            let line = self.number;
            self.told.bad_lines.push(BadLine { line, detail });
        }
    }
}
