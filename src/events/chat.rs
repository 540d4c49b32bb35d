//! `events:chat`: a saved chat is opened, typed in, read, closed; everybody who has it open sees who else has.

use super::payload::Id;
use super::{Answer, Fault, Sender, Work, enter};
use crate::directory::{Access, is_saved_chat};
use crate::house::House;
use crate::socket::{Args, Object, Sid, Target};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often a server that goes down looks whether presence is told.
const LOOK: Duration = Duration::from_millis(5);

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

/// The room of a saved chat.
pub fn room(chat_id: &str) -> String {
    format!("chat:{chat_id}")
}

/// `{chat_id, data: {type, data?}}`.
pub fn event(from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload {
        chat_id,
        data: Object(data),
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    if !is_saved_chat(&chat_id) {
        return match &*data.r#type {
            "last_read_at" => Work::refuse(Fault::Denied("not a saved chat")),
            _ => Work::Now(Ok(Args::one(&false))),
        };
    }
    match &*data.r#type {
        "join" => Work::later(async move { join(&from, &chat_id).await }),
        "leave" => Work::Now(Ok(leave(&from, &chat_id))),
        "typing" => match data
            .data
            .as_ref()
            .and_then(|data| data.get("typing")?.as_bool())
        {
            Some(typing) => Work::later(async move { type_in(&from, &chat_id, typing).await }),
            None => Work::Now(Ok(Args::one(&false))),
        },
        "last_read_at" => Work::later(async move { read(&from, &chat_id).await }),
        _ => Work::refuse(Fault::Payload),
    }
}

/// Opens the chat for a reader. Answers whether it is open.
async fn join(from: &Sender, chat_id: &str) -> Answer {
    let Sender { house, sid, who } = from;
    if house.directory.chat_access(who, chat_id).await? < Access::Read {
        return Ok(Args::one(&false));
    }
    let room = room(chat_id);
    enter(house, *sid, &room).await?;
    // Reaped, gone or put out while we waited: nobody may be in the room who is not in the pool.
    if !house.hub.is_in(*sid, &room) || !house.sessions.open_chat(*sid, chat_id) {
        house.backplane.leave(*sid, &room);
        return Ok(Args::one(&false));
    }
    publish_presence(house, chat_id);
    Ok(Args::one(&true))
}

/// Closes the chat. Answers whether the session is in the pool.
fn leave(from: &Sender, chat_id: &str) -> Args<'static> {
    from.house.backplane.leave(from.sid, &room(chat_id));
    Args::one(&true)
}

/// A socket has left a room, by its own word, a backend's or another instance's: with its room a chat is closed.
pub fn left(house: &Rc<House>, sid: Sid, room: &str) {
    if let Some(chat_id) = room.strip_prefix("chat:")
        && house.sessions.close_chat(sid, chat_id)
    {
        publish_presence(house, chat_id);
    }
}

/// Tells the others in the chat that somebody types who may write there. Answers whether it did.
async fn type_in(from: &Sender, chat_id: &str, typing: bool) -> Answer {
    let Sender { house, sid, who } = from;
    let room = room(chat_id);
    let in_room = || house.hub.is_in(*sid, &room);
    if !in_room() || house.directory.chat_access(who, chat_id).await? < Access::Write || !in_room()
    {
        return Ok(Args::one(&false));
    }
    let user = &who.user;
    let event = json!({
        "chat_id": chat_id,
        "user_id": user.id,
        "user": { "id": user.id, "name": user.name },
        "shared": true,
        "data": { "type": "typing", "data": { "typing": typing } },
    });
    let except = [sid.as_str()];
    let others = Target::room(&room).but(&except);
    house.backplane.emit(&others, "events", &Args::one(&event));
    Ok(Args::one(&true))
}

/// The user has read the chat up to now: stored, and all sessions of the user learn it.
async fn read(from: &Sender, chat_id: &str) -> Answer {
    let Sender { house, who, .. } = from;
    let Some(at) = house.directory.mark_chat_read(who, chat_id).await? else {
        return Ok(Args::none());
    };
    let data = json!({ "chat_id": chat_id, "last_read_at": at });
    let event = json!({ "chat_id": chat_id, "data": { "type": "chat:list", "data": data } });
    let room = format!("user:{}", who.user.id);
    let args = Args::one(&event);
    house.backplane.emit(&Target::room(&room), "events", &args);
    Ok(Args::none())
}

/// Somebody shared the chat with others, or it is gone: it closes for those of this instance who may no longer read it,
/// and all who had it open learn that their access may have changed.
pub async fn access_changed(house: &Rc<House>, chat_id: &str) {
    let room = room(chat_id);
    let event = json!({
        "chat_id": chat_id,
        "shared": true,
        "data": { "type": "chat:access", "data": {} },
    });
    let mut closed = false;
    for sid in house.hub.members(&room) {
        let Some(who) = house.sessions.who(sid) else {
            continue;
        };
        if house.directory.chat_access(&who, chat_id).await == Ok(Access::None) {
            closed |= house.sessions.close_chat(sid, chat_id);
            house.backplane.leave(sid, &room);
        }
        let args = Args::one(&event);
        house.hub.emit(&Target::sid(sid), "events", &args);
    }
    if closed {
        publish_presence(house, chat_id);
    }
}

/// Tells everybody who has the chat open who has it open.
///
/// Alone this happens before it returns. With other instances their sessions are asked for first, one question a chat at a
/// time over all instances, so that an old answer never follows a newer one.
pub fn publish_presence(house: &Rc<House>, chat_id: &str) {
    if house.backplane.is_alone() {
        return emit_presence(house, chat_id, &house.viewers_here(chat_id));
    }
    let mut asking = house.asking.borrow_mut();
    if let Some(again) = asking.get_mut(chat_id) {
        *again = true;
        return;
    }
    let chat_id: Rc<str> = chat_id.into();
    asking.insert(chat_id.clone(), false);
    drop(asking);
    let (executor, house) = (house.executor, house.clone());
    let publish = async move {
        loop {
            house.asking.borrow_mut().insert(chat_id.clone(), false);
            let present = async || {
                let viewers = house.viewers(&chat_id).await;
                emit_presence(&house, &chat_id, &viewers);
            };
            house.others.one_at_a_time(&chat_id, present).await;
            let mut asking = house.asking.borrow_mut();
            if asking.get(&chat_id) != Some(&true) {
                asking.remove(&chat_id);
                return;
            }
        }
    };
    executor.spawn(publish).detach();
}

/// Waits until all have been told who has which chat open. The caller limits the time.
pub async fn told(house: &House) {
    while !house.asking.borrow().is_empty() {
        smol::Timer::after(LOOK).await;
    }
}

fn emit_presence(house: &House, chat_id: &str, viewers: &BTreeMap<String, String>) {
    let person = |(id, name): (&String, &String)| json!({ "id": id, "name": name });
    let users: Vec<Value> = viewers.iter().map(person).collect();
    let event = json!({
        "chat_id": chat_id,
        "shared": true,
        "data": { "type": "chat:presence", "data": { "users": users } },
    });
    let room = room(chat_id);
    let args = Args::one(&event);
    house.backplane.emit(&Target::room(&room), "events", &args);
}
