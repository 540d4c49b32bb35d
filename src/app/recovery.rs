//! Who may take up a session that lost its connection: its user, with the same rights.

use super::core::Core;
use super::identity::{self, Shown};
use crate::config::Recovery;
use crate::directory::Identity;
use crate::ground::clock::{has_come, instant_of, now, since_epoch};
use crate::ground::handover;
use crate::ground::json;
use crate::ground::written::{Reader, Writer};
use crate::socket::{Memo, Sid};
use crate::token::{SIGNATURE, is_same};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How what is left to the next process begins: with the version of all that follows. It is signed, so that whoever can write
/// the file can't make a session of somebody else, and since what is torn must not be believed.
const HEAD: &[u8] = b"siskin recovery 1\n";
/// The same with what it hears other instances by before it.
const LINKED: &[u8] = b"siskin recovery 2\n";

/// Bytes of it beside those that may be kept.
const BESIDE: usize = 2 << 20;

/// Why nobody comes back who was with another process.
const DEAF: &str = "what is emitted elsewhere meanwhile may be lost";

/// What is kept of a session's user.
struct User {
    id: String,
    role: String,
    /// When the token that it signed in with expires.
    expires: Option<Instant>,
    /// Who it was, unless that was in another process.
    known: Option<Rc<Identity>>,
}

/// The same for another process; no token is written down.
#[derive(Deserialize, Serialize)]
struct Written {
    id: String,
    role: String,
    /// Epoch seconds.
    exp: Option<i64>,
}

/// Who comes back, and when their token expires.
pub struct Returned {
    pub who: Rc<Identity>,
    pub expires: Option<Instant>,
}

/// Those of these users who are away do not come back, here: what they may do has changed.
pub fn give_up(core: &Core, user_ids: &[&str]) {
    core.hub.give_up_those(|memo| {
        let user = memo.downcast_ref::<User>();
        user.is_some_and(|user| user_ids.contains(&&*user.id))
    });
}

/// What is kept of a socket; nothing of one that is anonymous.
pub fn remember(core: &Core, sid: Sid) -> Option<Memo> {
    let pool = &core.pools.sessions;
    let (who, _) = pool.current(sid).filter(|(_, expired)| !expired)?;
    Some(Rc::new(User {
        id: who.user.id.clone(),
        role: who.user.role.clone(),
        expires: pool.expiry(sid),
        known: Some(who),
    }))
}

/// Who takes a session up with this token, if they may: a [`Returned`].
pub async fn comes_back(core: &Core, memo: Memo, token: &str) -> Option<Memo> {
    core.peers.caught_up().await;
    let user: &User = memo.downcast_ref()?;
    let known = user.known.as_ref();
    let (claims, expires) = match known.filter(|known| is_same(&known.token, token)) {
        // It was good: how the time of day was set meanwhile is nothing to it.
        Some(known) => (known.claims.clone(), user.expires),
        None => {
            let claims = core.key.verify(token, now()).ok()?;
            let expires = claims.exp.and_then(instant_of);
            (claims, expires)
        }
    };
    if claims.id != user.id {
        return None;
    }
    let shown = Shown::First(claims);
    let who = identity::identify(core, token, &shown).await.ok()?;
    let same = who.user.id == user.id && who.user.role == user.role;
    (same && !has_come(user.expires)).then(|| Rc::new(Returned { who, expires }) as Memo)
}

/// What is kept of a socket, for another process.
pub fn write(memo: &Memo) -> Vec<u8> {
    let written = memo.downcast_ref::<User>().map(|user| {
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
        Written {
            id: user.id.clone(),
            role: user.role.clone(),
            exp: user
                .expires
                .map(|at| now().saturating_add_unsigned(left(at))),
        }
    });
    serde_json::to_vec(&written).unwrap_or_default()
}

/// The same of another process.
pub fn read(bytes: &[u8]) -> Option<Memo> {
    let Written { id, role, exp } = json::read(bytes).ok()?;
    Some(Rc::new(User {
        id,
        role,
        expires: exp.and_then(instant_of),
        known: None,
    }))
}

/// The server is about to go down: sessions that end with it may come back, to other instances as long as it waits for that, and
/// to the next process.
pub fn go_on(core: &Core) {
    if core.config.runtime_dir.is_some() || !core.peers.is_alone() {
        core.hub.goes_on();
    }
}

/// The end: leaves what is kept to the next process, for which somebody `keeps` a socket, or nobody does. The socket, if there
/// is one to be kept.
pub async fn leave(core: &Core, keeps: bool) -> Option<OwnedFd> {
    let folder = core.config.runtime_dir.as_ref()?;
    if core.hub.is_nobody_away() || !core.peers.can_be_left(keeps) {
        return None;
    }
    let Some((link, socket)) = core.peers.hand_over().await else {
        log::warn!("sessions are not left to the next siskin: {DEAF}");
        return None;
    };
    let mut body = Writer::default();
    body.number(since_epoch().as_millis() as u64);
    if socket.is_some() {
        body.bytes(&link);
    }
    body.0.extend_from_slice(&core.hub.hand_over()?);
    let signature = core.key.sign(&body.0)?;
    let head = if socket.is_some() { LINKED } else { HEAD };
    match handover::leave(folder, &[head, &signature, &body.0].concat()) {
        Ok(()) => log::info!("sessions are left to the next siskin"),
        Err(error) => log::warn!(
            "sessions can't be left to the next siskin in {}: {error}",
            folder.display()
        ),
    }
    socket
}

/// The start: takes what the last process left, if it left something. `sockets`: what somebody kept of it.
pub fn take(core: &Core, sockets: Vec<OwnedFd>) {
    let folder = core.config.runtime_dir.as_ref();
    let Some(folder) = folder.filter(|_| core.config.recovery != Recovery::Off) else {
        return;
    };
    let taken = handover::take(folder, core.config.recovery_bytes.saturating_add(BESIDE));
    let taken = taken.map_err(|error| error.to_string());
    let sessions = taken.and_then(|taken| match taken {
        Some(bytes) => Ok(Some(take_over(core, &bytes, sockets)?)),
        None => Ok(None),
    });
    match sessions {
        Ok(None) => {}
        Ok(Some(sessions)) => log::info!("{sessions} sessions of before can be taken up again"),
        Err(why) => log::warn!("what an earlier siskin left of its sessions is ignored: {why}"),
    }
}

fn take_over(core: &Core, bytes: &[u8], sockets: Vec<OwnedFd>) -> Result<usize, &'static str> {
    let linked = bytes.strip_prefix(LINKED);
    let rest = linked.or_else(|| bytes.strip_prefix(HEAD));
    let (_, body) = rest
        .ok_or("it is of another version")?
        .split_at_checked(SIGNATURE)
        .filter(|(signature, body)| core.key.signed(body, signature))
        .ok_or("it is damaged, or signed with another secret")?;
    let mut from = Reader::new(body, Instant::now());
    let told = Duration::from_millis(from.number().ok_or("it is damaged")?);
    // By the time of day, which may have been set.
    let ago = since_epoch().checked_sub(told);
    let ago = ago
        .filter(|ago| *ago < core.config.recovery_time)
        .ok_or("it is too old")?;
    let link = linked.and_then(|_| from.bytes()).unwrap_or_default();
    let mut link = Reader::new(link, Instant::now());
    core.peers.take_over(&mut link, sockets).ok_or(DEAF)?;
    core.hub.take_over(from.rest, ago).ok_or("it is damaged")
}
