//! Reads the pools bit by bit: 200 entries a step, and only those come over the wire that hold what is looked for.
//!
//! Who has a chat open on other instances is in their session entries, and only there: each question reads the whole
//! pool. At 5,000 sessions that is 25 steps, each a search for a text in 120 KB inside of Redis, about 0.2 ms. It is kept
//! rare: not at all while all entries are this instance's own (one HLEN tells), one reading at a
//! time, which answers all questions that were asked before it began, and pauses between
//! readings of three times as long as they took, so that they cost Redis at most a quarter of its time.

use super::SharedPools;
use crate::ground::tasks::{Single, within};
use crate::redis::{CommandError, Script};
use serde::Deserialize;
use smol::channel::{Sender, bounded};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Entries of a step.
const STEP: &str = "200";
/// Questions that one reading answers.
const MOST_TOGETHER: usize = 32;
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// One step of a reading: `ARGV` is the cursor, the size of a step and the texts that are looked for.
static STEP_OF: Script = Script::new(
    r"
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {page[1]}
for i = 1, #page[2], 2 do
  for j = 3, #ARGV do
    if string.find(page[2][i + 1], ARGV[j], 1, true) then
      found[#found + 1] = page[2][i]
      found[#found + 1] = page[2][i + 1]
      break
    end
  end
end
return found
",
);

/// A session entry as another instance wrote it.
#[derive(Debug, Deserialize)]
pub struct PoolEntry {
    #[serde(skip)]
    pub sid: String,
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub last_seen_at: Option<f64>,
    #[serde(default)]
    pub chat_ids: Option<Vec<String>>,
}

impl PoolEntry {
    pub fn has_open(&self, chat_id: &str) -> bool {
        self.chat_ids.iter().flatten().any(|id| id == chat_id)
    }
}

type Entries = Rc<Vec<PoolEntry>>;

/// Questions that wait for a reading.
#[derive(Default)]
pub struct Questions {
    waiting: RefCell<Vec<(Vec<String>, Sender<Entries>)>>,
    reading: Single,
}

impl SharedPools {
    /// Entries of other instances' sessions that hold one of these texts (maybe some more), if they were heard of in time.
    /// What this instance has not written yet is written first, so that others who ask find it. Empty when Redis
    /// can't tell.
    pub async fn foreign(self: &Rc<Self>, texts: &[&str]) -> Entries {
        self.mirrored().await;
        if !self.redis.is_steady() {
            return Entries::default();
        }
        let (answer, answered) = bounded(1);
        let needles = texts.iter().map(|text| needle(text)).collect();
        let question = (needles, answer);
        self.questions.waiting.borrow_mut().push(question);
        let this = self.clone();
        let read = || async move { this.answer_all().await };
        self.questions
            .reading
            .start(&self.owner, "reads the session pool", read);
        let answer = within(DEADLINE, answered.recv()).await;
        answer.and_then(Result::ok).unwrap_or_default()
    }

    /// Reads until nobody asks any more.
    async fn answer_all(&self) {
        loop {
            let questions: Vec<_> = {
                let mut waiting = self.questions.waiting.borrow_mut();
                let some = waiting.len().min(MOST_TOGETHER);
                waiting.drain(..some).collect()
            };
            if questions.is_empty() {
                return;
            }
            let began = Instant::now();
            let needles = questions.iter().flat_map(|(needles, _)| needles);
            let needles: BTreeSet<&str> = needles.map(String::as_str).collect();
            let entries = match self.read_foreign(&needles).await {
                Ok(entries) => Rc::new(entries),
                Err(fault) => {
                    log::debug!("other instances' sessions can't be read: {fault}");
                    Entries::default()
                }
            };
            for (_, answer) in questions {
                let _ = answer.try_send(entries.clone());
            }
            smol::Timer::after(began.elapsed() * 3).await;
        }
    }

    async fn read_foreign(&self, needles: &BTreeSet<&str>) -> Result<Vec<PoolEntry>, CommandError> {
        let key = self.redis.key("session_pool");
        let mut len = redis::cmd("HLEN");
        len.arg(&key);
        if self.redis.query::<usize>(len).await? <= self.mirror.sessions() {
            return Ok(Vec::new());
        }
        // Right after the clock was set nobody's entry can be judged by it.
        let timeout = self.session_timeout;
        let since = match self.steps.none_for(timeout) {
            true => crate::ground::clock::now() as f64 - timeout.as_secs_f64(),
            false => f64::MIN,
        };
        let mut entries = Vec::new();
        let needles: Vec<&str> = needles.iter().copied().collect();
        self.scan(&key, &needles, |sid, value| {
            let ours =
                crate::socket::Sid::parse(sid).is_some_and(|sid| self.sessions.who(sid).is_some());
            let Ok(mut entry) = serde_json::from_str::<PoolEntry>(value) else {
                return;
            };
            entry.sid = sid.to_owned();
            if !ours && entry.last_seen_at.unwrap_or(0.0) >= since {
                entries.push(entry);
            }
        })
        .await?;
        // An entry may come twice.
        entries.sort_by(|a, b| a.sid.cmp(&b.sid));
        entries.dedup_by(|a, b| a.sid == b.sid);
        Ok(entries)
    }

    /// Calls `each` with every field and value of a hash whose value holds one of these texts.
    pub async fn scan(
        &self,
        key: &str,
        needles: &[&str],
        mut each: impl FnMut(&str, &str),
    ) -> Result<(), CommandError> {
        let mut cursor = "0".to_owned();
        loop {
            let mut args = vec![cursor.as_bytes(), STEP.as_bytes()];
            args.extend(needles.iter().map(|needle| needle.as_bytes()));
            let mut page: Vec<Vec<u8>> = self.redis.script(&STEP_OF, &[key], &args).await?;
            if page.is_empty() {
                return Ok(());
            }
            let found = page.split_off(1);
            for pair in found.chunks_exact(2) {
                if let [field, value] = pair
                    && let (Ok(field), Ok(value)) = (str::from_utf8(field), str::from_utf8(value))
                {
                    each(field, value);
                }
            }
            cursor = page
                .pop()
                .and_then(|cursor| String::from_utf8(cursor).ok())
                .unwrap_or_default();
            if cursor == "0" || cursor.is_empty() {
                return Ok(());
            }
        }
    }
}

/// What an entry must hold that holds this text: the text in quotes, or anything when it may be written in several ways.
fn needle(text: &str) -> String {
    let plain = |b: u8| (b' '..0x7f).contains(&b) && !matches!(b, b'"' | b'\\' | b'/');
    match text.bytes().all(plain) {
        true => format!("\"{text}\""),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_json_writes_in_one_way_are_looked_for() {
        assert_eq!(needle("0a-1 b:c"), "\"0a-1 b:c\"");
        for text in ["ä", "a\"", "a\\", "a/b", "a\n"] {
            assert_eq!(needle(text), "");
        }
    }

    #[test]
    fn entries_of_the_reference_are_read() {
        let one = r#"{"id": "u", "name": "U", "role": "user", "last_seen_at": 12, "settings": {"ui": {"id": 1}}}"#;
        let entry: PoolEntry = serde_json::from_str(one).unwrap();
        assert!(entry.id == "u" && !entry.has_open("c"));
        let two = r#"{"id":"u","name":null,"last_seen_at":12.5,"chat_ids":["c"]}"#;
        let entry: PoolEntry = serde_json::from_str(two).unwrap();
        assert!(entry.has_open("c") && entry.last_seen_at == Some(12.5));
    }
}
