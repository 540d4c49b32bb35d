//! Who may take up a session that lost its connection: its user, with the same rights.

use super::core::Core;
use super::identity::{self, Shown};
use crate::directory::Identity;
use crate::ground::clock::{instant_of, now};
use crate::socket::{Memo, Sid};
use crate::token::is_same;
use std::rc::Rc;
use std::time::Instant;

/// Who has a session, and when the token that it signed in with expires: what is kept, and who comes back.
pub struct Returned {
    pub who: Rc<Identity>,
    pub expires: Option<Instant>,
}

/// Those of these users who are away do not come back, here: what they may do has changed.
pub fn give_up(core: &Core, user_ids: &[&str]) {
    core.hub.give_up_those(|memo| {
        let kept = memo.downcast_ref::<Returned>();
        kept.is_some_and(|kept| user_ids.contains(&&*kept.who.user.id))
    });
}

/// What is kept of a socket; nothing of one that is anonymous.
pub fn remember(core: &Core, sid: Sid) -> Option<Memo> {
    let pool = &core.pools.sessions;
    let who = pool.who(sid).filter(|_| !pool.is_expired(sid))?;
    let expires = pool.expiry(sid);
    Some(Rc::new(Returned { who, expires }))
}

/// Who takes a session up with this token, if they may: a [`Returned`].
pub async fn comes_back(core: &Core, memo: Memo, token: &str) -> Option<Memo> {
    let Returned { who: kept, expires } = memo.downcast_ref()?;
    let (claims, until) = match is_same(&kept.token, token) {
        // It was good: how the time of day was set meanwhile is nothing to it.
        true => (kept.claims.clone(), *expires),
        false => {
            let claims = core.key.verify(token, now()).ok()?;
            let until = claims.exp.and_then(instant_of);
            (claims, until)
        }
    };
    if claims.id != kept.user.id {
        return None;
    }
    let shown = Shown::First(claims);
    let who = identity::identify(core, token, &shown).await.ok()?;
    let expired = expires.is_some_and(|expires| expires <= Instant::now());
    let same = who.user.id == kept.user.id && who.user.role == kept.user.role;
    let expires = until;
    (same && !expired).then(|| Rc::new(Returned { who, expires }) as Memo)
}
