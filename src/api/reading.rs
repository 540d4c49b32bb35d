//! `GET /api/v1/chat/stream`: an answer, what there is of it and then what follows, as server-sent events.

use super::ApiResult;
use super::input::ApiRequest;
use super::key::{self, Bearer};
use super::reply::{Problem, Reply};
use crate::app::readers::{Asked, Unread};
use crate::directory::{Access, is_saved_chat};
use crate::socket::Offset;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

/// How a page is told where it was, when it comes back by itself.
const LAST: &str = "last-event-id";

pub async fn read(request: ApiRequest) -> ApiResult {
    let core = request.house.core;
    let text = |name| request.query(name).unwrap_or_default();
    let bearer = key::bearer(request.house, request.headers()).await?;
    let chat_id = text("chat_id");
    if chat_id.starts_with("channel:") {
        let detail = "`chat_id` must be a chat's; a channel's messages come as `events:channel`.";
        return Err(Problem::shape(detail));
    }
    let (who, user_id) = match bearer {
        Bearer::Key => (None, owner(&request, chat_id)?),
        Bearer::User(who) => {
            let own = who.user.id.clone();
            if request.query("user_id").is_some_and(|id| id != own) {
                return Err(Problem::shape(
                    "`user_id` is for the API's key; a token says whose it is.",
                ));
            }
            if is_saved_chat(chat_id)
                && core.directory.chat_access(&who, chat_id).await? < Access::Read
            {
                return Err(no_chat());
            }
            (Some(who), own)
        }
    };
    // Where it was when the connection was lost is newer than where it began.
    let last = request
        .headers()
        .get(LAST)
        .and_then(|last| last.to_str().ok());
    let after = last.or(request.query("after")).and_then(Offset::read);
    let asked = Asked {
        who,
        user_id: &user_id,
        chat_id,
        message_id: text("message_id"),
        after,
    };
    match request.house.readers.open(&asked) {
        Ok(Some(reading)) => Ok(Reply::events(reading)),
        Ok(None) => Ok(Reply::done()),
        Err(Unread::Store(fault)) => Err(fault.into()),
        Err(Unread::TooMany) => {
            let detail = "Too many answers are read at a time: close those that are not.";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
            Err(problem.with(header::RETRY_AFTER, HeaderValue::from_static("5")))
        }
    }
}

/// Whose answer a backend wants to read.
fn owner(request: &ApiRequest, chat_id: &str) -> Result<String, Problem> {
    if let Some(user_id) = request.query("user_id") {
        return Ok(user_id.to_owned());
    }
    match request.house.core.directory.local() {
        Some(local) if is_saved_chat(chat_id) => {
            let chat = local.chat(chat_id)?.ok_or_else(no_chat)?;
            let owner = chat.get("user_id").and_then(|id| id.as_str());
            Ok(owner.unwrap_or_default().to_owned())
        }
        _ => Err(Problem::shape(
            "`user_id` is missing: only of a chat that is saved here it is known.",
        )),
    }
}

fn no_chat() -> Problem {
    Problem::missing("There is no such chat, or it is not to be read with this token.")
}
