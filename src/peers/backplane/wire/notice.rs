//! What an instance of ours tells all the others of ours.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A notice.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice<'a> {
    /// A save of this note is about to go out.
    Saving {
        #[serde(borrow)]
        note: Cow<'a, str>,
        id: u64,
    },
    /// It has ended: with an answer (`at`), without one (`print`), or without an echo (neither).
    Saved {
        #[serde(borrow)]
        note: Cow<'a, str>,
        id: u64,
        at: Option<u64>,
        print: Option<u64>,
    },
    /// This user's rights have changed.
    Changed {
        #[serde(borrow)]
        user: Cow<'a, str>,
    },
    /// This note was removed, and its document has ended: the next one has this epoch.
    Removed {
        #[serde(borrow)]
        note: Cow<'a, str>,
        epoch: u64,
    },
    /// The request that streamed this answer has ended: chat, line end, message.
    Answered {
        #[serde(borrow)]
        answer: Cow<'a, str>,
    },
}

/// The message that says it.
pub fn notice_message(me: &str, notice: &Notice<'_>) -> String {
    let mut out = String::from(r#"{"method":"siskin:notice","notice":"#);
    out.push_str(&serde_json::to_string(notice).unwrap_or_default());
    super::from(&mut out, me);
    out
}
