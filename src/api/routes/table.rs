//! The table of the API: every method of every path.
//!
//! A row is the function that answers, `now` or `later` (it is async), what the router needs to know ([`Route`](super::route::Route)), and what the
//! OpenAPI document says besides: the operation's name, its tag, one sentence, the schema of the answer, and the problems
//! beside those that the key, the path, the query and the body can have. The router takes the first two of it
//! ([`routes`](super)), the build script the last two (`src/build/openapi.rs`).

use super::route::Body::{Json, Lines};
use super::route::{Param, param, required, route};

const MESSAGE: &[Param] = &[
    required("user_id", "Id", "The user whose chat it is."),
    required(
        "chat_id",
        "Id",
        "The chat; one that begins with `temporary:` or `local:` is never saved, `channel:` and an id means a channel.",
    ),
    param(
        "message_id",
        "Id",
        "The message; without it nothing is saved.",
    ),
    param(
        "session_id",
        "Id",
        "The session that asked for the answer: it gets no copy as one of those who have the chat open.",
    ),
    param("save", "Flag", "`false` emits and saves nothing."),
    param(
        "internal",
        "Flag",
        "`true` marks the events, and keeps notifications and copies for others back.",
    ),
];

const READ: &[Param] = &[
    required("chat_id", "Id", "The chat; none of a channel."),
    required("message_id", "Id", "The message that is the answer."),
    param(
        "user_id",
        "Id",
        "With the key: the user whose chat it is. Of a chat that is saved here it may be left out.",
    ),
    param(
        "after",
        "Offset",
        "Go on behind the event with this `id`; the header `Last-Event-ID` wins.",
    ),
];

const PAGE: &[Param] = &[
    param("user_id", "Id", "Only sessions of this user."),
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Sid", "Continue behind this one."),
    param(
        "gone",
        "Flag",
        "`true`: those that have ended instead, the last 100, the latest first, each with when and why.",
    ),
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

const CHATS: &[Param] = &[
    param("user_id", "Id", "Only chats of this user."),
    param("limit", "Limit", "At most so many; 1000 if absent."),
    param("after", "Id", "Continue behind the one with this id."),
];

routes! {
    later emit::emit => route("POST", "/api/v1/emit").takes(Json("Emit")),
        words("Emit", "events", "Emit an event to a user, a room or a session.")
            .more("It reaches all sessions on all instances, except those in `skip_sid`. Nobody there is no error.")
            .answers("Delivered");
    later chat::event => route("POST", "/api/v1/chat/event").takes(Json("ChatEvent")),
        words("ChatEvent", "events", "Emit an event of a chat's message to its user, then save it by type.")
            .more("Types that are saved: status, message, replace, embeds, files, source, citation. An event that can't be saved is emitted nevertheless; `saved` says so. Others who have a saved chat open get a copy of what concerns them; a `chat_id` that is `channel:` and an id updates the channel's message instead.")
            .answers("Emitted");
    later chat::stream => route("POST", "/api/v1/chat/stream").query(MESSAGE).takes(Lines("Event")),
        words("ChatStream", "events", "Emit a whole answer: one event a line, each the moment it arrives.")
            .more("Keep the request open and write a line whenever there is something to say. A line that is no event is skipped and named in the reply. Empty lines mean nothing and can keep the connection alive.")
            .answers("Streamed");
    later reading::read => route("GET", "/api/v1/chat/stream").query(READ).users(),
        words("ReadChatStream", "events", "Read an answer: what there is of it, then each event as it is emitted, as server-sent events.")
            .more("First comes `event: start`: with `resumed` true nothing was missed since `after`; else begin anew, with the `message` as it is saved, or null, and `events`, those that siskin still has and does not save. Each further event is one of the message, as `/chat/event` describes it, with its `id`. `event: end` says that no more comes, and why: `done` or `silent`, after five minutes. A connection that ends without it was lost: come back with the last `id`. A comment comes every 15 seconds. With a user's token in place of the key it is for who may read the chat, and of a chat that is not saved for whom it is; 16 at a time.")
            .answers(EVENTS).or(&[404, 429, 503]);
    later call::call => route("POST", "/api/v1/chat/call").takes(Json("Call")),
        words("ChatCall", "events", "Ask one browser and wait for its answer.")
            .more("The answer is what the browser acknowledges. It waits at most WEBSOCKET_EVENT_CALLER_TIMEOUT.")
            .answers("Called").or(&[404, 409, 410, 504]);
    now rooms::list => route("GET", "/api/v1/rooms").query(ROOMS),
        words("Rooms", "rooms", "List the rooms that have a member on this instance, by name.").answers("Rooms");
    now rooms::one => route("GET", "/api/v1/rooms/{room}"),
        words("Room", "rooms", "List the sessions and users in a room, on this instance.").answers("Room");
    now rooms::close => route("DELETE", "/api/v1/rooms/{room}"),
        words("CloseRoom", "rooms", "Make everybody leave a room.")
            .more("The rooms of one user or one session can't be closed.")
            .or(&[409]);
    later rooms::enter => route("POST", "/api/v1/rooms/{room}/enter").takes(Json("UserIds")),
        words("EnterRoom", "rooms", "Make all sessions of these users enter a room.")
            .more("When it answers, sessions of this instance can miss nothing any more; those of others enter a moment later. The rooms of one user or one session are not to be entered.")
            .answers("Members").or(&[409]);
    later rooms::leave => route("POST", "/api/v1/rooms/{room}/leave").takes(Json("UserIds")),
        words("LeaveRoom", "rooms", "Make all sessions of these users leave a room.").answers("Members").or(&[409]);
    now sessions::list => route("GET", "/api/v1/sessions").query(PAGE),
        words("Sessions", "sessions", "List the sessions on this instance, in the order of their sids.")
            .answers("Sessions");
    now sessions::one => route("GET", "/api/v1/sessions/{sid}"),
        words("Session", "sessions", "Show a session of this instance.").answers("Session").or(&[404]);
    later sessions::end => route("DELETE", "/api/v1/sessions/{sid}"),
        words("EndSession", "sessions", "Disconnect a session.").or(&[404]);
    later sessions::end_of_user => route("DELETE", "/api/v1/users/{user_id}/sessions"),
        words("EndUserSessions", "sessions", "Disconnect all sessions of a user.")
            .more("Each is told `access:updated` first, so that the page signs in again.")
            .answers("Disconnected");
    later models::list => route("GET", "/api/v1/models"),
        words("Models", "models", "List the models in use.").answers("Models");
    now streams::open => route("PUT", "/api/v1/streams/{stream}"),
        words("OpenStream", "streams", "Open a stream, before a client is asked to feed it.")
            .more("A client that answers for a model itself (`request:chat:completion`) sends its answer as events named `{user}:{session}:{request}`. Only that user can feed it. A stream from which nobody takes for two minutes is closed.")
            .or(&[503]);
    later streams::take => route("GET", "/api/v1/streams/{stream}").query(&[param("wait", "Wait", "Seconds to wait for the first event; 20 if absent.")]),
        words("TakeStream", "streams", "Take what has come on a stream, waiting for the first event.")
            .more("Each event is given once, in the order they came; no event means that nothing came in time.")
            .answers("StreamEvents").or(&[404, 410]);
    now streams::close => route("DELETE", "/api/v1/streams/{stream}"),
        words("CloseStream", "streams", "Close a stream.").or(&[404]);
    now users::list => route("GET", "/api/v1/users").query(RECORDS),
        words("Users", "users", "List the users by id.").answers("Users").or(LOCAL);
    now users::one => route("GET", "/api/v1/users/{user_id}"),
        words("User", "users", "Show a user.").answers("User").or(LOCAL_ONE);
    later users::put => route("PUT", "/api/v1/users/{user_id}").takes(Json("PutUser")),
        words("PutUser", "users", "Make a user, or replace one.")
            .more("Fields that siskin doesn't know are kept. Sessions of a user whose role changes are disconnected after `access:updated`, so that the page signs in again.")
            .makes("User").or(CHANGE);
    later users::delete => route("DELETE", "/api/v1/users/{user_id}"),
        words("DeleteUser", "users", "Remove a user from the directory and from every channel, and disconnect the sessions.")
            .or(CHANGE_ONE);
    now channels::list => route("GET", "/api/v1/channels").query(RECORDS),
        words("Channels", "channels", "List the channels by id.").answers("Channels").or(LOCAL);
    now channels::one => route("GET", "/api/v1/channels/{channel_id}"),
        words("Channel", "channels", "Show a channel.").answers("Channel").or(LOCAL_ONE);
    later channels::put => route("PUT", "/api/v1/channels/{channel_id}").takes(Json("PutChannel")),
        words("PutChannel", "channels", "Make a channel, or replace one.")
            .more("`members` becomes the whole list of members; absent or null, they stay. Sessions of new members enter the channel's room at once, those of former ones leave it.")
            .makes("Channel").or(CHANGE);
    later channels::delete => route("DELETE", "/api/v1/channels/{channel_id}"),
        words("DeleteChannel", "channels", "Remove a channel; everybody leaves its room.").or(CHANGE_ONE);
    now channels::members => route("GET", "/api/v1/channels/{channel_id}/members").query(RECORDS),
        words("Members", "channels", "List a channel's members by user id.").answers("ChannelMembers").or(LOCAL_ONE);
    later channels::put_member => route("PUT", "/api/v1/channels/{channel_id}/members/{user_id}"),
        words("PutMember", "channels", "Let a user into a channel.")
            .more("The user's sessions enter the channel's room at once.")
            .or(CHANGE_ONE);
    later channels::delete_member => route("DELETE", "/api/v1/channels/{channel_id}/members/{user_id}"),
        words("DeleteMember", "channels", "Put a user out of a channel.").or(CHANGE_ONE);
    now notes::list => route("GET", "/api/v1/notes").query(RECORDS),
        words("Notes", "notes", "List the notes by id, without their data.").answers("Notes").or(LOCAL);
    later notes::one => route("GET", "/api/v1/notes/{note_id}"),
        words("Note", "notes", "Show a note.").answers("Note").or(LOCAL_ONE);
    later notes::put => route("PUT", "/api/v1/notes/{note_id}").takes(Json("PutNote")),
        words("PutNote", "notes", "Make a note, or replace one.")
            .more("The note as it was becomes a version. Who has it open gets `events:note`; who may no longer read it leaves.")
            .makes("Note").or(CHANGE);
    later notes::patch => route("PATCH", "/api/v1/notes/{note_id}").takes(Json("PatchNote")),
        words("PatchNote", "notes", "Change some fields of a note.")
            .more("`data` and `meta` are merged field by field, other fields replaced; null and what is absent change nothing.")
            .answers("Note").or(CHANGE_ONE);
    later notes::delete => route("DELETE", "/api/v1/notes/{note_id}"),
        words("DeleteNote", "notes", "Delete a note and its versions; everybody leaves its room.").or(CHANGE_ONE);
    later notes::versions => route("GET", "/api/v1/notes/{note_id}/versions"),
        words("Versions", "notes", "List the last ten earlier states of a note, oldest first.")
            .more("A change by a backend always makes one; edits in browsers make one a minute, and one whenever more than half of the text goes.")
            .answers("Versions").or(LOCAL_ONE);
    later notes::restore => route("POST", "/api/v1/notes/{note_id}/versions/{version}/restore"),
        words("RestoreVersion", "notes", "Make an earlier state of a note the present one.")
            .more("The present one becomes a version.")
            .answers("Note").or(CHANGE_ONE);
    now chats::list => route("GET", "/api/v1/chats").query(CHATS),
        words("Chats", "chats", "List the chats by id, without their messages.").answers("Chats").or(LOCAL);
    now chats::one => route("GET", "/api/v1/chats/{chat_id}"),
        words("Chat", "chats", "Show a chat without its messages.").answers("Chat").or(LOCAL_ONE);
    later chats::put => route("PUT", "/api/v1/chats/{chat_id}").takes(Json("PutChat")),
        words("PutChat", "chats", "Make a chat, or replace one; its messages stay.")
            .more("Ids that begin with `temporary:`, `local:` or `channel:` are not of saved chats. Who may no longer read it leaves its room.")
            .makes("Chat").or(CHANGE);
    later chats::delete => route("DELETE", "/api/v1/chats/{chat_id}"),
        words("DeleteChat", "chats", "Delete a chat and its messages; everybody leaves its room.").or(CHANGE_ONE);
    now chats::messages => route("GET", "/api/v1/chats/{chat_id}/messages").query(RECORDS),
        words("Messages", "chats", "List a chat's messages by id.").answers("ChatMessages").or(LOCAL_ONE);
    now chats::message => route("GET", "/api/v1/chats/{chat_id}/messages/{message_id}"),
        words("Message", "chats", "Show a message.").answers("ChatMessage").or(LOCAL_ONE);
    later chats::put_message => route("PUT", "/api/v1/chats/{chat_id}/messages/{message_id}").takes(Json("PutMessage")),
        words("PutMessage", "chats", "Make a message, or replace one.").makes("ChatMessage").or(CHANGE_ONE);
    later chats::delete_message => route("DELETE", "/api/v1/chats/{chat_id}/messages/{message_id}"),
        words("DeleteMessage", "chats", "Delete a message.").or(CHANGE_ONE);
    later backup::backup => route("GET", "/api/v1/backup"),
        words("Backup", "siskin", "Download a consistent copy of the store.")
            .more("Put it into SISKIN_DATA_DIR as siskin.redb while siskin is stopped to restore it.")
            .answers(FILE).or(CHANGE);
    now status::status => route("GET", "/api/v1/status"),
        words("Status", "siskin", "Show how this instance is doing.").answers("Status");
    now status::log => route("GET", "/api/v1/log").query(&[param("after", "LineNumber", "Only lines with a higher number.")]),
        words("Log", "siskin", "Show the last log lines, at most 200.").answers("Log");
    now openapi::document => route("GET", "/api/v1/openapi.json").open(),
        words("OpenApi", "siskin", "Show this description.").answers("OpenApi");
}
