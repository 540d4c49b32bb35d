//! What a backend may ask over HTTP, one file a resource.
//!
//! A request passes, in this order: the router ([`routes`]), the key ([`key`]), its resource's function, which reads
//! its input strictly ([`input`]), and leaves as a [`reply`]: JSON, or problem details where it was not answered.
//!
//! To add a resource, write a function here and a row in `routes/table.rs`; `schemas.json` has the schemas that rows name.

mod backup;
mod call;
mod channels;
mod chat;
mod chats;
mod emit;
mod frames;
mod input;
mod key;
mod models;
mod notes;
mod openapi;
mod reading;
mod reply;
mod rooms;
mod routes;
mod sessions;
mod status;
mod streams;
mod users;

use crate::app::House;
use crate::ground::net::Said;
use crate::metrics::{self, Counter};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use input::ApiRequest;
pub use key::check as check_key;
use reply::{Problem, Reply};
use routes::{Answer, Found};

/// What a resource's function comes to.
type ApiResult = Result<Reply, Problem>;

/// Answers a request whose path begins with `/api/v1`.
pub async fn handle(house: &'static House, request: Request<Incoming>) -> Response<Said> {
    metrics::add(Counter::ApiRequests, 1);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answering = route(house, request);
    let answer = match method {
        // Also when whoever asked for it goes: what follows from what was saved (who leaves a room, who hears of it)
        // must not be left out.
        Method::PUT | Method::PATCH | Method::DELETE => {
            house.requests.run_to_end("an API request", answering).await
        }
        _ => answering.await,
    };
    let answer = answer.unwrap_or_else(|problem| {
        // The path may hold names of people: not for the log.
        log::debug!("{method} to the API: {} {}", problem.status, problem.detail);
        problem.reply(&path)
    });
    answer.response()
}

/// Problem details for a path that is not the API's own.
pub fn refuse(status: StatusCode, detail: &str, path: &str) -> Response<Said> {
    Problem::new(status, detail).reply(path).response()
}

async fn route(house: &'static House, request: Request<Incoming>) -> ApiResult {
    let (head, body) = request.into_parts();
    let found = routes::find(head.method.as_str(), head.uri.path());
    let (route, call, path) = match found {
        Found::Route(route, call, path) => (route, call, path),
        // Who has no key learns nothing, not even which paths there are.
        other => {
            key::check(house, &head.headers)?;
            return Err(other.problem());
        }
    };
    if !route.open && !route.users {
        key::check(house, &head.headers)?;
    }
    let request = ApiRequest::new(house, route, path?, head, body)?;
    match call(request) {
        Answer::Now(answer) => answer,
        Answer::Later(answer) => answer.await,
    }
}
