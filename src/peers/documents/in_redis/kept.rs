//! What is kept of a note's document that everybody has left, while somebody who was cut off may come back with it: whoever opens
//! the note next goes on with it, so that its text is not there twice.
//!
//! A hash of siskin's own beside the reference's keys: what the note says that the document belongs to, whether somebody was cut
//! off, and the updates once nobody has it open. Does the note say something else when it is opened, somebody else wrote it, and
//! that wins.

use super::InRedis;
use super::scripts::{KEEP, REMOVE, RESTORE, SET};
use crate::ground::names::note_of_document;
use crate::ground::tasks::{LARGE, aside};
use crate::peers::shared::lease::Lease;
use crate::peers::shared::locks::Trouble;
use crate::peers::shared::print;
use crate::redis::CommandError;
use redis::Cmd;

/// How long it is kept after its last change, in seconds.
const LIFETIME: &str = "86400";

const KEPT: &str = "kept";
const CONTENT: &str = "content";
const CUT_OFF: &str = "cut_off";
const UPDATES: &str = "updates";

impl InRedis {
    /// The note says this, and its document, too.
    pub async fn saved(&self, id: &str, content: &str) {
        let Some(print) = print_of(content).await else {
            return;
        };
        let keep = self.keep(id, CONTENT, &print);
        if let Err(fault) = self.redis.pipeline(keep.into()).await {
            log::debug!("what the note of {id:?} says is not known in Redis: {fault}");
        }
    }

    /// Notes that somebody who had it open was cut off.
    pub(super) fn cut_off(&self, id: &str) -> Option<[Cmd; 2]> {
        note_of_document(id).map(|_| self.keep(id, CUT_OFF, "1"))
    }

    fn keep(&self, id: &str, field: &str, value: &str) -> [Cmd; 2] {
        let (mut set, mut expire) = (redis::cmd("HSET"), redis::cmd("EXPIRE"));
        set.arg(self.key(id, KEPT)).arg(field).arg(value);
        expire.arg(self.key(id, KEPT)).arg(LIFETIME);
        [set, expire]
    }

    fn kept(
        &self,
        id: &str,
        field: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, CommandError>> {
        let mut get = redis::cmd("HGET");
        get.arg(self.key(id, KEPT)).arg(field);
        self.redis.query(get)
    }

    /// It is about to be cleared.
    pub(super) async fn keep_updates(&self, lease: &Lease, id: &str) -> Result<(), Trouble> {
        if note_of_document(id).is_none() {
            return Ok(());
        }
        if self.kept(id, CUT_OFF).await?.is_none() {
            self.step(lease, &REMOVE, id, KEPT, &[]).await?;
            return Ok(());
        }
        // Somebody else may have cleared it just now.
        let updates = self.read(id, -1).await?.join(&b'\n');
        if !updates.is_empty() {
            let args = [UPDATES.as_bytes(), &updates, LIFETIME.as_bytes()];
            self.step(lease, &KEEP, id, KEPT, &args).await?;
        }
        Ok(())
    }

    /// Whoever opens a note with this content has found no document: the one that was kept is there again if it belongs to that.
    /// Returns whether it is.
    pub async fn restore(&self, id: &str, content: &str) -> bool {
        let Some(print) = print_of(content).await else {
            return false;
        };
        let restore = async |lease: &Lease| {
            let same = self.kept(id, CONTENT).await?.as_deref() == Some(print.as_bytes());
            if self.len(id).await? > 0 {
                return Ok(same);
            }
            if same && let Some(updates) = self.kept(id, UPDATES).await? {
                let numbers = updates.iter().filter(|byte| matches!(byte, b',' | b'\n'));
                let size = (numbers.count() + 1).to_string();
                self.step(lease, &SET, id, "size", &[size.as_bytes()])
                    .await?;
                self.step(lease, &RESTORE, id, "updates", &[&updates])
                    .await?;
                return Ok(true);
            }
            self.step(lease, &REMOVE, id, KEPT, &[]).await?;
            let args = [CONTENT.as_bytes(), print.as_bytes(), LIFETIME.as_bytes()];
            self.step(lease, &KEEP, id, KEPT, &args).await?;
            Ok(false)
        };
        let restored = self.locks.with(&self.locks.of_document(id), restore).await;
        restored.unwrap_or_else(|fault| {
            log::debug!("what was kept of {id:?} is not known: {fault}");
            false
        })
    }
}

/// What the content says as one number, that of a large one from beside our thread.
async fn print_of(content: &str) -> Option<String> {
    let found = match content.len() > LARGE {
        true => {
            let content = content.to_owned();
            aside(move || print(&content)).await
        }
        false => print(content),
    };
    found.map(|print| print.to_string())
}
