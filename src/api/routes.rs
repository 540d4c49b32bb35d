//! The route table: what can be asked, and what the OpenAPI document says about it.

use super::input;
use super::reply::Problem;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

/// What a route does; [`super::route`] matches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Emit,
    ChatEvent,
    ChatStream,
    ChatCall,
    Rooms,
    Room,
    EnterRoom,
    LeaveRoom,
    CloseRoom,
    Sessions,
    Session,
    EndSession,
    EndUserSessions,
    Models,
    OpenStream,
    TakeStream,
    CloseStream,
    Users,
    User,
    PutUser,
    DeleteUser,
    Channels,
    Channel,
    PutChannel,
    DeleteChannel,
    Members,
    PutMember,
    DeleteMember,
    Notes,
    Note,
    PutNote,
    PatchNote,
    DeleteNote,
    Versions,
    RestoreVersion,
    Chats,
    Chat,
    PutChat,
    DeleteChat,
    Messages,
    Message,
    PutMessage,
    DeleteMessage,
    Backup,
    Status,
    Log,
    OpenApi,
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// One JSON object with this schema.
    Json(&'static str),
    /// JSON objects with this schema, one a line.
    Lines(&'static str),
}

/// A parameter after the `?`.
#[derive(Debug)]
pub struct Param {
    pub name: &'static str,
    pub required: bool,
    pub schema: &'static str,
    pub about: &'static str,
}

/// One method of one path.
#[derive(Debug)]
pub struct Route {
    pub action: Action,
    pub method: &'static str,
    /// `{name}` stands for one segment.
    pub path: &'static str,
    pub tag: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// What else there is to know.
    pub more: &'static str,
    pub body: Body,
    pub query: &'static [Param],
    /// The schema of a 200; `None` answers 204.
    pub answer: Option<&'static str>,
    /// A 201 is as likely as a 200.
    pub makes: bool,
    /// Problems beside those that the key, the path, the query and the body can have.
    pub problems: &'static [u16],
}

const fn route(
    action: Action,
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    about: &'static str,
) -> Route {
    Route {
        action,
        method,
        path,
        tag,
        about,
        more: "",
        body: Body::None,
        query: &[],
        answer: None,
        makes: false,
        problems: &[],
    }
}

impl Route {
    const fn more(self, more: &'static str) -> Self {
        Self { more, ..self }
    }
    const fn takes(self, body: Body) -> Self {
        Self { body, ..self }
    }
    const fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }
    const fn answers(self, schema: &'static str) -> Self {
        Self {
            answer: Some(schema),
            ..self
        }
    }
    const fn makes(self, schema: &'static str) -> Self {
        Self {
            makes: true,
            ..self.answers(schema)
        }
    }
    const fn or(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }
}

const fn param(name: &'static str, schema: &'static str, about: &'static str) -> Param {
    Param {
        name,
        required: false,
        schema,
        about,
    }
}

const fn required(name: &'static str, schema: &'static str, about: &'static str) -> Param {
    Param {
        required: true,
        ..param(name, schema, about)
    }
}

const MESSAGE: &[Param] = &[
    required("user_id", "Id", "The user whose chat it is."),
    required(
        "chat_id",
        "Id",
        "The chat; one that begins with `temporary:` or `local:` is never saved.",
    ),
    param(
        "message_id",
        "Id",
        "The message; without it nothing is saved.",
    ),
    param("save", "Flag", "`false` emits and saves nothing."),
];

const PAGE: &[Param] = &[
    param("user_id", "Id", "Only sessions of this user."),
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Sid", "Continue behind this one."),
];

const ROOMS: &[Param] = &[
    param("prefix", "Id", "Only rooms whose name begins so."),
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Id", "Continue behind the one of this name."),
];

const RECORDS: &[Param] = &[
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Id", "Continue behind the one with this id."),
];

/// Open WebUI keeps them; or the store can't now.
const LOCAL: &[u16] = &[409, 503];
/// The same for something that may not be there.
const LOCAL_ONE: &[u16] = &[404, 409, 503];

/// A change of what the store keeps, of something new and of something that may not be there.
const CHANGE: &[u16] = &[409, 503, 507];
const CHANGE_ONE: &[u16] = &[404, 409, 413, 503, 507];

const CHATS: &[Param] = &[
    param("user_id", "Id", "Only chats of this user."),
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Id", "Continue behind the one with this id."),
];

/// In place of a schema: the answer is a file.
pub const FILE: &str = "";

/// Every route.
pub const ROUTES: &[Route] = &[
    route(Action::Emit, "POST", "/api/v1/emit", "events", "Emit an event to a user, a room or a session.")
        .more("It reaches all sessions on all instances, except those in `skip_sid`. Nobody there is no error.")
        .takes(Body::Json("Emit"))
        .answers("Delivered"),
    route(Action::ChatEvent, "POST", "/api/v1/chat/event", "events", "Emit an event of a chat's message to its user, then save it by type.")
        .more("Types that are saved: status, message, replace, embeds, files, source, citation. An event that can't be saved is emitted nevertheless; `saved` says so.")
        .takes(Body::Json("ChatEvent"))
        .answers("Emitted"),
    route(Action::ChatStream, "POST", "/api/v1/chat/stream", "events", "Emit a whole answer: one event a line, each the moment it arrives.")
        .more("Keep the request open and write a line whenever there is something to say. A line that is no event is skipped and named in the reply. Empty lines mean nothing and can keep the connection alive.")
        .query(MESSAGE)
        .takes(Body::Lines("Event"))
        .answers("Streamed"),
    route(Action::ChatCall, "POST", "/api/v1/chat/call", "events", "Ask one browser and wait for its answer.")
        .more("The answer is what the browser acknowledges. It waits at most WEBSOCKET_EVENT_CALLER_TIMEOUT.")
        .takes(Body::Json("Call"))
        .answers("Called")
        .or(&[404, 409, 410, 504]),
    route(Action::Rooms, "GET", "/api/v1/rooms", "rooms", "List the rooms that have a member on this instance, by name.")
        .query(ROOMS)
        .answers("Rooms"),
    route(Action::Room, "GET", "/api/v1/rooms/{room}", "rooms", "List the sessions and users in a room, on this instance.")
        .answers("Room"),
    route(Action::CloseRoom, "DELETE", "/api/v1/rooms/{room}", "rooms", "Make everybody leave a room.")
        .more("The rooms of one user or one session can't be closed.")
        .or(&[409]),
    route(Action::EnterRoom, "POST", "/api/v1/rooms/{room}/enter", "rooms", "Make all sessions of these users enter a room.")
        .more("When it answers, sessions of this instance can miss nothing any more; those of others enter a moment later. The rooms of one user or one session are not to be entered.")
        .takes(Body::Json("UserIds"))
        .answers("Members")
        .or(&[409]),
    route(Action::LeaveRoom, "POST", "/api/v1/rooms/{room}/leave", "rooms", "Make all sessions of these users leave a room.")
        .takes(Body::Json("UserIds"))
        .answers("Members")
        .or(&[409]),
    route(Action::Sessions, "GET", "/api/v1/sessions", "sessions", "List the sessions on this instance, in the order of their sids.")
        .query(PAGE)
        .answers("Sessions"),
    route(Action::Session, "GET", "/api/v1/sessions/{sid}", "sessions", "Show a session of this instance.")
        .answers("Session")
        .or(&[404]),
    route(Action::EndSession, "DELETE", "/api/v1/sessions/{sid}", "sessions", "Disconnect a session.")
        .or(&[404]),
    route(Action::EndUserSessions, "DELETE", "/api/v1/users/{user_id}/sessions", "sessions", "Disconnect all sessions of a user.")
        .more("Each is told `access:updated` first, so that the page signs in again.")
        .answers("Disconnected"),
    route(Action::Models, "GET", "/api/v1/models", "models", "List the models in use.")
        .answers("Models"),
    route(Action::OpenStream, "PUT", "/api/v1/streams/{stream}", "streams", "Open a stream, before a client is asked to feed it.")
        .more("A client that answers for a model itself (`request:chat:completion`) sends its answer as events named `{user}:{session}:{request}`. Only that user can feed it. A stream from which nobody takes for two minutes is closed.")
        .or(&[503]),
    route(Action::TakeStream, "GET", "/api/v1/streams/{stream}", "streams", "Take what has come on a stream, waiting for the first event.")
        .more("Each event is given once, in the order they came; no event means that nothing came in time.")
        .query(&[param("wait", "Wait", "Seconds to wait for the first event; 20 if absent.")])
        .answers("StreamEvents")
        .or(&[404, 410]),
    route(Action::CloseStream, "DELETE", "/api/v1/streams/{stream}", "streams", "Close a stream.")
        .or(&[404]),
    route(Action::Users, "GET", "/api/v1/users", "users", "List the users by id.").query(RECORDS).answers("Users").or(LOCAL),
    route(Action::User, "GET", "/api/v1/users/{user_id}", "users", "Show a user.").answers("User").or(LOCAL_ONE),
    route(Action::PutUser, "PUT", "/api/v1/users/{user_id}", "users", "Make a user, or replace one.")
        .more("Fields that siskin doesn't know are kept. Sessions of a user whose role changes are disconnected after `access:updated`, so that the page signs in again.")
        .takes(Body::Json("PutUser")).makes("User").or(CHANGE),
    route(Action::DeleteUser, "DELETE", "/api/v1/users/{user_id}", "users", "Remove a user from the directory and from every channel, and disconnect the sessions.")
        .or(CHANGE_ONE),
    route(Action::Channels, "GET", "/api/v1/channels", "channels", "List the channels by id.").query(RECORDS).answers("Channels").or(LOCAL),
    route(Action::Channel, "GET", "/api/v1/channels/{channel_id}", "channels", "Show a channel.").answers("Channel").or(LOCAL_ONE),
    route(Action::PutChannel, "PUT", "/api/v1/channels/{channel_id}", "channels", "Make a channel, or replace one.")
        .more("`members` becomes the whole list of members; absent or null, they stay. Sessions of new members enter the channel's room at once, those of former ones leave it.")
        .takes(Body::Json("PutChannel")).makes("Channel").or(CHANGE),
    route(Action::DeleteChannel, "DELETE", "/api/v1/channels/{channel_id}", "channels", "Remove a channel; everybody leaves its room.").or(CHANGE_ONE),
    route(Action::Members, "GET", "/api/v1/channels/{channel_id}/members", "channels", "List a channel's members by user id.")
        .query(RECORDS).answers("ChannelMembers").or(LOCAL_ONE),
    route(Action::PutMember, "PUT", "/api/v1/channels/{channel_id}/members/{user_id}", "channels", "Let a user into a channel.")
        .more("The user's sessions enter the channel's room at once.").or(CHANGE_ONE),
    route(Action::DeleteMember, "DELETE", "/api/v1/channels/{channel_id}/members/{user_id}", "channels", "Put a user out of a channel.").or(CHANGE_ONE),
    route(Action::Notes, "GET", "/api/v1/notes", "notes", "List the notes by id, without their data.").query(RECORDS).answers("Notes").or(LOCAL),
    route(Action::Note, "GET", "/api/v1/notes/{note_id}", "notes", "Show a note.").answers("Note").or(LOCAL_ONE),
    route(Action::PutNote, "PUT", "/api/v1/notes/{note_id}", "notes", "Make a note, or replace one.")
        .more("The note as it was becomes a version. Who has it open gets `events:note`; who may no longer read it leaves.")
        .takes(Body::Json("PutNote")).makes("Note").or(CHANGE),
    route(Action::PatchNote, "PATCH", "/api/v1/notes/{note_id}", "notes", "Change some fields of a note.")
        .more("`data` and `meta` are merged field by field, other fields replaced; null and what is absent change nothing.")
        .takes(Body::Json("PatchNote")).answers("Note").or(CHANGE_ONE),
    route(Action::DeleteNote, "DELETE", "/api/v1/notes/{note_id}", "notes", "Delete a note and its versions; everybody leaves its room.").or(CHANGE_ONE),
    route(Action::Versions, "GET", "/api/v1/notes/{note_id}/versions", "notes", "List the last ten earlier states of a note, oldest first.")
        .more("A change by a backend always makes one; edits in browsers make one a minute, and one whenever more than half of the text goes.")
        .answers("Versions").or(LOCAL_ONE),
    route(Action::RestoreVersion, "POST", "/api/v1/notes/{note_id}/versions/{version}/restore", "notes", "Make an earlier state of a note the present one.")
        .more("The present one becomes a version.").answers("Note").or(CHANGE_ONE),
    route(Action::Chats, "GET", "/api/v1/chats", "chats", "List the chats by id, without their messages.").query(CHATS).answers("Chats").or(LOCAL),
    route(Action::Chat, "GET", "/api/v1/chats/{chat_id}", "chats", "Show a chat without its messages.").answers("Chat").or(LOCAL_ONE),
    route(Action::PutChat, "PUT", "/api/v1/chats/{chat_id}", "chats", "Make a chat, or replace one; its messages stay.")
        .more("Ids that begin with `temporary:`, `local:` or `channel:` are not of saved chats. Who may no longer read it leaves its room.")
        .takes(Body::Json("PutChat")).makes("Chat").or(CHANGE),
    route(Action::DeleteChat, "DELETE", "/api/v1/chats/{chat_id}", "chats", "Delete a chat and its messages; everybody leaves its room.").or(CHANGE_ONE),
    route(Action::Messages, "GET", "/api/v1/chats/{chat_id}/messages", "chats", "List a chat's messages by id.")
        .query(RECORDS).answers("ChatMessages").or(LOCAL_ONE),
    route(Action::Message, "GET", "/api/v1/chats/{chat_id}/messages/{message_id}", "chats", "Show a message.").answers("ChatMessage").or(LOCAL_ONE),
    route(Action::PutMessage, "PUT", "/api/v1/chats/{chat_id}/messages/{message_id}", "chats", "Make a message, or replace one.")
        .takes(Body::Json("PutMessage")).makes("ChatMessage").or(CHANGE_ONE),
    route(Action::DeleteMessage, "DELETE", "/api/v1/chats/{chat_id}/messages/{message_id}", "chats", "Delete a message.").or(CHANGE_ONE),
    route(Action::Backup, "GET", "/api/v1/backup", "siskin", "Download a consistent copy of the store.")
        .more("Put it into SISKIN_DATA_DIR as siskin.redb while siskin is stopped to restore it.")
        .answers(FILE).or(CHANGE),
    route(Action::Status, "GET", "/api/v1/status", "siskin", "Show how this instance is doing.")
        .answers("Status"),
    route(Action::Log, "GET", "/api/v1/log", "siskin", "Show the last log lines, at most 200.")
        .query(&[param("after", "LineNumber", "Only lines with a higher number.")])
        .answers("Log"),
    route(Action::OpenApi, "GET", "/api/v1/openapi.json", "siskin", "Show this description.")
        .answers("OpenApi"),
];

/// What a path and a method lead to.
pub enum Found {
    /// With the path's parameters, decoded, in order.
    Route(&'static Route, Result<Vec<String>, Problem>),
    /// The path takes these methods.
    OtherMethod(String),
    Nothing,
}

impl Found {
    pub fn problem(self) -> Problem {
        match self {
            Self::OtherMethod(allow) => {
                let problem = Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("This takes {allow}."),
                );
                match HeaderValue::from_str(&allow) {
                    Ok(allow) => problem.with(header::ALLOW, allow),
                    Err(_) => problem,
                }
            }
            _ => Problem::missing(
                "There is no such path; /api/v1/openapi.json describes those there are.",
            ),
        }
    }
}

pub fn find(method: &str, path: &str) -> Found {
    let here: Vec<&'static Route> = ROUTES
        .iter()
        .filter(|route| matches(route.path, path))
        .collect();
    if here.is_empty() {
        return Found::Nothing;
    }
    match here.iter().find(|route| route.method == method) {
        Some(route) => Found::Route(route, parameters(route.path, path)),
        None => Found::OtherMethod(
            here.iter()
                .map(|route| route.method)
                .collect::<Vec<_>>()
                .join(", "),
        ),
    }
}

/// The name of a `{name}` segment.
pub fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/');
    let fits = |segment: &str| match (path.next(), parameter(segment)) {
        (Some(given), Some(_)) => !given.is_empty(),
        (given, None) => given == Some(segment),
        (None, _) => false,
    };
    pattern.split('/').all(fits) && path.next().is_none()
}

fn parameters(pattern: &str, path: &str) -> Result<Vec<String>, Problem> {
    let pairs = pattern.split('/').zip(path.split('/'));
    let given = pairs.filter_map(|(segment, given)| Some((parameter(segment)?, given)));
    given
        .map(|(name, given)| input::segment(name, given))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        match find(method, path) {
            Found::Route(route, Ok(path)) => format!("{:?} {path:?}", route.action),
            Found::Route(_, Err(problem)) => problem.status.as_str().to_owned(),
            Found::OtherMethod(allow) => allow,
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn paths_lead_where_the_table_says() {
        assert_eq!(found("POST", "/api/v1/emit"), "Emit []");
        assert_eq!(
            found("POST", "/api/v1/rooms/channel:a%2Fb%20c/enter"),
            r#"EnterRoom ["channel:a/b c"]"#
        );
        assert_eq!(found("GET", "/api/v1/rooms/%C3%9F+"), r#"Room ["ß+"]"#);
        assert_eq!(found("PUT", "/api/v1/rooms/x"), "GET, DELETE");
        for path in [
            "/api/v1/",
            "/api/v1/emit/",
            "/api/v1/rooms//enter",
            "/api/v1/rooms/",
            "/api/v1/rooms/a/b/c",
            "/api/v1/{room}",
        ] {
            assert_eq!(found("GET", path), "nothing", "{path}");
        }
        for path in ["%", "%4", "%zz", "%ff", "%00", "a%0a"] {
            assert_eq!(
                found("GET", &format!("/api/v1/rooms/{path}")),
                "422",
                "{path}"
            );
        }
    }
}
