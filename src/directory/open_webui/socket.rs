//! A Socket.IO connection to Open WebUI over a websocket: as a client of its, in the name of one user.
//!
//! - [`Sockets`]: where it is, and what is said when it can't be reached
//! - [`Link`]: one connection

use super::client::{UpstreamError, host};
use super::watch::Watch;
use crate::config::HttpUrl;
use crate::ground::net::dial;
use crate::ground::tasks::within;
use crate::socket::{Args, Kind, Packet, Peer};
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_lite::StreamExt as _;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use smol::Async;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

/// The largest packet from Open WebUI that is taken, in bytes, its attachments included.
const MAX_MESSAGE: usize = 16 << 20;
/// How long something that is sent may wait until Open WebUI takes it.
const SEND: Duration = Duration::from_secs(30);
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long it may be silent until it has said so itself.
const SILENCE: Duration = Duration::from_secs(60);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where Open WebUI's socket is.
pub struct Sockets {
    url: HttpUrl,
    watch: Rc<Watch>,
    /// It was said that it takes no websocket.
    said: Cell<bool>,
}

/// Why there is no connection any more, or none was made.
pub enum SocketError {
    /// Websockets are not served there: answered with this status.
    NoWebsocket(u16),
    /// It was ended, as that of somebody whose token is good no more.
    Disconnected,
    Failed(UpstreamError),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWebsocket(status) => write!(f, "its socket: answered with {status}"),
            Self::Disconnected => f.write_str("Open WebUI disconnected it"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl SocketError {
    pub fn failed(why: &dyn fmt::Display) -> Self {
        Self::Failed(UpstreamError(format!("its socket: {why}")))
    }

    /// Nothing came in time.
    pub fn late(limit: Duration) -> Self {
        Self::failed(&format_args!("no answer within {} s", limit.as_secs()))
    }

    fn closed() -> Self {
        Self::Failed(UpstreamError("its socket was closed".into()))
    }
}

impl Sockets {
    pub fn new(url: HttpUrl, watch: Rc<Watch>) -> Rc<Self> {
        let said = Cell::new(false);
        Rc::new(Self { url, watch, said })
    }

    /// Whether nobody need try.
    pub fn is_away(&self) -> bool {
        self.watch.is_away()
    }

    /// Opens a connection that shows this token, for a client that came like this. Signed in or not, Open WebUI lets it
    /// in. The caller limits the time.
    pub async fn open(
        &self,
        token: Option<&str>,
        client: Option<Peer>,
    ) -> Result<Link, SocketError> {
        let stream = dial(&self.url.host, self.url.port).await;
        let stream = stream.map_err(|e| SocketError::failed(&e))?;
        let bound = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let opened = client_async_with_config(self.request(client)?, stream, Some(bound)).await;
        let (socket, _) = opened.map_err(refused)?;
        self.said.set(false);
        let mut link = Link {
            socket,
            sid: String::new(),
            silence: SILENCE,
            partial: None,
        };
        let auth = token.map(|token| json!({ "token": token }).to_string());
        link.send(format!("40{}", auth.unwrap_or_default()), Vec::new())
            .await?;
        while link.sid.is_empty() {
            let received = link.next().await?;
            link.answer(&received).await?;
        }
        Ok(link)
    }

    fn request(&self, client: Option<Peer>) -> Result<Request, SocketError> {
        let (host, path) = (host(&self.url), &self.url.path);
        let address = format!("ws://{host}{path}/ws/socket.io/?EIO=4&transport=websocket");
        let mut request = address.into_client_request().map_err(refused)?;
        if let Some(client) = client {
            let headers = request.headers_mut();
            if let Ok(address) = HeaderValue::from_str(&client.address.to_string()) {
                headers.insert(FORWARDED_FOR, address);
            }
            let scheme = if client.https { "https" } else { "http" };
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        }
        Ok(request)
    }

    /// Says in the log that it could not be reached, or broke off.
    pub fn log_failure(&self, error: SocketError) {
        match error {
            SocketError::Failed(error) => self.watch.check(Some(error)),
            SocketError::NoWebsocket(status) if !self.said.replace(true) => log::warn!(
                "Open WebUI at {} takes no websocket ({status}): events that siskin does not know, and read receipts, can't be handed to it; it needs ENABLE_WEBSOCKET_SUPPORT=true, and a proxy before it has to hand on /ws/socket.io",
                self.url
            ),
            SocketError::NoWebsocket(_) | SocketError::Disconnected => {}
        }
    }
}

/// Why the handshake came to nothing.
fn refused(error: Error) -> SocketError {
    match error {
        Error::Http(answer) if answer.status().is_client_error() => {
            SocketError::NoWebsocket(answer.status().as_u16())
        }
        Error::Http(answer) => {
            let status = answer.status();
            let more = match status.is_redirection() {
                true => ", and redirects are not followed",
                false => "",
            };
            SocketError::failed(&format_args!("answered with {}{more}", status.as_u16()))
        }
        error => SocketError::failed(&error),
    }
}

/// A connection.
pub struct Link {
    socket: WebSocketStream<Async<TcpStream>>,
    /// Open WebUI's name for it.
    pub sid: String,
    /// After how long without a word it is taken for dead.
    silence: Duration,
    /// A packet whose attachments are not all here.
    partial: Option<(String, usize, Vec<Vec<u8>>)>,
}

/// What Open WebUI says.
pub enum Received {
    /// It wants to know whether we are here: to be [answered](Link::answer).
    Ping,
    /// A whole Socket.IO packet, and its attachments.
    Packet(String, Vec<Vec<u8>>),
    /// Nothing that matters.
    Nothing,
}

/// What a packet is.
pub enum Said<'a> {
    /// An event, and the id of the ack that is asked for.
    Event(Cow<'a, str>, Args<'a>, Option<u64>),
    Ack(u64, Args<'a>),
}

impl Link {
    /// The next that Open WebUI says. Whoever stops waiting misses nothing.
    pub async fn next(&mut self) -> Result<Received, SocketError> {
        let message = within(self.silence, self.socket.next()).await;
        match message.ok_or_else(|| SocketError::late(self.silence))? {
            Some(Ok(Message::Text(text))) => self.text(text.as_str()),
            Some(Ok(Message::Binary(data))) => self.attachment(&data),
            Some(Ok(Message::Close(_))) | None => Err(SocketError::closed()),
            Some(Ok(_)) => Ok(Received::Nothing),
            Some(Err(e)) => Err(SocketError::failed(&e)),
        }
    }

    fn text(&mut self, text: &str) -> Result<Received, SocketError> {
        match text.split_at_checked(1) {
            Some(("0", open)) => self.opened(open),
            Some(("2", _)) => Ok(Received::Ping),
            Some(("4", packet)) => self.packet(packet),
            Some(("6", _)) => Ok(Received::Nothing),
            _ => Err(SocketError::closed()),
        }
    }

    /// Engine.IO's first packet: how often it asks whether we are here.
    fn opened(&mut self, open: &str) -> Result<Received, SocketError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Open {
            ping_interval: u64,
            ping_timeout: u64,
        }
        let Ok(open) = serde_json::from_str::<Open>(open) else {
            return Err(stranger());
        };
        let silence = open.ping_interval.saturating_add(open.ping_timeout);
        // A tenth of a second is for tests; a day is for ever.
        self.silence = Duration::from_millis(silence.clamp(100, 86_400_000));
        Ok(Received::Nothing)
    }

    fn packet(&mut self, text: &str) -> Result<Received, SocketError> {
        if self.partial.is_some() {
            return Err(stranger());
        }
        let packet = Packet::decode(text).map_err(|_| stranger())?;
        if packet.nsp != "/" {
            return Ok(Received::Nothing);
        }
        match packet.kind {
            Kind::Connect => {
                #[derive(Deserialize)]
                struct Connected {
                    sid: String,
                }
                let connected = serde_json::from_str(packet.data);
                let Connected { sid } = connected.map_err(|_| stranger())?;
                self.sid = sid;
                Ok(Received::Nothing)
            }
            Kind::Disconnect => Err(SocketError::Disconnected),
            Kind::Event | Kind::Ack if packet.attachments > 0 => {
                let missing = packet.attachments;
                self.partial = Some((text.to_owned(), missing, Vec::new()));
                Ok(Received::Nothing)
            }
            Kind::Event | Kind::Ack => Ok(Received::Packet(text.to_owned(), Vec::new())),
        }
    }

    fn attachment(&mut self, data: &[u8]) -> Result<Received, SocketError> {
        let (text, missing, attachments) = self.partial.as_mut().ok_or_else(stranger)?;
        let bytes = text.len() + attachments.iter().map(Vec::len).sum::<usize>();
        if bytes + data.len() > MAX_MESSAGE {
            return Err(SocketError::failed(&"attachments without an end"));
        }
        attachments.push(data.to_vec());
        *missing -= 1;
        match (*missing, self.partial.take()) {
            (0, Some((text, _, attachments))) => Ok(Received::Packet(text, attachments)),
            (_, partial) => {
                self.partial = partial;
                Ok(Received::Nothing)
            }
        }
    }

    /// Answers a ping.
    pub async fn answer(&mut self, received: &Received) -> Result<(), SocketError> {
        match received {
            Received::Ping => self.send("3".into(), Vec::new()).await,
            _ => Ok(()),
        }
    }

    /// Sends an Engine.IO message, and the attachments of the packet in it.
    pub async fn send(
        &mut self,
        text: String,
        attachments: Vec<Vec<u8>>,
    ) -> Result<(), SocketError> {
        let all = async {
            self.socket.send(Message::text(text)).await?;
            for data in attachments {
                self.socket.send(Message::binary(data)).await?;
            }
            Ok(())
        };
        let sent = within(SEND, all).await;
        let sent = sent.ok_or_else(|| SocketError::late(SEND))?;
        sent.map_err(|e: Error| SocketError::failed(&e))
    }

    /// Waits for the answer to a call with this id, or for an event of this name: what comes before it is dropped. The
    /// caller limits the time.
    pub async fn wait_for(&mut self, fits: impl Fn(&Said<'_>) -> bool) -> Result<(), SocketError> {
        loop {
            let received = self.next().await?;
            self.answer(&received).await?;
            if let Received::Packet(text, attachments) = received
                && fits(&read(&text, attachments)?)
            {
                return Ok(());
            }
        }
    }

    /// Says goodbye. That this fails is no failure.
    pub async fn close(mut self) {
        let goodbye = async {
            let _ = self.send("41".into(), Vec::new()).await;
            let _ = self.socket.close(None).await;
        };
        within(GOODBYE, goodbye).await;
    }
}

/// Reads a packet.
pub fn read(text: &str, attachments: Vec<Vec<u8>>) -> Result<Said<'_>, SocketError> {
    let packet = Packet::decode(text).map_err(|_| stranger())?;
    match (packet.kind, packet.id) {
        (Kind::Event, id) => {
            let (name, args) = Packet::event(packet.data).map_err(|_| stranger())?;
            Ok(Said::Event(name, with(args, attachments)?, id))
        }
        (Kind::Ack, Some(id)) => {
            let args = Packet::ack(packet.data).map_err(|_| stranger())?;
            Ok(Said::Ack(id, with(args, attachments)?))
        }
        _ => Err(stranger()),
    }
}

/// A client would take a placeholder without its attachment for a breach of the protocol.
fn with(args: &str, attachments: Vec<Vec<u8>>) -> Result<Args<'_>, SocketError> {
    let args = Args::from_json(args).with_attachments(attachments);
    match args.attachments().is_empty() || args.placeholders_fit() {
        true => Ok(args),
        false => Err(stranger()),
    }
}

fn stranger() -> SocketError {
    SocketError::failed(&"it does not speak Socket.IO")
}
