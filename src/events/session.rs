//! CONNECT, `user-join`, `join-channels`, `heartbeat`.

use super::Work;
use super::payload::{Auth, WithAuth};
use crate::app::House;
use crate::app::core::{Fault, Sender};
use crate::app::identity;
use crate::app::sessions::CHANNELS;
use crate::directory::User;
use crate::socket::{Args, Object, Sid, Step};
use serde::Serialize;
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

#[derive(Serialize)]
struct Joined<'a> {
    id: &'a str,
    name: &'a str,
}

/// `user-join`: as CONNECT, and all channels of the user. Answers `{id, name}`.
pub fn user_join(house: &'static House, sid: Sid, args: &Args<'_>) -> Work {
    let Some(WithAuth { auth: Object(auth) }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    let token: Rc<str> = auth.token.into();
    Work::join(CHANNELS.into(), move |_| {
        let token = token.clone();
        async move {
            let who = house.sessions.sign_in(sid, &token).await?;
            let from = Sender { sid, who };
            house.sessions.enter_channels(&from).await?;
            let User { id, name, .. } = &from.who.user;
            Ok(Args::one(&Joined { id, name }))
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
    Work::join(CHANNELS.into(), move |_| {
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
