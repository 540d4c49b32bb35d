//! Which origins may connect from a browser, and the headers that tell it (Fetch standard, "CORS protocol").

use super::Answer;
use crate::config::{self, Cors};
use crate::ground::net::Said;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Response, StatusCode};

/// What a request's origin is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No browser, or a page of our own.
    None,
    Allowed(HeaderValue),
    Refused,
}

impl Origin {
    /// Judges a request by its headers.
    pub fn of(headers: &HeaderMap, cors: &Cors) -> Self {
        let Some(origin) = headers.get(ORIGIN) else {
            return Self::None;
        };
        let page = || config::Origin::parse(origin.to_str().ok()?);
        let allowed = match cors {
            Cors::Any => true,
            Cors::Only(list) => {
                page().is_some_and(|page| list.contains(&page) || is_own(&page, headers))
            }
        };
        if allowed {
            // A copy: the head is not kept while the answer is waited for.
            HeaderValue::from_bytes(origin.as_bytes()).map_or(Self::Refused, Self::Allowed)
        } else {
            Self::Refused
        }
    }

    /// Adds to an answer what the browser wants to read.
    pub fn mark(&self, answer: &mut Answer) {
        let Self::Allowed(origin) = self else { return };
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }

    /// The answer to a preflight.
    pub fn preflight(&self, asked: &HeaderMap) -> Answer {
        let mut answer = Response::new(Said::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, OPTIONS"),
        );
        let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let wanted = wanted.unwrap_or(HeaderValue::from_static("content-type"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        answer
    }
}

/// A page that came from this very host.
fn is_own(page: &config::Origin, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|h| h.to_str().ok());
    host.is_some_and(|host| page.is_of_host(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(origin: Option<&'static str>, cors: &Cors) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("chat.example:8380"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Origin::of(&headers, cors)
    }

    #[test]
    fn only_listed_origins_and_our_own_may_connect() {
        let listed = config::Origin::parse("https://A.example:443/");
        let only = Cors::Only(listed.into_iter().collect());
        assert_eq!(judge(None, &only), Origin::None);
        assert!(matches!(
            judge(Some("https://a.example"), &only),
            Origin::Allowed(_)
        ));
        assert!(matches!(
            judge(Some("http://chat.example:8380"), &only),
            Origin::Allowed(_)
        ));
        for foreign in [
            "https://b.example",
            "http://a.example",
            "https://a.example.evil",
            "null",
            "chat.example:8380",
        ] {
            assert_eq!(judge(Some(foreign), &only), Origin::Refused, "{foreign}");
            assert!(matches!(
                judge(Some(foreign), &Cors::Any),
                Origin::Allowed(_)
            ));
        }
    }
}
