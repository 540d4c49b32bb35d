//! Messages between instances as JSON: those of python-socketio's manager (redis.md, Socket.IO backplane), two of ours.
//!
//! - `siskin:here` tells the asker of a call which instance has its socket, so that it can look after that instance
//! - `siskin:gone` tells it that the socket went without an answer
//! - `siskin:notice` tells all of ours what [`Notice`] says
//!
//! The first two are addressed to `host_id` as `callback` is; python-socketio passes over methods that it doesn't know.

mod large;
mod notice;

use crate::ground::json::push_quoted;
use crate::socket::{Args, MAX_ATTACHMENTS, Target, To, is_reserved};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;

pub use large::decode_large;
pub use notice::{Notice, notice_message};

/// A message of another instance.
#[derive(Debug, PartialEq)]
pub enum PeerMessage<'a> {
    Emit(Emit<'a>),
    Callback(Callback<'a>),
    Disconnect {
        sid: Cow<'a, str>,
        nsp: Cow<'a, str>,
    },
    Enter {
        sid: Cow<'a, str>,
        room: Cow<'a, str>,
    },
    Leave {
        sid: Cow<'a, str>,
        room: Cow<'a, str>,
    },
    Close {
        nsp: Cow<'a, str>,
        room: Cow<'a, str>,
    },
    /// The host that has the socket of a call of ours.
    Here {
        id: u64,
        host: Cow<'a, str>,
    },
    /// The socket of a call of ours went.
    Gone {
        id: u64,
    },
    /// What another of ours says to all.
    Notice {
        host: Cow<'a, str>,
        notice: Notice<'a>,
    },
    /// Ours, somebody else's answer, or for a room that nobody of ours can be in.
    NotForUs,
}

#[derive(Debug, PartialEq)]
pub struct Emit<'a> {
    pub host: Option<Cow<'a, str>>,
    pub event: Cow<'a, str>,
    pub args: Args<'a>,
    pub nsp: Cow<'a, str>,
    /// `None`: everybody.
    pub rooms: Option<Vec<Cow<'a, str>>>,
    pub except: Vec<Cow<'a, str>>,
    pub reply: Option<ReplyTo<'a>>,
}

/// Where the ack of an emit goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyTo<'a> {
    pub host: Cow<'a, str>,
    /// As the asker gave them, with its id: they mean something to it alone.
    pub room: Cow<'a, str>,
    pub nsp: Cow<'a, str>,
    pub id: u64,
    /// Whether the answer of a socket that is away is waited for; else whoever asks looks for another one.
    pub waits: bool,
}

/// What an emit of ours asks for.
#[derive(Clone, Copy)]
pub struct Call {
    pub id: u64,
    pub waits: bool,
}

impl ReplyTo<'_> {
    pub fn into_owned(self) -> ReplyTo<'static> {
        ReplyTo {
            host: Cow::Owned(self.host.into_owned()),
            room: Cow::Owned(self.room.into_owned()),
            nsp: Cow::Owned(self.nsp.into_owned()),
            id: self.id,
            waits: self.waits,
        }
    }
}

#[derive(Debug, PartialEq)]
pub struct Callback<'a> {
    pub id: u64,
    pub args: Args<'a>,
}

/// Why a message is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage(pub &'static str);

/// All fields of all methods, unparsed.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    host_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    binary: bool,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    skip_sid: Option<&'a RawValue>,
    #[serde(borrow)]
    callback: Option<&'a RawValue>,
    #[serde(borrow)]
    sid: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    attachments: Option<&'a RawValue>,
    #[serde(borrow)]
    by: Option<&'a RawValue>,
    #[serde(borrow)]
    notice: Option<&'a RawValue>,
    #[serde(default)]
    elsewhere: bool,
}

/// Reads a message; `me` is this instance's host id.
///
/// # Errors
/// What is wrong with it.
pub fn decode<'a>(bytes: &'a [u8], me: &str) -> Result<PeerMessage<'a>, BadMessage> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadMessage("UTF-8"))?;
    let fields: Fields<'a> = serde_json::from_str(text).map_err(|_| BadMessage("JSON"))?;
    let host = fields.host_id.and_then(string);
    let ours = host.as_deref() == Some(me);
    let addressed = matches!(&*fields.method, "callback" | "siskin:here" | "siskin:gone");
    if ours != addressed {
        return Ok(PeerMessage::NotForUs);
    }
    let sid = || fields.sid.and_then(string).ok_or(BadMessage("sid"));
    let nsp = || {
        fields
            .namespace
            .and_then(string)
            .unwrap_or(Cow::Borrowed("/"))
    };
    let id = || fields.id.and_then(read).ok_or(BadMessage("id"));
    let room = || fields.room.and_then(string).ok_or(BadMessage("room"));
    Ok(match &*fields.method {
        "emit" => return emit(&fields, host, nsp()),
        "callback" => PeerMessage::Callback(Callback {
            id: id()?,
            args: answer(&fields)?,
        }),
        "disconnect" => PeerMessage::Disconnect {
            sid: sid()?,
            nsp: nsp(),
        },
        "enter_room" => PeerMessage::Enter {
            sid: sid()?,
            room: room()?,
        },
        "leave_room" => PeerMessage::Leave {
            sid: sid()?,
            room: room()?,
        },
        "close_room" => PeerMessage::Close {
            nsp: nsp(),
            room: room()?,
        },
        "siskin:here" => PeerMessage::Here {
            id: id()?,
            host: fields.by.and_then(string).ok_or(BadMessage("by"))?,
        },
        "siskin:gone" => PeerMessage::Gone { id: id()? },
        "siskin:notice" => PeerMessage::Notice {
            host: host.ok_or(BadMessage("host_id"))?,
            notice: fields.notice.and_then(read).ok_or(BadMessage("notice"))?,
        },
        _ => return Err(BadMessage("method")),
    })
}

fn emit<'a>(
    fields: &Fields<'a>,
    host: Option<Cow<'a, str>>,
    nsp: Cow<'a, str>,
) -> Result<PeerMessage<'a>, BadMessage> {
    let rooms = match fields.room.map(RawValue::get) {
        None | Some("null") => None,
        Some(_) => match fields.room.and_then(strings) {
            Some(rooms) => Some(rooms),
            // Python's rooms may be anything; ours are text.
            None => return Ok(PeerMessage::NotForUs),
        },
    };
    let except = fields.skip_sid.and_then(strings).unwrap_or_default();
    let args = match fields.data {
        None => Args::none(),
        Some(data) if fields.binary => with_attachments(data)?,
        Some(data) => arguments(data),
    };
    let event = fields.event.and_then(string).ok_or(BadMessage("event"))?;
    // It would mean something to the client's library.
    if is_reserved(&event) {
        return Err(BadMessage("reserved event name"));
    }
    let reply = reply_to(fields, host.clone())?;
    Ok(PeerMessage::Emit(Emit {
        host,
        event,
        args,
        nsp,
        rooms,
        except,
        reply,
    }))
}

fn reply_to<'a>(
    fields: &Fields<'a>,
    host: Option<Cow<'a, str>>,
) -> Result<Option<ReplyTo<'a>>, BadMessage> {
    let Some(callback) = fields.callback.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let parts: (&RawValue, &RawValue, u64) = read(callback).ok_or(BadMessage("callback"))?;
    let (room, nsp) = (string(parts.0), string(parts.1));
    Ok(Some(ReplyTo {
        host: host.ok_or(BadMessage("host_id"))?,
        room: room.ok_or(BadMessage("callback"))?,
        nsp: nsp.ok_or(BadMessage("callback"))?,
        id: parts.2,
        waits: !fields.elsewhere,
    }))
}

/// The arguments that `data` stands for. A lone null is how Python says that there are none.
fn arguments(data: &RawValue) -> Args<'_> {
    let text = data.get();
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) if inner.trim() == "null" => Args::none(),
        Some(inner) => Args::from_json(inner.trim()),
        None => Args::from_json(text),
    }
}

/// `[arguments with placeholders, base64, ...]`.
fn with_attachments(data: &RawValue) -> Result<Args<'_>, BadMessage> {
    let parts: Vec<&RawValue> = read(data).ok_or(BadMessage("binary data"))?;
    let Some((args, attachments)) = parts.split_first() else {
        return Err(BadMessage("binary data"));
    };
    attach(arguments(args), attachments)
}

/// A callback's arguments; `attachments` beside them is ours, python-socketio has none there.
fn answer<'a>(fields: &Fields<'a>) -> Result<Args<'a>, BadMessage> {
    let args = fields.args.ok_or(BadMessage("args"))?;
    let inner = args
        .get()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let args = Args::from_json(inner.ok_or(BadMessage("args"))?.trim());
    match fields.attachments {
        None => Ok(args),
        Some(raw) => attach(
            args,
            &read::<Vec<&RawValue>>(raw).ok_or(BadMessage("attachments"))?,
        ),
    }
}

fn attach<'a>(args: Args<'a>, attachments: &[&RawValue]) -> Result<Args<'a>, BadMessage> {
    let placeholders = args.json().matches("\"_placeholder\"").count();
    if attachments.len() > MAX_ATTACHMENTS || placeholders < attachments.len() {
        return Err(BadMessage("attachments"));
    }
    let bytes = |raw: &&RawValue| BASE64.decode(string(raw)?.as_bytes()).ok();
    let decoded: Option<Vec<Vec<u8>>> = attachments.iter().map(bytes).collect();
    let args = args.with_attachments(decoded.ok_or(BadMessage("base64"))?);
    match args.placeholders_fit() {
        true => Ok(args),
        false => Err(BadMessage("attachments")),
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// A JSON string, borrowed when nothing in it is escaped.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(Cow::Borrowed(inner)),
        true => read(raw).map(Cow::Owned),
    }
}

/// A string, or a list of strings.
fn strings(raw: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    match string(raw) {
        Some(one) => Some(vec![one]),
        None => read::<Vec<&RawValue>>(raw)?
            .into_iter()
            .map(string)
            .collect(),
    }
}

/// An emit of ours, with a call when its ack is wanted; the id of the host comes last, so that it is easy to know again.
pub fn emit_message(
    me: &str,
    target: &Target<'_>,
    event: &str,
    args: &Args<'_>,
    ack: Option<Call>,
) -> String {
    let mut out = String::with_capacity(args.json().len() + 256);
    out.push_str(r#"{"method":"emit","event":"#);
    push_quoted(&mut out, event);
    out.push_str(r#","data":["#);
    data(&mut out, args);
    let _ = write!(
        out,
        r#"],"binary":{},"namespace":"#,
        !args.attachments().is_empty()
    );
    push_quoted(&mut out, target.nsp);
    out.push_str(r#","room":"#);
    room(&mut out, &target.to);
    out.push_str(r#","skip_sid":"#);
    list(&mut out, target.except);
    out.push_str(r#","callback":"#);
    match ack {
        None => out.push_str("null"),
        Some(Call { id, waits }) => {
            out.push('[');
            room(&mut out, &target.to);
            out.push(',');
            push_quoted(&mut out, target.nsp);
            let _ = write!(out, ",{id}]");
            if !waits {
                out.push_str(r#","elsewhere":true"#);
            }
        }
    }
    from(&mut out, me);
    out
}

/// How every message ends that `me` sent for all the others.
pub fn tail(me: &str) -> String {
    let mut out = String::new();
    from(&mut out, me);
    out
}

fn from(out: &mut String, me: &str) {
    out.push_str(r#","host_id":"#);
    push_quoted(out, me);
    out.push('}');
}

/// The answer of a socket of ours to somebody's call.
pub fn callback_message(to: &ReplyTo<'_>, args: &Args<'_>) -> String {
    let mut out = addressed("callback", to);
    let _ = write!(out, r#","args":[{}]"#, args.json());
    if !args.attachments().is_empty() {
        out.push_str(r#","attachments":["#);
        base64(&mut out, args.attachments());
        out.push(']');
    }
    out.push('}');
    out
}

/// This instance has the socket of somebody's call.
pub fn here_message(to: &ReplyTo<'_>, me: &str) -> String {
    let mut out = addressed("siskin:here", to);
    out.push_str(r#","by":"#);
    push_quoted(&mut out, me);
    out.push('}');
    out
}

/// The socket of somebody's call went.
pub fn gone_message(to: &ReplyTo<'_>) -> String {
    addressed("siskin:gone", to) + "}"
}

fn addressed(method: &str, to: &ReplyTo<'_>) -> String {
    let mut out = format!(r#"{{"method":"{method}","host_id":"#);
    push_quoted(&mut out, &to.host);
    out.push_str(r#","sid":"#);
    push_quoted(&mut out, &to.room);
    out.push_str(r#","namespace":"#);
    push_quoted(&mut out, &to.nsp);
    let _ = write!(out, r#","id":{}"#, to.id);
    out
}

pub fn disconnect_message(me: &str, sid: &str) -> String {
    about("disconnect", me, Some(sid), None)
}

pub fn enter_message(me: &str, sid: &str, room: &str) -> String {
    about("enter_room", me, Some(sid), Some(room))
}

pub fn leave_message(me: &str, sid: &str, room: &str) -> String {
    about("leave_room", me, Some(sid), Some(room))
}

pub fn close_message(me: &str, room: &str) -> String {
    about("close_room", me, None, Some(room))
}

fn about(method: &str, me: &str, sid: Option<&str>, room: Option<&str>) -> String {
    let mut out = format!(r#"{{"method":"{method}""#);
    for (name, value) in [("sid", sid), ("room", room)] {
        if let Some(value) = value {
            let _ = write!(out, r#","{name}":"#);
            push_quoted(&mut out, value);
        }
    }
    out.push_str(r#","namespace":"/""#);
    from(&mut out, me);
    out
}

fn data(out: &mut String, args: &Args<'_>) {
    match args.attachments() {
        [] => out.push_str(args.json()),
        attachments => {
            let _ = write!(out, "[{}],", args.json());
            base64(out, attachments);
        }
    }
}

fn base64(out: &mut String, attachments: &[Vec<u8>]) {
    for (number, bytes) in attachments.iter().enumerate() {
        out.push_str(if number == 0 { "\"" } else { ",\"" });
        BASE64.encode_append(bytes, out);
        out.push('"');
    }
}

fn room(out: &mut String, to: &To<'_>) {
    match to {
        To::All => out.push_str("null"),
        To::Room(room) => push_quoted(out, room),
        To::Sid(sid) => push_quoted(out, sid.as_str()),
        To::Rooms(rooms) => {
            out.push_str(&serde_json::to_string(rooms).unwrap_or_default());
        }
    }
}

/// Nothing, one, or several, as python-socketio's `skip_sid` may be.
fn list(out: &mut String, values: &[&str]) {
    match values {
        [] => out.push_str("null"),
        [one] => push_quoted(out, one),
        several => out.push_str(&serde_json::to_string(several).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
