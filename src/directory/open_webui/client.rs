//! HTTP to Open WebUI: a few kept-alive connections, one question on each at a time.
//!
//! Redirects are not followed, answers are bounded, every question has a deadline. What goes wrong is told without
//! the token.

use crate::config::HttpUrl;
use crate::ground::net::Io;
use crate::ground::tasks::{Executor, Tasks, within};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use smol::Async;
use smol::lock::Semaphore;
use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use std::{fmt, io};

/// How long a question may take once it has a connection's place,
const DEADLINE: Duration = Duration::from_secs(5);
/// and how long it may wait for one.
const QUEUE: Duration = Duration::from_secs(15);
/// Questions at a time.
const PLACES: usize = 8;
/// The largest answer, in bytes: a chat comes whole.
const MAX_ANSWER: usize = 16 << 20;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("siskin/", env!("CARGO_PKG_VERSION")));

/// What is asked, of which path, in whose name.
pub struct Question<'a> {
    pub method: Method,
    /// Behind the address; ids in it are checked.
    pub path: &'a str,
    pub token: Option<&'a str>,
    /// JSON.
    pub body: Option<String>,
    /// May it be asked twice? Only then it goes over a connection that Open WebUI may be closing.
    pub repeatable: bool,
}

impl<'a> Question<'a> {
    pub fn get(path: &'a str, token: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            token: Some(token),
            body: None,
            repeatable: true,
        }
    }

    pub fn post(path: &'a str, token: &'a str, body: String) -> Self {
        Self {
            method: Method::POST,
            path,
            token: Some(token),
            body: Some(body),
            repeatable: true,
        }
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    /// `None`: larger than is taken.
    pub body: Option<Bytes>,
}

/// Why nothing usable came back: one sentence, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub String);

impl fmt::Display for Trouble {
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
    places: Semaphore,
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
            places: Semaphore::new(PLACES),
        }
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Answer, Trouble> {
        let place = within(QUEUE, self.places.acquire()).await;
        let _place = place.ok_or_else(|| Trouble("too many questions wait for it".into()))?;
        let late = || Trouble(format!("no answer within {} s", DEADLINE.as_secs()));
        let answer = within(DEADLINE, self.exchange(question)).await;
        answer.unwrap_or_else(|| Err(late()))
    }

    async fn exchange(&self, question: &Question<'_>) -> Result<Answer, Trouble> {
        while question.repeatable
            && let Some(mut kept) = self.kept()
        {
            if kept.ready().await.is_err() {
                continue;
            }
            // Open WebUI ends connections that were idle for a while, maybe just now: then a new one is made.
            if let Ok(response) = kept.send_request(self.request(question)?).await {
                return self.read(kept, response).await;
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(self.request(question)?).await;
        self.read(fresh, response.map_err(|e| broken(&e))?).await
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle.borrow_mut().pop()
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, Trouble> {
        let path = format!("{}{}", self.url.path, question.path);
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(path)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, JSON);
        if let Some(token) = question.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| Trouble("the token is no header".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if question.body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let body = question.body.clone().unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        request.map_err(|_| Trouble("the question is no HTTP request".into()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let stream = dial(&self.url).await.map_err(|e| Trouble(e.to_string()))?;
        let made = http1::handshake(Io::new(stream)).await;
        let (sender, connection) = made.map_err(|e| broken(&e))?;
        let converse = async move {
            if let Err(e) = connection.await {
                log::debug!("a connection to Open WebUI ends: {e}");
            }
        };
        self.tasks.spawn("a connection to Open WebUI", converse);
        Ok(sender)
    }

    /// Reads the body; the connection is kept when it was read to its end.
    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<Answer, Trouble> {
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| broken(&e))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if bytes.len() + data.len() > MAX_ANSWER {
                return Ok(Answer { status, body: None });
            }
            bytes.extend_from_slice(data);
        }
        if !sender.is_closed() {
            self.idle.borrow_mut().push(sender);
        }
        let body = Some(bytes.into());
        Ok(Answer { status, body })
    }
}

/// What stands in a Host header.
pub fn host(url: &HttpUrl) -> String {
    let bare = HttpUrl {
        path: String::new(),
        ..url.clone()
    };
    bare.to_string().replacen("http://", "", 1)
}

/// A connection to Open WebUI.
pub async fn dial(url: &HttpUrl) -> io::Result<Async<TcpStream>> {
    let addresses = match url.host.parse() {
        // An address needs no thread that looks it up.
        Ok(ip) => vec![SocketAddr::new(ip, url.port)],
        Err(_) => smol::net::resolve((url.host.as_str(), url.port)).await?,
    };
    let mut error = io::Error::other("its name has no address");
    for address in addresses {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => {
                stream.get_ref().set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => error = e,
        }
    }
    Err(error)
}

fn broken(error: &hyper::Error) -> Trouble {
    Trouble(match error {
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
