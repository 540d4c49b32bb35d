//! CONNECT, `user-join`, `join-channels`, `heartbeat`.

use super::Work;
use super::payload::{Auth, WithAuth};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::identity;
use crate::app::sessions::CHANNELS;
use crate::directory::User;
use crate::ground::json::push_quoted;
use crate::socket::{Args, Object, Sid, Step};
use std::rc::Rc;

/// CONNECT: signs the socket in when its `auth` holds a good token.
pub fn connected(house: &'static House, sid: Sid, auth: &Args<'_>) -> Step {
    let Auth { token } = auth.object()?;
    Some(Box::pin(async move {
        if let Err(fault) = house.sessions.sign_in(sid, &token).await {
            log::debug!("{sid} stays anonymous: {fault:?}");
        }
    }))
}

/// `user-join`: as CONNECT, and all channels of the user. Answers `{id, name}`.
pub fn user_join(house: &'static House, sid: Sid, args: &Args<'_>) -> Work {
    let Some(WithAuth { auth: Object(auth) }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    let token = Rc::new(auth.token);
    Work::join(CHANNELS, move |_| {
        let token = token.clone();
        async move {
            let who = house.sessions.sign_in(sid, &token).await?;
            let from = Sender { sid, who };
            house.sessions.enter_channels(&from).await?;
            let User { id, name, .. } = &from.who.user;
            let mut joined = String::with_capacity(id.len() + name.len() + 20);
            joined.push_str("{\"id\":");
            push_quoted(&mut joined, id);
            joined.push_str(",\"name\":");
            push_quoted(&mut joined, name);
            joined.push('}');
            Ok(Args::from_json(joined))
        }
    })
}

/// `join-channels`: all channels of the session's user, who shows a valid token again.
pub fn join_channels(house: &'static House, from: Sender, args: &Args<'_>) -> Work {
    let Some(WithAuth { auth: Object(auth) }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    if let Err(fault) = identity::same_user(house.core, &from, &auth.token) {
        return Work::refuse(fault);
    }
    Work::join(CHANNELS, move |_| {
        let from = from.clone();
        async move {
            house.sessions.enter_channels(&from).await?;
            Ok(Args::none())
        }
    })
}

/// `heartbeat`: the session and its user are alive.
pub fn heartbeat(house: &'static House, from: Sender, _args: &Args<'_>) -> Work {
    house.sessions.seen(&from);
    Work::done()
}
