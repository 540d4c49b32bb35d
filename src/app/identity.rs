//! From a token to an identity, and whether it still is one.

use super::core::{Core, Fault, Sender};
use crate::directory::{Identity, Refusal};
use crate::ground::clock::now;
use crate::metrics;
use crate::token::TokenError;
use std::rc::Rc;

/// What a token that is too long is too long for.
pub const TOKEN_BYTES: &str = "bytes of a token";

/// Whom the token is of: verified, known to the directory, not revoked. `known`: who showed it before, maybe.
///
/// # Errors
/// It is no good, or nobody can tell now.
pub async fn identify(
    core: &Core,
    token: &str,
    known: Option<Rc<Identity>>,
) -> Result<Rc<Identity>, Fault> {
    let who = match known.filter(|known| *known.token == *token) {
        Some(known) => {
            // What signed it is known; until when it holds, too.
            known.claims.check(now()).map_err(refused)?;
            core.directory.identify_again(&known).await?
        }
        None => {
            let claims = core.key.verify(token, now()).map_err(refused)?;
            Rc::new(core.directory.identify(token, &claims).await?)
        }
    };
    match core.peers.revoked(&[&*who]).await.contains(&true) {
        true => Err(Fault::Denied("the token was revoked")),
        false => Ok(who),
    }
}

fn refused(error: TokenError) -> Fault {
    metrics::refused("token");
    log::debug!("a token is refused: {error}");
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
    if *who.token == *token && who.claims.check(now()).is_ok() {
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
