//! `events:chat`: a saved chat is opened, typed in, read, closed.

use super::payload::Id;
use super::{EventResult, Work};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::directory::is_saved_chat;
use crate::ground::rooms;
use crate::socket::{Args, Object};
use serde::Deserialize;
use serde_json::Value;
use std::rc::Rc;

#[derive(Deserialize)]
struct Payload {
    chat_id: Id,
    data: Object<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    r#type: String,
    data: Option<Value>,
}

/// `{chat_id, data: {type, data?}}`. All but `last_read_at` answer whether it was done.
pub fn event(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload {
        chat_id,
        data: Object(Inner { r#type, data }),
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    if !is_saved_chat(&chat_id) {
        return match &*r#type {
            "last_read_at" => Work::refuse(Fault::Denied("not a saved chat")),
            _ => Work::Now(done(false)),
        };
    }
    let chats = house.chats;
    match &*r#type {
        "join" => {
            let chat_id: Rc<str> = (&*chat_id).into();
            Work::join(rooms::of_chat(&chat_id), move |_| {
                let (from, chat_id) = (from.clone(), chat_id.clone());
                async move { done(chats.open(&from, &chat_id).await?) }
            })
        }
        "leave" => {
            house.joins.end(from.sid, &rooms::of_chat(&chat_id));
            chats.close(from.sid, &chat_id);
            Work::Now(done(true))
        }
        "typing" => match data.as_ref().and_then(|data| data.get("typing")?.as_bool()) {
            Some(typing) => {
                Work::later(async move { done(chats.type_in(&from, &chat_id, typing).await?) })
            }
            None => Work::Now(done(false)),
        },
        "last_read_at" => Work::later(async move {
            chats.mark_read(&from, &chat_id).await?;
            Ok(Args::none())
        }),
        _ => Work::refuse(Fault::Payload),
    }
}

fn done(done: bool) -> EventResult {
    Ok(Args::one(&done))
}
