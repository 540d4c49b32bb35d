//! `events:channel`: typing and read receipts in a channel; who is told of a new one enters it.

use super::payload::Id;
use super::{Fault, Sender, Work, session};
use crate::house::House;
use crate::socket::{Args, Object, Target, To};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::rc::Rc;

/// The largest `data` of a typing event, in bytes: everybody in the channel gets it.
const MAX_TYPING_BYTES: usize = 4096;

/// Whoever is told of a new channel (`events:channel` of type `channel:created` to `user:{id}`, by any instance)
/// enters its room, if the directory agrees. The reference's other processes leave that to a reload.
pub fn follow(house: &Rc<House>) {
    let weak = Rc::downgrade(house);
    house.backplane.set_witness(move |target, event, args| {
        let To::Room(room) = target.to else { return };
        if event != "events:channel" || !room.starts_with("user:") || !is_created(args) {
            return;
        }
        if let Some(house) = weak.upgrade() {
            for sid in house.hub.members(room) {
                let enter = session::enter_new_channels(house.clone(), sid);
                house.executor.spawn(enter).detach();
            }
        }
    });
}

fn is_created(args: &Args<'_>) -> bool {
    #[derive(Deserialize)]
    struct Created {
        data: Object<Kind>,
    }
    let created: Option<Created> = args.object();
    created.is_some_and(|created| created.data.0.r#type == "channel:created")
}

#[derive(Deserialize)]
struct Payload<'a> {
    channel_id: Id,
    message_id: Option<Id>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

#[derive(Serialize)]
struct Typing<'a> {
    channel_id: &'a Id,
    message_id: Option<&'a Id>,
    data: &'a RawValue,
    user: Typist<'a>,
}

#[derive(Serialize)]
struct Typist<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
}

/// `{channel_id, message_id?, data: {type, data}}` of a member.
pub fn event(from: Sender, args: &Args<'_>) -> Work {
    let Some(payload) = args.object::<Payload<'_>>() else {
        return Work::refuse(Fault::Payload);
    };
    let Ok(Object(Kind { r#type })) = serde_json::from_str(payload.data.get()) else {
        return Work::refuse(Fault::Payload);
    };
    let room = format!("channel:{}", payload.channel_id);
    if !from.house.hub.is_in(from.sid, &room) {
        return Work::refuse(Fault::Denied("not in this channel"));
    }
    match &*r#type {
        "typing" if payload.data.get().len() > MAX_TYPING_BYTES => Work::refuse(Fault::Payload),
        "typing" => {
            typing(&from, &room, &payload);
            Work::done()
        }
        "last_read_at" => read(from, payload.channel_id),
        _ => Work::refuse(Fault::Payload),
    }
}

/// Everybody in the channel sees who types, the sender included.
fn typing(from: &Sender, room: &str, payload: &Payload<'_>) {
    let user = &from.who.user;
    let typing = Typing {
        channel_id: &payload.channel_id,
        message_id: payload.message_id.as_ref(),
        data: payload.data,
        user: Typist {
            id: &user.id,
            name: &user.name,
            role: &user.role,
        },
    };
    let args = Args::one(&typing);
    from.house
        .backplane
        .emit(&Target::room(room), "events:channel", &args);
}

/// The member has read the channel up to now.
fn read(from: Sender, channel_id: Id) -> Work {
    Work::later(async move {
        let directory = &from.house.directory;
        directory.mark_channel_read(&from.who, &channel_id).await?;
        Ok(Args::none())
    })
}
