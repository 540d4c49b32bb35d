//! An HTTP request to the engine: which session, which transport, and the protocol's refusals.

use super::stream::Counted;
use super::{Engine, Failure, Peer, Session, Transport, Transports, polling, websocket};
use crate::ground::net::{Io, Said, tell};
use crate::metrics;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::rc::Rc;

type Answer = Response<Said>;

/// What a session hears, and what it is refused, is for it alone.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The query of a request, as far as the protocol knows it.
#[derive(Default)]
struct Query {
    version: String,
    transport: String,
    sid: Option<String>,
}

impl Query {
    fn of<B>(request: &Request<B>) -> Self {
        let mut query = Self::default();
        let pairs = form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes());
        for (name, value) in pairs {
            match &*name {
                "EIO" => query.version = value.into_owned(),
                "transport" => query.transport = value.into_owned(),
                // Empty it is none: a Go client's first request has it so.
                "sid" if !value.is_empty() => query.sid = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }
}

impl Engine {
    /// Answers a request to this engine's path, from the client `peer`.
    pub async fn serve(
        self: &Rc<Self>,
        request: Request<Incoming>,
        peer: impl Into<Peer>,
    ) -> Answer {
        match self.route(request, peer.into()).await {
            Ok(answer) => answer,
            Err(failure) => failure.answer(),
        }
    }

    async fn route(
        self: &Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Answer, Failure> {
        let query = Query::of(&request);
        let transport = self.transport_of(&query)?;
        let session = match &query.sid {
            Some(sid) => Some(self.find(sid).ok_or(Failure::UnknownSid)?),
            None if request.method() != Method::GET => return Err(Failure::BadMethod),
            None if query.version != "4" => return Err(Failure::UnsupportedVersion),
            None if self.is_crowded(peer.address) => return Err(Failure::Crowded),
            None if self.len() >= self.settings.sessions => return Err(Failure::Full),
            None => None,
        };
        match (transport, session) {
            (Transport::Websocket, session) => self.accept_websocket(request, session, peer),
            (_, None) => self.poll_open(peer).await,
            (_, Some(session)) => self.poll(request, session).await,
        }
    }

    fn transport_of(&self, query: &Query) -> Result<Transport, Failure> {
        match (query.transport.as_str(), self.settings.transports) {
            ("polling", Transports::Both | Transports::Polling) => Ok(Transport::Polling),
            ("websocket", Transports::Both | Transports::Websocket) => Ok(Transport::Websocket),
            _ => Err(Failure::UnknownTransport),
        }
    }

    async fn poll_open(self: &Rc<Self>, peer: Peer) -> Result<Answer, Failure> {
        let session = self.open(peer, Transport::Polling);
        polling::get(self, &session).await.map(text)
    }

    async fn poll(
        self: &Rc<Self>,
        request: Request<Incoming>,
        session: Rc<Session>,
    ) -> Result<Answer, Failure> {
        if session.transport() == Transport::Websocket {
            return Err(Failure::BadRequest);
        }
        match *request.method() {
            // Boxed, so that other requests don't carry the room for these.
            Method::GET => {
                // Its head is a part of hyper's buffer, which the poll needn't keep while it waits.
                drop(request);
                Box::pin(polling::get(self, &session)).await.map(text)
            }
            Method::POST if session.ended().is_some() => Err(Failure::UnknownSid),
            Method::POST => Box::pin(polling::post(self, &session, request.into_body()))
                .await
                .map(text),
            _ => Err(Failure::BadRequest),
        }
    }

    /// Answers the handshake; a fresh task takes the stream from hyper once it is written.
    fn accept_websocket(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        session: Option<Rc<Session>>,
        peer: Peer,
    ) -> Result<Answer, Failure> {
        if request.method() != Method::GET {
            return Err(Failure::BadRequest);
        }
        // RFC 9110, 7.8: what HTTP/1.0 says of an upgrade is ignored.
        if request.version() < Version::HTTP_11 {
            let why =
                "it is behind a proxy that has to speak HTTP/1.1 (nginx: proxy_http_version 1.1)";
            tell(
                peer.address,
                "a refused websocket over HTTP/1.0",
                format_args!("{why}"),
            );
            return Err(Failure::OldHttp);
        }
        if !request.headers().contains_key(UPGRADE) {
            let why = "it may be behind a proxy that has to hand it on (nginx: proxy_set_header Upgrade $http_upgrade)";
            tell(
                peer.address,
                "a refused websocket without an Upgrade header",
                format_args!("{why}"),
            );
        }
        let key = websocket::accept_key(request.headers()).ok_or(Failure::BadRequest)?;
        // A second websocket for a session is accepted only to be closed: a browser can't read a refusal.
        let refused = session.as_ref().is_some_and(|s| !s.begin_probe());
        let upgrade = hyper::upgrade::on(&mut request);
        // From now on it is the engine's to count: the accept loop stops counting it with this answer.
        let counted = Counted::new(self.clone());
        let tasks = self.tasks.clone();
        let hand_over = async move {
            let parts = match upgrade.await.map(|u| u.downcast::<Io>()) {
                Ok(Ok(parts)) => parts,
                Ok(Err(_)) | Err(_) if refused => return,
                Ok(Err(_)) | Err(_) => return session.iter().for_each(|s| s.end_probe()),
            };
            // A task of its own: this one's memory, and hyper's buffer, go now.
            let (stream, rest) = parts.io.into_parts();
            let early = [parts.read_buf, rest].concat();
            if refused {
                metrics::refused("second websocket");
                return websocket::turn_away(&stream);
            }
            let serve = websocket::serve(counted, session, peer, stream, early);
            tasks.spawn("a websocket", serve);
        };
        self.tasks.spawn("an upgrade", hand_over);
        Ok(switching(&key))
    }
}

fn switching(key: &str) -> Answer {
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, key);
    answer.body(Said::default()).expect("a fixed answer")
}

fn text(payload: Bytes) -> Answer {
    let mut answer = Response::new(Said::whole(payload));
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer
}

impl Failure {
    /// The protocol's refusal, counted and logged.
    pub fn answer(self) -> Answer {
        let (status, code, message) = self.parts();
        metrics::refused(message);
        log::debug!("request refused: {message}");
        let body = format!("{{\"code\":{code},\"message\":\"{message}\"}}");
        let answer = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "application/json")
            .header(CACHE_CONTROL, NO_STORE);
        answer.body(Said::whole(body)).expect("a fixed answer")
    }
}
