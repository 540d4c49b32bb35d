//! A session from CONNECT to its end: signing in, `user-join`, `join-channels`, `heartbeat`, the 30 s re-check.
//!
//! Whoever shows no valid token stays connected and anonymous: in no pool, in no room, every event ignored.

use super::payload::{Auth, WithAuth};
use super::{Answer, Fault, Sender, Work, chat, enter, tell};
use crate::directory::{Identity, Refusal};
use crate::house::House;
use crate::metrics;
use crate::socket::{Args, Object, Sid, Step, Target};
use crate::state::now;
use crate::state::others::Reaped;
use crate::token;
use serde_json::json;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Between two checks of every session (contract, Identity).
const RECHECK: Duration = Duration::from_secs(30);
/// Between two attempts to sign in those who came while the directory could not tell.
const RETRY: Duration = Duration::from_secs(5);
/// Identities that are checked at the same time.
const CHECKS_AT_ONCE: usize = 16;
/// Identities whose revocation is looked up in one pipeline.
const LOOKUPS_AT_ONCE: usize = 200;
/// Sockets that may wait for the directory.
const MOST_WAITING: usize = 10_000;

/// CONNECT: signs the socket in when its `auth` holds a good token.
pub fn connected(house: &Rc<House>, sid: Sid, auth: &Args<'_>) -> Step {
    let Auth { token } = auth.object()?;
    let house = house.clone();
    Some(Box::pin(async move {
        if let Err(fault) = sign_in(&house, sid, &token).await {
            log::debug!("{sid} stays anonymous: {fault:?}");
        }
    }))
}

/// `user-join`: as CONNECT, and all channels of the user. Answers `{id, name}`.
pub fn user_join(house: &Rc<House>, sid: Sid, args: &Args<'_>) -> Work {
    let Some(WithAuth { auth: Object(auth) }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    let house = house.clone();
    Work::later(async move {
        let who = sign_in(&house, sid, &auth.token).await?;
        let user = json!({ "id": who.user.id, "name": who.user.name });
        let from = Sender { house, sid, who };
        enter_channels(&from).await?;
        Ok(Args::one(&user))
    })
}

/// `join-channels`: all channels of the session's user, who shows a valid token again.
pub fn join_channels(from: Sender, args: &Args<'_>) -> Work {
    let Some(WithAuth { auth: Object(auth) }) = args.object() else {
        return Work::refuse(Fault::Payload);
    };
    if let Err(fault) = same_user(&from, &auth.token) {
        return Work::refuse(fault);
    }
    Work::later(async move { enter_channels(&from).await })
}

/// `heartbeat`: the session and its user are alive.
pub fn heartbeat(from: Sender, _args: &Args<'_>) -> Work {
    from.house.sessions.seen(from.sid, now());
    from.house.directory.seen(&from.who);
    Work::done()
}

/// The socket is gone: it leaves the pools, and those who had a chat open with it see that.
pub fn gone(house: &Rc<House>, sid: Sid) {
    house.waiting.borrow_mut().remove(&sid);
    house.usage.forget(sid);
    for chat_id in house.sessions.remove(sid).into_iter().flatten() {
        chat::publish_presence(house, &chat_id);
    }
}

/// Disconnects every session of a user, on any instance; `refresh` tells them first that their access changed.
pub async fn disconnect_user(house: &House, user_id: &str, refresh: bool) -> usize {
    let sids = house.sessions_of(&[user_id]).await;
    for sid in &sids {
        if refresh {
            let args = Args::one(&json!({}));
            let target = Target::room(sid);
            house.backplane.emit(&target, "access:updated", &args);
        }
        house.backplane.disconnect(sid);
    }
    sids.len()
}

/// The token's time is over, or has not come.
pub fn expired(who: &Identity, now: i64) -> bool {
    who.claims.exp.is_some_and(|exp| exp <= now) || who.claims.nbf.is_some_and(|nbf| nbf > now)
}

/// A token in a payload must be valid and the session user's own. It decides nothing else.
pub fn same_user(from: &Sender, token: &str) -> Result<(), Fault> {
    let secret = from.house.config.secret_key.expose();
    match token::verify(token, secret, now()) {
        Ok(claims) if claims.id == from.who.user.id => Ok(()),
        Ok(_) => Err(Fault::Denied("another user's token")),
        Err(_) => Err(Fault::Denied("not a valid token")),
    }
}

/// From a token to a session: verified, known, not revoked. A socket never changes its user.
async fn sign_in(house: &Rc<House>, sid: Sid, token: &str) -> Result<Rc<Identity>, Fault> {
    let who = match identify(house, token).await {
        Err(Fault::Unavailable(why)) => {
            retry_later(house, sid, token);
            return Err(Fault::Unavailable(why));
        }
        answer => answer?,
    };
    if !house.hub.is_connected(sid) {
        return Err(Fault::Gone);
    }
    if let Some(known) = house.sessions.who(sid)
        && known.user.id != who.user.id
    {
        return Err(Fault::Denied("another user's token"));
    }
    let room = format!("user:{}", who.user.id);
    let who = house.sessions.sign_in(sid, who, now());
    keep_checking(house);
    match house.backplane.enter(sid, &room).await {
        true => Ok(who),
        false => Err(Fault::Gone),
    }
}

async fn identify(house: &House, token: &str) -> Result<Identity, Fault> {
    let secret = house.config.secret_key.expose();
    let claims = token::verify(token, secret, now()).map_err(|error| {
        metrics::refused("token");
        log::debug!("a token is refused: {error}");
        Fault::Denied("not a valid token")
    })?;
    let who = house.directory.identify(token, &claims).await?;
    match house.revoked(&who).await {
        true => Err(Fault::Denied("the token was revoked")),
        false => Ok(who),
    }
}

/// The directory can't tell now: says so, and tries again until the socket leaves.
fn retry_later(house: &Rc<House>, sid: Sid, token: &str) {
    if !house.hub.is_connected(sid) || house.waiting.borrow().len() >= MOST_WAITING {
        return;
    }
    let first = house.waiting.borrow_mut().insert(sid, token.into());
    if first.is_none() {
        tell(
            house,
            sid,
            "Signing in is not possible at the moment; it is tried again",
        );
    }
    if house.retrying.replace(true) {
        return;
    }
    let weak = Rc::downgrade(house);
    let retry = async move {
        loop {
            smol::Timer::after(RETRY).await;
            let Some(house) = weak.upgrade() else { return };
            retry_all(&house).await;
            if house.waiting.borrow().is_empty() {
                house.retrying.set(false);
                return;
            }
        }
    };
    house.executor.spawn(retry).detach();
}

/// Tries those who wait, until one shows that the directory still can't tell.
async fn retry_all(house: &Rc<House>) {
    let waiting: Vec<_> = house.waiting.borrow().clone().into_iter().collect();
    for (sid, token) in waiting {
        if !house.waiting.borrow().contains_key(&sid) {
            continue;
        }
        match sign_in(house, sid, &token).await {
            Err(Fault::Unavailable(_)) => return,
            Err(fault) => log::debug!("{sid} stays anonymous: {fault:?}"),
            Ok(who) => {
                let house = house.clone();
                let _ = enter_channels(&Sender { house, sid, who }).await;
            }
        }
        house.waiting.borrow_mut().remove(&sid);
    }
}

/// Enters the rooms of all channels of the session's user.
async fn enter_channels(from: &Sender) -> Answer {
    let Sender { house, sid, who } = from;
    for id in house.directory.channels(who).await? {
        if house.sessions.who(*sid).is_none() {
            return Err(Fault::Gone);
        }
        match enter(house, *sid, &format!("channel:{id}")).await {
            // The session itself is fine: it hears of as many channels as it may.
            Err(Fault::Full(limit)) => {
                metrics::refused(limit);
                log::warn!("{sid} can't enter all channels of {}: {limit}", who.user.id);
                break;
            }
            entered => entered?,
        }
    }
    Ok(Args::none())
}

/// Enters the channels that the session's user has come to since.
pub async fn enter_new_channels(house: Rc<House>, sid: Sid) {
    if let Some(who) = house.sessions.who(sid) {
        let from = Sender { house, sid, who };
        if let Err(fault) = enter_channels(&from).await {
            log::debug!("{sid} does not enter a new channel: {fault:?}");
        }
    }
}

/// Checks every session each 30 s until there is none.
fn keep_checking(house: &Rc<House>) {
    if house.checking.replace(true) {
        return;
    }
    let weak = Rc::downgrade(house);
    let check = async move {
        loop {
            smol::Timer::after(RECHECK).await;
            let Some(house) = weak.upgrade() else { return };
            reap(&house, now());
            check_all(&house).await;
            if house.sessions.is_empty() {
                house.checking.set(false);
                return;
            }
        }
    };
    house.executor.spawn(check).detach();
}

/// Sessions that were not heard of for four heartbeats leave the pool.
fn reap(house: &Rc<House>, now: i64) {
    let since = now - house.config.session_timeout().as_secs().cast_signed();
    let mut left = BTreeSet::new();
    for (sid, chats) in house.sessions.reap(since) {
        log::info!("{sid} sent no heartbeat and leaves the session pool");
        for chat_id in chats {
            house.backplane.leave(sid, &chat::room(&chat_id));
            left.insert(chat_id);
        }
    }
    // Once a chat, however many leave it: a proxy that is cut off takes all of them.
    for chat_id in left {
        chat::publish_presence(house, &chat_id);
    }
}

/// Sessions of other instances, which this one took out of the pool for all: what they left behind goes too. One whose
/// instance lives leaves the rooms of its chats.
pub async fn keep_reaped(house: Rc<House>) {
    while let Some(Reaped { sessions }) = house.others.reaped().await {
        for (sid, chats) in &sessions {
            for chat_id in chats {
                let room = chat::room(chat_id);
                house.backplane.leave_anywhere(sid, &room);
            }
        }
        let chats: BTreeSet<&String> = sessions.iter().flat_map(|(_, chats)| chats).collect();
        for chat_id in chats {
            chat::publish_presence(&house, chat_id);
        }
        for (sid, _) in &sessions {
            house.documents.evict(sid).await;
        }
    }
}

/// Checks each identity once, however many sessions carry it, a few at a time.
async fn check_all(house: &Rc<House>) {
    let all = house.sessions.by_identity();
    for many in all.chunks(LOOKUPS_AT_ONCE) {
        let who: Vec<_> = many.iter().map(|(who, _)| who.clone()).collect();
        let revoked = house.others.revoked(&who).await;
        let many: Vec<_> = many.iter().zip(revoked).collect();
        for some in many.chunks(CHECKS_AT_ONCE) {
            let check = |((who, sids), revoked): &(&(Rc<Identity>, Vec<Sid>), bool)| {
                let (house, who, sids, revoked) =
                    (house.clone(), who.clone(), sids.clone(), *revoked);
                let executor = house.executor;
                executor.spawn(async move { check_one(&house, &who, &sids, revoked).await })
            };
            let checks: Vec<_> = some.iter().map(check).collect();
            for check in checks {
                check.await;
            }
        }
    }
}

async fn check_one(house: &House, who: &Rc<Identity>, sids: &[Sid], revoked: bool) {
    let why = match verdict(house, who, revoked).await {
        Ok(()) => return,
        Err(Refusal::Unavailable(why)) => {
            log::debug!("{} keeps its sessions unchecked: {why}", who.user.id);
            return;
        }
        Err(Refusal::Denied(why)) => why,
    };
    for sid in sids {
        // It may have signed in with a fresh token meanwhile.
        let same = |now: Rc<Identity>| Rc::ptr_eq(&now, who);
        if house.sessions.who(*sid).is_some_and(same) {
            log::info!("{sid} is disconnected: {why}");
            house.hub.disconnect(*sid, true);
        }
    }
}

async fn verdict(house: &House, who: &Identity, revoked: bool) -> Result<(), Refusal> {
    if expired(who, now()) {
        return Err(Refusal::Denied("the token has expired"));
    }
    if revoked {
        return Err(Refusal::Denied("the token was revoked"));
    }
    house.directory.recheck(who).await
}
