//! What a backend may ask over HTTP, one file a resource.
//!
//! A request passes, in this order: the route table ([`routes`]), the key ([`key`]), its resource's function, which reads
//! its input strictly ([`input`]), and leaves as a [`reply`]: JSON, or problem details where it was not answered.

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
mod reply;
mod rooms;
mod routes;
mod sessions;
mod status;
mod streams;
mod users;

use crate::app::House;
use crate::metrics::{self, Counter};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use input::Ask;
use reply::{Problem, Reply};
use routes::{Action, Found};

/// What every path of the API begins with.
pub const PREFIX: &str = "/api/v1/";

/// What a resource's function comes to.
type Answer = Result<Reply, Problem>;

/// Answers a request whose path begins with [`PREFIX`].
pub async fn handle(house: &'static House, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
pub fn refuse(status: StatusCode, detail: &str, path: &str) -> Response<Full<Bytes>> {
    Problem::new(status, detail).reply(path).response()
}

async fn route(house: &'static House, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let found = routes::find(head.method.as_str(), head.uri.path());
    let (route, path) = match found {
        Found::Route(route, path) => (route, path),
        // Who has no key learns nothing, not even which paths there are.
        other => {
            key::check(house, &head)?;
            return Err(other.problem());
        }
    };
    if route.action != Action::OpenApi {
        key::check(house, &head)?;
    }
    let ask = Ask::new(house, route, path?, head, body)?;
    match route.action {
        Action::Emit => emit::emit(ask).await,
        Action::ChatEvent => chat::event(ask).await,
        Action::ChatStream => chat::stream(ask).await,
        Action::ChatCall => call::call(ask).await,
        Action::Rooms => rooms::list(&ask),
        Action::Room => rooms::one(&ask),
        Action::EnterRoom => rooms::enter(ask).await,
        Action::LeaveRoom => rooms::leave(ask).await,
        Action::CloseRoom => rooms::close(&ask),
        Action::Sessions => sessions::list(&ask),
        Action::Session => sessions::one(&ask),
        Action::EndSession => sessions::end(&ask).await,
        Action::EndUserSessions => sessions::end_of_user(&ask).await,
        Action::Models => models::list(&ask).await,
        Action::OpenStream => streams::open(&ask),
        Action::TakeStream => streams::take(&ask).await,
        Action::CloseStream => streams::close(&ask),
        Action::Users => users::list(&ask),
        Action::User => users::one(&ask),
        Action::PutUser => users::put(ask).await,
        Action::DeleteUser => users::delete(&ask).await,
        Action::Channels => channels::list(&ask),
        Action::Channel => channels::one(&ask),
        Action::PutChannel => channels::put(ask).await,
        Action::DeleteChannel => channels::delete(&ask).await,
        Action::Members => channels::members(&ask),
        Action::PutMember => channels::put_member(&ask).await,
        Action::DeleteMember => channels::delete_member(&ask).await,
        Action::Notes => notes::list(&ask),
        Action::Note => notes::one(&ask),
        Action::PutNote => notes::put(ask).await,
        Action::PatchNote => notes::patch(ask).await,
        Action::DeleteNote => notes::delete(&ask).await,
        Action::Versions => notes::versions(&ask),
        Action::RestoreVersion => notes::restore(&ask).await,
        Action::Chats => chats::list(&ask),
        Action::Chat => chats::one(&ask),
        Action::PutChat => chats::put(ask).await,
        Action::DeleteChat => chats::delete(&ask).await,
        Action::Messages => chats::messages(&ask),
        Action::Message => chats::message(&ask),
        Action::PutMessage => chats::put_message(ask).await,
        Action::DeleteMessage => chats::delete_message(&ask).await,
        Action::Backup => backup::backup(&ask).await,
        Action::Status => status::status(&ask),
        Action::Log => status::log(&ask),
        Action::OpenApi => openapi::document(),
    }
}
