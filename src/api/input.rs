//! What a request brings, read strictly: what the OpenAPI document doesn't describe is refused, with the place and the reason.

use super::frames::{self, Frames};
use super::reply::Problem;
use super::routes::route::{Body, Route};
use crate::app::House;
use crate::directory::local::Local;
use crate::ground::json;
use crate::ground::names::{Id, is_id};
use crate::ground::net::input::{Owner, Unfinished};
use crate::ground::net::{BodyFault, read_body};
use crate::ground::tasks::{LARGE, aside_if};
use crate::socket;
use hyper::body::Incoming;
use hyper::{HeaderMap, StatusCode, header, http::request::Parts};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error, IgnoredAny};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Entries of a page when no limit is given.
const PAGE: usize = 1000;
/// Entries of a list of ids.
const MAX_IDS: usize = 1000;

/// A request to a route.
pub struct ApiRequest {
    pub house: &'static House,
    path: Vec<String>,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Incoming,
}

impl ApiRequest {
    /// Checks the query and the kind of the body against the route.
    pub fn new(
        house: &'static House,
        route: &Route,
        path: Vec<String>,
        head: Parts,
        body: Incoming,
    ) -> Result<Self, Problem> {
        check_kind(route, &head)?;
        let query = read_query(route, head.uri.query().unwrap_or_default())?;
        Ok(Self {
            house,
            path,
            query,
            headers: head.headers,
            body,
        })
    }

    /// The first parameter of the path.
    pub fn name(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The second one.
    pub fn second(&self) -> &str {
        self.path.get(1).map_or("", String::as_str)
    }

    /// Behind which entry a page begins; empty for the first page.
    pub fn after(&self) -> &str {
        self.query("after").unwrap_or_default()
    }

    /// Entries of a page.
    pub fn limit(&self) -> usize {
        self.query("limit")
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(PAGE)
    }

    /// The embedded directory, if it is the one in use.
    pub fn local(&self) -> Result<Rc<Local>, Problem> {
        self.house.core.directory.local().cloned().ok_or_else(|| {
            let detail = "This is Open WebUI's to keep (SISKIN_DIRECTORY): ask it.";
            Problem::new(StatusCode::CONFLICT, detail)
        })
    }

    /// A parameter after the `?`.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The whole body, read as `T`.
    pub async fn json<T: DeserializeOwned + Send + 'static>(self) -> Result<T, Problem> {
        let (bytes, held) = self.whole().await?;
        let parsed = aside_if(bytes.len() > LARGE, move || parse(&bytes)).await;
        drop(held);
        parsed
    }

    /// The whole body. What waits to be read beside our thread is not late, and still counts.
    async fn whole(self) -> Result<(Vec<u8>, Option<Unfinished>), Problem> {
        let most = self.house.core.config.max_payload;
        // Who is here has shown the key.
        let part = Unfinished::begin(Owner::Known);
        let body = read_body(self.body, most, |bytes, cx| part.poll_hold(bytes, cx)).await;
        let bytes = body.map_err(|fault| match fault {
            BodyFault::TooLarge => too_large(most),
            BodyFault::Broken => frames::broken(),
            BodyFault::Ended(_) => frames::late(),
        })?;
        let held = Unfinished::hand_over(Some(&part), bytes.len());
        Ok((bytes, held))
    }

    /// The body as it arrives.
    pub fn frames(self) -> Frames {
        Frames::new(self.body)
    }
}

pub fn too_large(most: usize) -> Problem {
    let detail = format!("The body is larger than SISKIN_MAX_PAYLOAD_BYTES ({most}).");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// A JSON object as `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let parsed = object(bytes)?.and_then(json::owned);
    parsed.map_err(|error| unread(bytes, &error))
}

/// The text of a body that may be an object: serde would take a list for one, field by field.
fn object(bytes: &[u8]) -> Result<serde_json::Result<&str>, Problem> {
    if too_deep(bytes) {
        let detail = format!("The body nests deeper than {}.", socket::MAX_DEPTH);
        return Err(Problem::shape(detail));
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(match first {
        Some(b'{') => std::str::from_utf8(bytes).map_err(serde_json::Error::custom),
        _ => Err(serde_json::Error::custom("it is not an object")),
    })
}

/// Why a body was not read.
fn unread(bytes: &[u8], error: &serde_json::Error) -> Problem {
    match json::read::<IgnoredAny>(bytes) {
        Ok(_) => Problem::shape(format!("The body is not as described: {error}.")),
        Err(error) => {
            let detail = format!("The body is not JSON: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
    }
}

/// What no client should be asked to take apart.
fn too_deep(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(json::is_too_deep)
}

fn check_kind(route: &Route, head: &Parts) -> Result<(), Problem> {
    let wanted = match route.body {
        Body::None => return Ok(()),
        Body::Json(_) => &["application/json"][..],
        Body::Lines(_) => &["application/x-ndjson", "application/jsonl"],
    };
    let Some(kind) = head.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match wanted
        .iter()
        .any(|wanted| kind.eq_ignore_ascii_case(wanted))
    {
        true => Ok(()),
        false => {
            let detail = format!("The body must be {}.", wanted.join(" or "));
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn read_query(route: &Route, text: &str) -> Result<BTreeMap<String, String>, Problem> {
    let mut query = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let Some(param) = route.query.iter().find(|param| *param.name == *name) else {
            return Err(Problem::shape(format!(
                "There is no parameter `{}`.",
                name.escape_debug()
            )));
        };
        check_value(param.name, param.schema, &value)?;
        if query
            .insert(name.into_owned(), value.into_owned())
            .is_some()
        {
            return Err(Problem::shape(format!("`{}` is given twice.", param.name)));
        }
    }
    let missing = route
        .query
        .iter()
        .find(|param| param.required && !query.contains_key(param.name));
    missing.map_or(Ok(query), |param| {
        Err(Problem::shape(format!("`{}` is missing.", param.name)))
    })
}

/// A value of a query by the name of its schema.
fn check_value(name: &str, schema: &str, value: &str) -> Result<(), Problem> {
    let (fine, wanted) = match schema {
        "Flag" => (matches!(value, "true" | "false"), "true or false"),
        "Limit" => (in_range(value, 1, 10_000), "a number from 1 to 10000"),
        "Wait" => (in_range(value, 0, 60), "a number from 0 to 60"),
        "LineNumber" => (in_range(value, 0, 1 << 53), "a number, 0 or more"),
        "Offset" => (
            socket::Offset::read(value).is_some(),
            "eight characters, as an `id` of the stream has",
        ),
        "Sid" => (socket::Sid::parse(value).is_some(), "a sid"),
        _ => (
            is_id(value),
            "text of 1 to 256 characters without control characters",
        ),
    };
    match fine {
        true => Ok(()),
        false => Err(Problem::shape(format!("`{name}` must be {wanted}."))),
    }
}

fn in_range(value: &str, least: u64, most: u64) -> bool {
    // A sign would be taken, too.
    value.bytes().all(|byte| byte.is_ascii_digit())
        && value
            .parse()
            .is_ok_and(|n: u64| (least..=most).contains(&n))
}

/// A parameter of the path, decoded.
pub fn segment(name: &str, text: &str) -> Result<String, Problem> {
    let decoded = decode(text).filter(|text| is_id(text));
    decoded.ok_or_else(|| {
        Problem::shape(format!("`{name}` in the path must be text of 1 to 256 characters without control characters, percent-encoded."))
    })
}

/// Undoes percent-encoding (RFC 3986, 2.1); `None` when it is broken or no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// A list of at most [`MAX_IDS`] ids.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Id>")]
pub struct Ids(pub Vec<Id>);

impl TryFrom<Vec<Id>> for Ids {
    type Error = String;

    fn try_from(ids: Vec<Id>) -> Result<Self, String> {
        match ids.len() <= MAX_IDS {
            true => Ok(Self(ids)),
            false => Err(format!("a list may have {MAX_IDS} ids")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        #[allow(dead_code)]
        a: Id,
        #[allow(dead_code)]
        b: Option<Id>,
    }

    #[test]
    fn a_body_is_an_object_of_known_fields() {
        assert!(parse::<Two>(br#" {"a": "x", "b": null} "#).is_ok());
        let status = |text: &str| parse::<Two>(text.as_bytes()).unwrap_err().status.as_u16();
        for text in ["", "{", "nonsense", "{\"a\": \"x\"} x", "[1", "\u{1}"] {
            assert_eq!(status(text), 400, "{text}");
        }
        for text in [
            "[]",
            r#"["x", "y"]"#,
            "null",
            "1",
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": ""}"#,
            r#"{"a": "\n"}"#,
            r#"{"a": "x", "c": 1}"#,
            r#"{"a": "x", "a": "y"}"#,
        ] {
            assert_eq!(status(text), 422, "{text}");
        }
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(128), "]".repeat(128));
        assert_eq!(status(&deep), 422);
        let told = parse::<Two>(br#"{"a": "x", "c": 1}"#).unwrap_err().detail;
        assert!(told.contains("unknown field `c`"), "{told}");
    }

    #[test]
    fn numbers_have_digits_only() {
        assert!(in_range("1", 1, 10) && in_range("10", 1, 10));
        for wrong in [
            "",
            "0",
            "11",
            "+1",
            "-1",
            "1.0",
            "1e1",
            "99999999999999999999",
        ] {
            assert!(!in_range(wrong, 1, 10), "{wrong}");
        }
    }
}
