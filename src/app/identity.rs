//! From a token to an identity, and whether it still is one.

use super::core::{Core, Fault, Sender};
use crate::directory::{Identity, Refusal};
use crate::ground::clock::now;
use crate::ground::net::tell;
use crate::ground::rooms;
use crate::metrics;
use crate::socket::Sid;
use crate::token::{Claims, TokenError, is_same};
use std::rc::Rc;
use std::time::Instant;

/// How often a user is asked for whose rights change meanwhile.
const ATTEMPTS: usize = 3;

/// What a token that is too long is too long for.
pub const TOKEN_BYTES: &str = "bytes of a token";

/// A good token, as a session shows it again or for the first time.
pub enum Shown {
    Again(Rc<Identity>),
    First(Claims),
}

impl Shown {
    pub fn user_id(&self) -> &str {
        match self {
            Self::Again(known) => &known.user.id,
            Self::First(claims) => &claims.id,
        }
    }
}

/// A token that a socket shows, signed and not over.
///
/// # Errors
/// It is no good.
pub fn verify(core: &Core, token: &str, sid: Sid) -> Result<Shown, TokenError> {
    let current = core.pools.sessions.current(sid);
    match current.filter(|(known, _)| is_same(&known.token, token)) {
        // What signed it is known; until when it holds, too, however the time of day was set meanwhile.
        Some((_, true)) => Err(TokenError::Expired),
        Some((known, false)) => Ok(Shown::Again(known)),
        None => {
            let claims = core.key.verify(token, now())?;
            Ok(Shown::First(claims))
        }
    }
}

/// Whom the token is of: known to the directory, not revoked. What the directory answered before is believed while somebody
/// of the user is here, who would have been disconnected had anything changed.
///
/// # Errors
/// It is no good, or nobody can tell now.
pub async fn identify(core: &Core, token: &str, shown: &Shown) -> Result<Rc<Identity>, Fault> {
    if let Shown::First(claims) = shown
        && !core.hub.is_occupied(&rooms::of_user(&claims.id))
    {
        core.directory.forget_tokens(&claims.id);
    }
    for _ in 0..ATTEMPTS {
        let asked = Instant::now();
        let answer = accepted(core, token, shown).await;
        // A change that came while the answer was on its way is newer.
        if !core.directory.changed_since(shown.user_id(), asked) {
            return answer;
        }
    }
    Err(Fault::Unavailable("the user's rights change all the time"))
}

async fn accepted(core: &Core, token: &str, shown: &Shown) -> Result<Rc<Identity>, Fault> {
    let who = match shown {
        Shown::Again(known) => core.directory.identify_again(known).await?,
        Shown::First(claims) => Rc::new(core.directory.identify(token, claims).await?),
    };
    match core.peers.is_revoked(&who).await {
        true => Err(Fault::Denied("the token was revoked")),
        false => Ok(who),
    }
}

/// A socket's token is no good.
pub fn refused(core: &Core, sid: Sid, error: TokenError) -> Fault {
    metrics::refused("token");
    if let Some(peer) = core.hub.peer(sid) {
        tell(peer.address, "a refused token", format_args!("{error}"));
    }
    match error {
        TokenError::TooLong => Fault::Full(TOKEN_BYTES),
        _ => Fault::Denied("not a valid token"),
    }
}

/// A token in a payload must be valid and the session user's own. It decides nothing else.
///
/// # Errors
/// It is not.
pub fn same_user(core: &Core, from: &Sender, token: &str) -> Result<(), Fault> {
    let who = &from.who;
    // A sender's own token has not expired.
    if is_same(&who.token, token) {
        return Ok(());
    }
    match core.key.verify(token, now()) {
        Ok(claims) if claims.id == who.user.id => Ok(()),
        Ok(_) => Err(Fault::Denied("another user's token")),
        Err(_) => Err(Fault::Denied("not a valid token")),
    }
}

/// Is the identity of a session still good? `revoked`: what is known of its token. When the token expires, its session knows.
///
/// # Errors
/// Denied when it is not; unavailable when nobody can tell now.
pub async fn still_valid(core: &Core, who: &Identity, revoked: bool) -> Result<(), Refusal> {
    if revoked {
        return Err(Refusal::Denied("the token was revoked"));
    }
    core.directory.recheck(who).await
}
