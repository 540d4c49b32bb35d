//! The bearer key (RFC 6750): without one set, the API is off; without the right one, it is closed.

use super::reply::Problem;
use crate::app::House;
use crate::{metrics, token};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

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
