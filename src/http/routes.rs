//! From a path to who answers it: engine | api | console | health.

use super::answer::status;
use super::client_address::{client_address, is_browser, is_https};
use super::cors::Origin;
use super::{Answer, health};
use crate::api;
use crate::app::House;
#[cfg(feature = "console")]
use crate::console;
use crate::engine::{Engine, Failure, Peer};
use crate::ground::net::tell;
use crate::metrics;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use std::net::IpAddr;
use std::rc::Rc;

/// The path of the socket, with and without a slash at its end.
pub const SOCKET_PATH: &str = "/ws/socket.io";

/// Bytes of a refused origin that are told.
const ORIGIN_BYTES: usize = 100;

/// Where a page reads an answer without the socket, from whichever origin may use that.
const READ_PATH: &str = "/api/v1/chat/stream";

/// Everything that is served on the one port.
pub struct Site {
    pub house: &'static House,
    pub engine: Rc<Engine>,
}

impl Site {
    /// Answers a request from a connection of `peer`.
    pub async fn answer(self: Rc<Self>, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let path = request.uri().path();
        if path.strip_suffix('/').unwrap_or(path) == SOCKET_PATH {
            return self.socket(request, peer).await;
        }
        if path == READ_PATH && matches!(*request.method(), Method::GET | Method::OPTIONS) {
            return self.read(request, peer).await;
        }
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            return Box::pin(api::handle(self.house, request)).await;
        }
        match (path, is_read(request.method())) {
            ("/health", true) => health::alive(),
            ("/ready", true) => health::ready(self.house, request.headers()),
            ("/metrics", true) => health::metrics(self.house, &request, peer),
            ("/health" | "/ready" | "/metrics", false) => status(StatusCode::METHOD_NOT_ALLOWED),
            _ => self.page(&request),
        }
    }

    async fn socket(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let (origin, answer) = self.origin(&request, peer);
        let mut answer = match answer {
            Some(answer) => answer,
            None => {
                let headers = request.headers();
                let proxies = &self.house.core.config.trusted_proxies;
                let client = Peer {
                    address: client_address(peer, headers, proxies),
                    https: is_https(peer, headers, proxies),
                    browser: is_browser(headers),
                };
                self.engine.serve(request, client).await
            }
        };
        origin.mark(&mut answer);
        answer
    }

    async fn read(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let (origin, answer) = self.origin(&request, peer);
        let mut answer = match answer {
            Some(answer) => answer,
            None => Box::pin(api::handle(self.house, request)).await,
        };
        origin.mark(&mut answer);
        answer
    }

    /// Where a request comes from, and its answer, if that is all that is asked.
    fn origin(&self, request: &Request<Incoming>, peer: IpAddr) -> (Origin, Option<Answer>) {
        let config = &self.house.core.config;
        let origin = Origin::of(request.headers(), &config.cors);
        let answer = match (&origin, request.method()) {
            (Origin::Refused, _) => {
                metrics::refused("origin");
                let (headers, proxies) = (request.headers(), &config.trusted_proxies);
                let page = headers.get(hyper::header::ORIGIN);
                let page = page.map_or(&[][..], |page| page.as_bytes());
                let page = String::from_utf8_lossy(&page[..page.len().min(ORIGIN_BYTES)]);
                tell(
                    client_address(peer, headers, proxies),
                    "a refused origin",
                    format_args!("{page:?}: add it to CORS_ALLOW_ORIGIN if it is yours"),
                );
                Some(Failure::Origin.answer())
            }
            (_, &Method::OPTIONS) => Some(origin.preflight(request.headers())),
            _ => None,
        };
        (origin, answer)
    }

    #[cfg(feature = "console")]
    fn page(&self, request: &Request<Incoming>) -> Answer {
        let (path, config) = (request.uri().path(), &self.house.core.config);
        let heartbeat = config.heartbeat_interval;
        match console::answer(path, request.headers(), config.console, heartbeat) {
            Some(answer) if is_read(request.method()) => answer,
            Some(_) => {
                let detail = "This file is for GET and HEAD alone.";
                api::refuse(StatusCode::METHOD_NOT_ALLOWED, detail, path)
            }
            None => nothing(path),
        }
    }

    #[cfg(not(feature = "console"))]
    fn page(&self, request: &Request<Incoming>) -> Answer {
        nothing(request.uri().path())
    }
}

fn nothing(path: &str) -> Answer {
    let detail = "There is nothing here. The API begins with /api/v1, the socket is /ws/socket.io.";
    api::refuse(StatusCode::NOT_FOUND, detail, path)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
