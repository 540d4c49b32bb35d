//! Who may take up a session that lost its connection: its user, with the same rights.

use super::core::Core;
use super::identity;
use crate::ground::clock::now;
use crate::socket::{Memo, Sid};
use std::rc::Rc;

/// What is kept of a session's user.
struct User {
    id: String,
    role: String,
    /// When the token that it signed in with expires (epoch seconds).
    exp: Option<i64>,
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
    let who = pool.who(sid).filter(|_| !pool.is_expired(sid))?;
    let user = User {
        id: who.user.id.clone(),
        role: who.user.role.clone(),
        exp: who.claims.exp,
    };
    Some(Rc::new(user))
}

/// Who takes a session up with this token, if they may: an `Rc<Identity>`.
pub async fn comes_back(core: &Core, memo: Memo, token: &str) -> Option<Memo> {
    let user: &User = memo.downcast_ref()?;
    let shown = identity::verify(core, token, None).ok()?;
    if shown.user_id() != user.id {
        return None;
    }
    let who = identity::identify(core, token, &shown).await.ok()?;
    let expired = user.exp.is_some_and(|exp| exp <= now());
    let same = who.user.id == user.id && who.user.role == user.role;
    (same && !expired).then_some(who as Memo)
}
