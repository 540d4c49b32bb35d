//! Answers that are being written: what their next update for others than their user is made of.
//!
//! At most [`ANSWERS`] of them and [`BYTES`] in all; the output of the one that nothing came for the longest goes first. That
//! it is lost is remembered, for a part is nobody's answer: whoever watches it sees it grow no more, until all of it comes.

use super::output;
use crate::ground::json;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const ANSWERS: usize = 256;
/// With those whose output is lost.
const REMEMBERED: usize = 1024;
const BYTES: usize = 16 << 20;
/// Of one answer's output, and of its files.
const ANSWER_BYTES: usize = 2 << 20;
/// What an output may seem larger than it was when it was measured, and as much as it was, until it is measured again.
const UNMEASURED: usize = 64 << 10;
/// Between two updates that only add to an answer.
const PAUSE: Duration = Duration::from_millis(150);

/// What is known of one answer.
pub struct Answer {
    used: Instant,
    /// The last update.
    updated: Option<Instant>,
    output: Output,
    /// Its beginning is not kept, so nothing can be added to it.
    lost: bool,
    /// Of the output, or more, and when it was measured; of the files.
    bytes: usize,
    measured: usize,
    file_bytes: usize,
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
            lost: false,
            bytes: 0,
            measured: 0,
            file_bytes: 0,
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

    /// Is an addition of no use?
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes what an event says of the output: all of it, or else a part of it.
    pub fn take(&mut self, whole: Option<&RawValue>, part: Option<&str>) {
        if let Some(whole) = whole {
            (self.bytes, self.measured) = (whole.get().len(), whole.get().len());
            self.lost = false;
            self.output = Output::Given(whole.to_owned());
        } else if let Some(part) = part {
            self.apply(part);
        }
    }

    fn apply(&mut self, data: &str) {
        let Ok(event) = json::owned::<Map<String, Value>>(data) else {
            return;
        };
        // What completes an answer may have all of it.
        if self.lost
            && !event
                .get("type")
                .is_some_and(|is| is == "response.completed")
        {
            return;
        }
        let mut items = match std::mem::replace(&mut self.output, Output::Unknown) {
            Output::Unknown => Vec::new(),
            Output::Made(items) => items,
            Output::Given(text) => json::owned(text.get()).unwrap_or_default(),
        };
        let added = output::apply(&mut items, &event, data.len());
        self.lost &= items.is_empty();
        if !self.lost {
            self.bytes += added;
            self.output = Output::Made(items);
        }
    }

    /// Puts files before those that are there, unless they are too many.
    pub fn add_files(&mut self, mut files: Vec<Value>, bytes: usize) -> bool {
        if self.file_bytes + bytes > ANSWER_BYTES {
            return false;
        }
        files.append(&mut self.files);
        self.files = files;
        self.file_bytes += bytes;
        true
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

    /// Gives up an output that is too long to be kept.
    pub fn bound(&mut self, key: &str) {
        if self.bytes > ANSWER_BYTES.min(self.measured * 2 + UNMEASURED) {
            let output = self.output();
            self.measured = output.map_or(0, |output| output.get().len());
            self.bytes = self.measured;
        }
        if self.bytes > ANSWER_BYTES {
            self.lose(key);
        }
    }

    /// Makes room: the output goes first.
    fn lose(&mut self, key: &str) {
        if self.lost {
            (self.content, self.files, self.file_bytes) = (None, Vec::new(), 0);
            return;
        }
        log::warn!("an answer is too long to be kept, who watches it sees its end alone: {key:?}");
        (self.output, self.lost) = (Output::Unknown, true);
        (self.bytes, self.measured) = (0, 0);
    }

    fn size(&self) -> usize {
        self.bytes + self.file_bytes + self.content.as_ref().map_or(0, String::len)
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
        answer.bound(key);
        make_room(&mut answers);
        changed
    }

    /// Takes an answer out, to be changed beside our thread. [`Answers::put`] brings it back.
    pub fn take(&self, key: &str, now: Instant) -> Answer {
        let known = self.0.borrow_mut().remove(key);
        let mut answer = known.unwrap_or_else(|| Answer::new(now));
        answer.used = now;
        answer
    }

    /// Brings one back. What came to it from elsewhere meanwhile has another beginning: neither is the whole.
    pub fn put(&self, key: &str, mut answer: Answer) {
        let mut answers = self.0.borrow_mut();
        if answers.contains_key(key) {
            answer.lose(key);
        }
        answers.insert(key.to_owned(), answer);
        make_room(&mut answers);
    }

    pub fn forget(&self, key: &str) {
        self.0.borrow_mut().remove(key);
    }
}

fn make_room(answers: &mut HashMap<String, Answer>) {
    while answers.values().filter(|answer| !answer.lost).count() > ANSWERS
        || answers.values().map(Answer::size).sum::<usize>() > BYTES
    {
        let kept = answers.iter_mut();
        let kept = kept.filter(|(_, answer)| !answer.lost || answer.size() > 0);
        let oldest = kept.min_by_key(|(_, answer)| (answer.lost, answer.used));
        let Some((key, oldest)) = oldest else { return };
        oldest.lose(key);
    }
    if answers.len() > REMEMBERED {
        let oldest = answers.iter().filter(|(_, answer)| answer.lost);
        let oldest = oldest.min_by_key(|(_, answer)| answer.used);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            answers.remove(&oldest);
        }
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
        let known = |key: &str| {
            let answers = answers.0.borrow();
            answers.get(key).is_some_and(|answer| !answer.lost)
        };
        let kept = answers.0.borrow();
        assert_eq!(kept.values().filter(|kept| !kept.lost).count(), ANSWERS);
        drop(kept);
        assert!(known("kept") && !known("3"));
        for n in 0..40_u32 {
            let now = start + Duration::from_secs(9999 + u64::from(n));
            let key = (n + 1000).to_string();
            answers.change(&key, now, |answer| {
                (answer.bytes, answer.measured) = (1 << 20, 1 << 20);
            });
        }
        let all = answers.0.borrow();
        assert!(all.values().map(Answer::size).sum::<usize>() <= BYTES);
        drop(all);
        assert!(known("1039") && !known("1000") && !known("kept"));
        for n in 0..2 * REMEMBERED as u32 {
            let now = start + Duration::from_secs(99_999 + u64::from(n));
            answers.change(&n.to_string(), now, |_| ());
        }
        assert_eq!(answers.0.borrow().len(), REMEMBERED);
    }

    /// As models send them: little text, and much around it.
    fn delta(text: &str) -> String {
        let around = "x".repeat(150);
        format!(r#"{{"type":"response.output_text.delta","item_id":"{around}","delta":"{text}"}}"#)
    }

    #[test]
    fn what_is_kept_of_an_answer_is_what_counts() {
        let (answers, now) = (Answers::default(), Instant::now());
        for _ in 0..13_000 {
            answers.change("a", now, |answer| answer.apply(&delta("word ")));
        }
        let known = answers.0.borrow();
        let real = known["a"].output().unwrap().get().len();
        assert_eq!(known["a"].text().len(), 13_000 * 5);
        assert!(known["a"].bytes >= real && known["a"].bytes <= real * 2 + UNMEASURED);
        drop(known);
        // Places that an event makes count, too.
        for at in 0..50 {
            let far = format!(
                r#"{{"type":"response.output_text.delta","output_index":{at},"content_index":1023,"delta":""}}"#
            );
            answers.change("b", now, |answer| answer.apply(&far));
            let known = answers.0.borrow();
            let real = known["b"].output().map_or(0, |output| output.get().len());
            assert!(known["b"].bytes >= real && real <= ANSWER_BYTES);
        }
    }

    #[test]
    fn nothing_is_added_to_an_answer_whose_beginning_is_lost() {
        let (answers, now) = (Answers::default(), Instant::now());
        let apply = |event: &str| answers.change("a", now, |answer| answer.apply(event));
        let text = || answers.0.borrow()["a"].text();
        let file = vec![Value::from("file")];
        assert!(answers.change("a", now, |answer| answer.add_files(file.clone(), 9)));
        apply(&delta(&"x".repeat(ANSWER_BYTES)));
        apply(&delta("tail"));
        assert!(answers.0.borrow()["a"].is_lost() && text().is_empty());
        assert_eq!(answers.0.borrow()["a"].files, file, "files are kept");
        assert!(!answers.change("a", now, |answer| {
            answer.add_files(Vec::new(), ANSWER_BYTES)
        }));
        apply(r#"{"type":"response.completed","response":{"output":[]}}"#);
        assert!(answers.0.borrow()["a"].is_lost());
        apply(
            r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"text":"all"}]}]}}"#,
        );
        assert_eq!(text(), "all");
        let whole =
            RawValue::from_string(r#"[{"type":"message","content":[{"text":"w"}]}]"#.into());
        answers.change("a", now, |answer| answer.lose("a"));
        answers.change("a", now, |answer| answer.take(Some(&whole.unwrap()), None));
        apply(&delta("!"));
        assert_eq!(text(), "w!");
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
    fn an_answer_that_is_away_has_no_other_beginning() {
        let (answers, now) = (Answers::default(), Instant::now());
        answers.change("a", now, |answer| answer.apply(&delta("one")));
        let mut away = answers.take("a", now);
        away.apply(&delta("two"));
        answers.put("a", away);
        assert_eq!(answers.0.borrow()["a"].text(), "onetwo");
        let away = answers.take("a", now);
        answers.change("a", now, |answer| answer.apply(&delta("three")));
        answers.put("a", away);
        assert!(answers.0.borrow()["a"].is_lost());
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
