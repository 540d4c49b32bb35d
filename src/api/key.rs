//! The bearer key (RFC 6750): without one set, the API is off; without the right one, it is closed. A few routes are for users,
//! too, who show their token in its place.

use super::reply::Problem;
use crate::app::House;
use crate::app::core::Fault;
use crate::app::identity::{self, Shown};
use crate::directory::{Identity, Refusal};
use crate::ground::clock::now;
use crate::{metrics, token};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use std::rc::Rc;

/// Does the request show the key?
pub fn check(house: &House, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(key) = &house.core.config.api_key else {
        let detail = "The API is off, since siskin has no key for it: set SISKIN_API_KEY and start it again.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    };
    match shown(headers) {
        Some(shown) if token::same(shown, key.expose()) => Ok(()),
        Some(_) => {
            metrics::refused("API key");
            Err(closed(
                "That is not the API's key.",
                r#"Bearer error="invalid_token""#,
            ))
        }
        None => Err(closed(
            "The API wants its key: send the header `Authorization: Bearer KEY`.",
            "Bearer",
        )),
    }
}

/// Who asks for what users may ask for, too.
pub enum Bearer {
    Key,
    User(Rc<Identity>),
}

/// Whose key or token the request shows.
pub async fn bearer(house: &House, headers: &HeaderMap) -> Result<Bearer, Problem> {
    let core = house.core;
    let Some(shown) = shown(headers) else {
        let detail = "This wants the API's key, or a user's token: send the header `Authorization: Bearer KEY`.";
        return Err(closed(detail, "Bearer"));
    };
    let key = core.config.api_key.as_ref();
    if key.is_some_and(|key| token::same(shown, key.expose())) {
        return Ok(Bearer::Key);
    }
    let who = match core.key.verify(shown, now()) {
        Ok(claims) => identity::identify(core, shown, &Shown::First(claims)).await,
        Err(_) => Err(Fault::Denied("not a valid token")),
    };
    match who {
        Ok(who) => Ok(Bearer::User(who)),
        Err(Fault::Unavailable(why)) => Err(Refusal::Unavailable(why).into()),
        Err(_) => Err(closed(
            "That is neither the API's key nor the token of a user.",
            r#"Bearer error="invalid_token""#,
        )),
    }
}

/// What follows `Bearer` in the header.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn closed(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}
