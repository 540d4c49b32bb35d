//! Answers that are being written: what their next update for others than their user is made of.
//!
//! At most [`ANSWERS`] of them and [`BYTES`] in all; the one that nothing came for the longest goes first, and whoever watches
//! it sees its end alone.

use super::output;
use crate::ground::json;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const ANSWERS: usize = 256;
const BYTES: usize = 16 << 20;
/// Of one answer.
const ANSWER_BYTES: usize = 2 << 20;
/// Between two updates that only add to an answer.
const PAUSE: Duration = Duration::from_millis(150);

/// What is known of one answer.
pub struct Answer {
    used: Instant,
    /// The last update.
    updated: Option<Instant>,
    output: Output,
    /// Of the output and the files, or more.
    bytes: usize,
    /// A channel's message has these, too.
    pub content: Option<String>,
    pub files: Vec<Value>,
    pub done: bool,
}

/// A list of items, parsed when something is added to it.
enum Output {
    Unknown,
    Given(Box<RawValue>),
    Made(Vec<Value>),
}

impl Answer {
    fn new(now: Instant) -> Self {
        Self {
            used: now,
            updated: None,
            output: Output::Unknown,
            bytes: 0,
            content: None,
            files: Vec::new(),
            done: false,
        }
    }

    /// Is it time for an update that only adds?
    pub fn is_due(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        self.updated.is_none_or(|at| since(at) >= PAUSE)
    }

    pub fn updated(&mut self, now: Instant) {
        self.updated = Some(now);
    }

    /// Takes what an event says of the output: all of it, or else a part of it.
    pub fn take(&mut self, whole: Option<&RawValue>, part: Option<&str>) {
        if let Some(whole) = whole {
            self.bytes = whole.get().len();
            self.output = Output::Given(whole.to_owned());
        } else if let Some(part) = part {
            self.apply(part);
        }
    }

    fn apply(&mut self, data: &str) {
        let Ok(event) = json::owned::<Map<String, Value>>(data) else {
            return;
        };
        let mut items = match std::mem::replace(&mut self.output, Output::Unknown) {
            Output::Unknown => Vec::new(),
            Output::Made(items) => items,
            Output::Given(text) => json::owned(text.get()).unwrap_or_default(),
        };
        output::apply(&mut items, &event);
        self.bytes += data.len();
        self.output = Output::Made(items);
    }

    pub fn add_files(&mut self, mut files: Vec<Value>, bytes: usize) {
        files.append(&mut self.files);
        self.files = files;
        self.bytes += bytes;
    }

    /// The output as JSON.
    pub fn output(&self) -> Option<Box<RawValue>> {
        match &self.output {
            Output::Unknown => None,
            Output::Given(text) => Some(text.clone()),
            Output::Made(items) => to_raw_value(items).ok(),
        }
    }

    /// The text of the output.
    pub fn text(&self) -> String {
        match &self.output {
            Output::Unknown => String::new(),
            Output::Made(items) => output::text(items),
            Output::Given(text) => {
                let items: Option<Vec<Value>> = json::owned(text.get()).ok();
                output::text(&items.unwrap_or_default())
            }
        }
    }

    fn bound(&mut self) {
        if self.bytes > ANSWER_BYTES {
            (self.output, self.files, self.bytes) = (Output::Unknown, Vec::new(), 0);
        }
    }

    fn size(&self) -> usize {
        self.bytes + self.content.as_ref().map_or(0, String::len)
    }
}

/// By chat and message.
#[derive(Default)]
pub struct Answers(RefCell<HashMap<String, Answer>>);

impl Answers {
    /// Changes what is known of an answer. `change` must not emit.
    pub fn change<T>(&self, key: &str, now: Instant, change: impl FnOnce(&mut Answer) -> T) -> T {
        let mut answers = self.0.borrow_mut();
        let answer = answers
            .entry(key.to_owned())
            .or_insert_with(|| Answer::new(now));
        answer.used = now;
        let changed = change(answer);
        answer.bound();
        make_room(&mut answers);
        changed
    }

    pub fn forget(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }
}

fn make_room(answers: &mut HashMap<String, Answer>) {
    while answers.len() > ANSWERS || answers.values().map(Answer::size).sum::<usize>() > BYTES {
        let oldest = answers.iter().min_by_key(|(_, answer)| answer.used);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        answers.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_goes_when_there_are_too_many_or_too_large_ones() {
        let answers = Answers::default();
        let start = Instant::now();
        for n in 0..ANSWERS as u32 + 9 {
            let now = start + Duration::from_secs(1) * n;
            answers.change(&n.to_string(), now, |_| ());
            answers.change("kept", now, |_| ());
        }
        assert_eq!(answers.0.borrow().len(), ANSWERS);
        assert!(answers.0.borrow().contains_key("kept") && !answers.0.borrow().contains_key("3"));
        for n in 0..40_u32 {
            let now = start + Duration::from_secs(9999 + u64::from(n));
            answers.change(&n.to_string(), now, |answer| answer.bytes = 1 << 20);
        }
        let all = answers.0.borrow();
        assert!(all.values().map(Answer::size).sum::<usize>() <= BYTES);
        assert!(all.contains_key("39") && !all.contains_key("0") && !all.contains_key("kept"));
    }

    #[test]
    fn an_answer_that_is_too_large_is_known_no_more() {
        let answers = Answers::default();
        let now = Instant::now();
        let text = "x".repeat(1 << 19);
        let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#);
        for _ in 0..20 {
            answers.change("a", now, |answer| answer.apply(&delta));
            let answers = answers.0.borrow();
            assert!(
                answers["a"].size() <= ANSWER_BYTES && answers["a"].text().len() <= ANSWER_BYTES
            );
        }
    }

    #[test]
    fn updates_that_add_have_a_pause_between_them() {
        let now = Instant::now();
        let mut answer = Answer::new(now);
        assert!(answer.is_due(now));
        answer.updated(now);
        assert!(!answer.is_due(now + PAUSE / 2) && answer.is_due(now + PAUSE));
    }
}
