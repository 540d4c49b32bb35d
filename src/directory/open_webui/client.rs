//! HTTP to Open WebUI: a few persistent connections, one request on each at a time.
//!
//! Redirects are not followed, responses are bounded, every request has a deadline. No error contains the token.

use super::places::{PLACES, Places};
use crate::config::HttpUrl;
use crate::ground::net::{Io, Socket, dial};
use crate::ground::tasks::{Executor, Tasks, within};
use crate::token;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use smol::Async;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

/// How long a request may take once it is one of those at a time; after that Open WebUI may be away.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long connecting may take of it.
const CONNECT: Duration = Duration::from_secs(4);
/// How long it may wait until it is.
const QUEUE: Duration = Duration::from_secs(15);
/// The largest body of a response, in bytes: a chat comes whole.
const MAX_BODY: usize = 16 << 20;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("siskin/", env!("CARGO_PKG_VERSION")));

/// A request, in the name of whoever the token belongs to.
pub struct UpstreamRequest<'a> {
    pub method: Method,
    /// Behind the address; ids in it are checked.
    pub path: &'a str,
    pub token: Option<&'a str>,
    /// JSON.
    pub body: Option<String>,
}

impl<'a> UpstreamRequest<'a> {
    pub fn get(path: &'a str, token: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            token: Some(token),
            body: None,
        }
    }

    /// The same in nobody's name.
    pub fn anonymous(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            token: None,
            body: None,
        }
    }

    pub fn post(path: &'a str, token: &'a str, body: String) -> Self {
        Self {
            method: Method::POST,
            path,
            token: Some(token),
            body: Some(body),
        }
    }
}

/// What came back.
pub struct UpstreamResponse {
    pub status: StatusCode,
    /// `None`: larger than the bound.
    pub body: Option<Bytes>,
}

/// Why nothing usable came back: one sentence, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError(pub String);

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The connections.
pub struct Client {
    tasks: Tasks,
    url: HttpUrl,
    host: HeaderValue,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    places: Rc<Places>,
    /// Whether nobody was there lately: no connection, or one that ended without an answer.
    lost: Cell<bool>,
}

impl Client {
    pub fn new(executor: Executor, url: HttpUrl) -> Self {
        let host = host(&url);
        Self {
            tasks: Tasks::new(executor),
            // A host that is no header value is no host either: connecting fails.
            host: HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("")),
            url,
            idle: RefCell::default(),
            places: Rc::default(),
            lost: Cell::new(false),
        }
    }

    /// Sends a request and reads the whole response, which may take so long. Users have their turns; a request of nobody's
    /// takes no place.
    pub async fn send(
        &self,
        request: &UpstreamRequest<'_>,
        limit: Duration,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let _place = match request.token {
            None => None,
            Some(token) => {
                let user = token::claimed_user(token).unwrap_or_default();
                let place = within(QUEUE, self.places.take(&user)).await.flatten();
                Some(place.ok_or_else(|| UpstreamError("too many requests wait for it".into()))?)
            }
        };
        let late = || UpstreamError(format!("no answer within {} s", limit.as_secs()));
        let response = within(limit, self.exchange(request)).await;
        response.unwrap_or_else(|| Err(late()))
    }

    /// Whether nobody was there since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.lost.take()
    }

    async fn exchange(
        &self,
        request: &UpstreamRequest<'_>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        // Only what may arrive twice goes over a connection that Open WebUI may be closing.
        while request.method == Method::GET
            && let Some(mut idle) = self.idle_connection()
        {
            if idle.ready().await.is_err() {
                continue;
            }
            // Open WebUI ends connections that were idle for a while, maybe just now: then a new one is made.
            if let Ok(response) = idle.send_request(self.encode(request)?).await {
                return self.read(idle, response).await;
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(self.encode(request)?).await;
        let response = response.map_err(|e| {
            // It hung up, or a proxy did in its place.
            self.lost.set(self.lost.get() || !e.is_parse());
            broken(&e)
        })?;
        if matches!(response.status().as_u16(), 502..=504) {
            self.lost.set(true);
        }
        self.read(fresh, response).await
    }

    fn idle_connection(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.borrow_mut().pop()
    }

    fn encode(
        &self,
        request: &UpstreamRequest<'_>,
    ) -> Result<hyper::Request<Full<Bytes>>, UpstreamError> {
        let path = format!("{}{}", self.url.path, request.path);
        let mut encoded = hyper::Request::builder()
            .method(request.method.clone())
            .uri(path)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, JSON);
        if let Some(token) = request.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| UpstreamError("the token is no header".into()))?;
            value.set_sensitive(true);
            encoded = encoded.header(AUTHORIZATION, value);
        }
        if request.body.is_some() {
            encoded = encoded.header(CONTENT_TYPE, JSON);
        }
        let body = request.body.clone().unwrap_or_default();
        let encoded = encoded.body(Full::new(Bytes::from(body)));
        encoded.map_err(|_| UpstreamError("it can't be encoded as an HTTP request".into()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, UpstreamError> {
        let connected = within(CONNECT, dial(&self.url.host, self.url.port)).await;
        let connected = connected.unwrap_or_else(|| Err(ErrorKind::TimedOut.into()));
        let watched = connected.and_then(Async::into_inner).and_then(Socket::new);
        let stream = watched.map_err(|e| {
            self.lost.set(true);
            UpstreamError(e.to_string())
        })?;
        let made = http1::handshake(Io::to_server(stream)).await;
        let (sender, connection) = made.map_err(|e| broken(&e))?;
        let drive = async move {
            if let Err(e) = connection.await {
                log::debug!("a connection to Open WebUI ends: {e}");
            }
        };
        self.tasks.spawn("a connection to Open WebUI", drive);
        Ok(sender)
    }

    /// Reads the body. The connection serves another request when it was read to its end.
    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        response: hyper::Response<Incoming>,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| broken(&e))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if bytes.len() + data.len() > MAX_BODY {
                return Ok(UpstreamResponse { status, body: None });
            }
            bytes.extend_from_slice(data);
        }
        // What is posted makes new ones: no more are kept than are used.
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.is_closed());
        if !sender.is_closed() && idle.len() < PLACES {
            idle.push(sender);
        }
        drop(idle);
        let body = Some(bytes.into());
        Ok(UpstreamResponse { status, body })
    }
}

/// The value of a Host header.
pub fn host(url: &HttpUrl) -> String {
    let bare = HttpUrl {
        path: String::new(),
        ..url.clone()
    };
    bare.to_string().replacen("http://", "", 1)
}

fn broken(error: &hyper::Error) -> UpstreamError {
    UpstreamError(match error {
        e if e.is_incomplete_message() => "it broke off in the middle of an answer".into(),
        e if e.is_parse() => "it does not speak HTTP".into(),
        e => format!("the connection failed: {e}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_brackets_and_no_path() {
        let url = |host: &str, port, path: &str| HttpUrl {
            host: host.into(),
            port,
            path: path.into(),
        };
        assert_eq!(host(&url("webui", 80, "/base")), "webui:80");
        assert_eq!(host(&url("::1", 8080, "")), "[::1]:8080");
    }
}
