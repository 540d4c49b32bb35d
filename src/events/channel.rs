//! `events:channel`: typing and read receipts in a channel.

use super::Work;
use super::payload::Id;
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::socket::{Args, Object};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The largest `data` of a typing event, in bytes: everybody in the channel gets it.
const MAX_TYPING_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Payload<'a> {
    channel_id: Id,
    message_id: Option<Id>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

/// `{channel_id, message_id?, data: {type, data}}` of a member.
pub fn event(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(Payload {
        channel_id,
        message_id,
        data,
    }) = args.object()
    else {
        return Work::refuse(Fault::Payload);
    };
    let Ok(Object(Typed { r#type })) = serde_json::from_str(data.get()) else {
        return Work::refuse(Fault::Payload);
    };
    if let Err(fault) = house.channels.check_member(from.sid, &channel_id) {
        return Work::refuse(fault);
    }
    match &*r#type {
        "typing" if data.get().len() > MAX_TYPING_BYTES => Work::refuse(Fault::Payload),
        "typing" => {
            let message_id = message_id.as_deref();
            house.channels.type_in(&from, &channel_id, message_id, data);
            Work::done()
        }
        "last_read_at" => Work::later(async move {
            house.channels.mark_read(&from, &channel_id).await?;
            Ok(Args::none())
        }),
        _ => Work::refuse(Fault::Payload),
    }
}
