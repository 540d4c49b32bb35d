//! `POST /api/v1/emit`: an event to a user, a room or a session.

use super::ApiResult;
use super::input::{ApiRequest, Ids};
use super::reply::{Problem, Reply};
use crate::ground::names::Id;
use crate::ground::rooms;
use crate::socket::{Args, Prepared, Sid, Target, is_reserved};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Emit {
    event: Id,
    /// Kept as it came; absent and null are different.
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    user_id: Option<Id>,
    room: Option<Id>,
    session_id: Option<Id>,
    skip_sid: Option<Skip>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`skip_sid` must be an id or a list of at most 1000 ids"
)]
enum Skip {
    One(Id),
    Many(Ids),
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

pub async fn emit(request: ApiRequest) -> ApiResult {
    let house = request.house;
    let emit: Emit = request.json().await?;
    if is_reserved(&emit.event) {
        let detail = format!(
            "`{}` is an event that Socket.IO keeps for itself.",
            &*emit.event
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let room = match (&emit.user_id, &emit.room, &emit.session_id) {
        (Some(user), None, None) => rooms::of_user(user),
        (None, Some(room), None) => room.to_string(),
        (None, None, Some(sid)) => Sid::parse(sid)
            .ok_or_else(|| Problem::shape("`session_id` must be a sid."))?
            .to_string(),
        _ => {
            return Err(Problem::shape(
                "Say who gets it: one of `user_id`, `room` and `session_id`.",
            ));
        }
    };
    let skip: Vec<&str> = match &emit.skip_sid {
        None => Vec::new(),
        Some(Skip::One(sid)) => vec![sid],
        Some(Skip::Many(sids)) => sids.0.iter().map(|sid| &**sid).collect(),
    };
    let args = emit.data.map_or_else(Args::none, |data| {
        Args::from_json(String::from(Box::<str>::from(data)))
    });
    let numbers = house.core.hub.tells_numbers();
    let made = Prepared::new(&emit.event, args, numbers).await;
    let target = Target::room(&room).but(&skip);
    let peers = &house.core.peers;
    let delivered = peers.emit_prepared(&target, &emit.event, &made);
    Ok(Reply::json(&json!({"delivered": delivered})))
}
