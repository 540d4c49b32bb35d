//! A Socket.IO session of a user at Open WebUI, for as long as delivering their read receipts takes.
//!
//! It is opened, `user-join`ed, given all receipts at once, and closed when every one was acknowledged.

use super::client::{UpstreamError, host};
use super::receipts::{Receipt, Receipts};
use crate::config::HttpUrl;
use crate::ground::net::dial;
use crate::ground::rooms;
use crate::socket::{Args, Hub, Kind, Packet, Target};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketStream, client_async_with_config};
use futures_lite::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use smol::Async;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::rc::Rc;

/// The largest message from Open WebUI that is taken, in bytes: all events of the user come along.
const MAX_MESSAGE: usize = 16 << 20;

/// Delivers a user's receipts. What Open WebUI emits to the user about them goes to `hub`, if there is one. The caller
/// limits the time.
pub async fn deliver(
    url: &HttpUrl,
    token: &str,
    receipts: &Receipts,
    hub: Option<&Rc<Hub>>,
) -> Result<(), UpstreamError> {
    let session = Session {
        socket: connect(url).await?,
        token,
        receipts,
        unacknowledged: (JOIN + 1..).take(receipts.read.len()).collect(),
        hub,
    };
    session.run().await
}

async fn connect(url: &HttpUrl) -> Result<WebSocketStream<Async<TcpStream>>, UpstreamError> {
    let stream = dial(&url.host, url.port).await.map_err(|e| failed(&e))?;
    let (host, path) = (host(url), &url.path);
    let address = format!("ws://{host}{path}/ws/socket.io/?EIO=4&transport=websocket");
    let bound = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(8 << 10);
    let opened = client_async_with_config(address, stream, Some(bound)).await;
    let (socket, _) = opened.map_err(|e| failed(&e))?;
    Ok(socket)
}

fn failed(error: &dyn std::fmt::Display) -> UpstreamError {
    UpstreamError(format!("its socket: {error}"))
}

fn closed() -> UpstreamError {
    UpstreamError("its socket was closed".into())
}

struct Session<'a> {
    socket: WebSocketStream<Async<TcpStream>>,
    token: &'a str,
    receipts: &'a Receipts,
    /// Ids of receipts whose acks are still to come.
    unacknowledged: BTreeSet<u64>,
    hub: Option<&'a Rc<Hub>>,
}

/// The ack of `user-join`; those of the receipts follow.
const JOIN: u64 = 0;

impl Session<'_> {
    async fn run(mut self) -> Result<(), UpstreamError> {
        while !self.unacknowledged.is_empty() {
            let text = self.next().await?;
            match text.split_at_checked(1) {
                Some(("0", _)) => self.send("40".into()).await?,
                Some(("2", _)) => self.send("3".into()).await?,
                Some(("4", packet)) => self.packet(packet).await?,
                Some(("6", _)) => {}
                _ => return Err(closed()),
            }
        }
        // All is delivered: a failure to close is none.
        let _ = self.send("41".into()).await;
        let _ = self.socket.close(None).await;
        Ok(())
    }

    async fn packet(&mut self, text: &str) -> Result<(), UpstreamError> {
        let unreadable = |_| UpstreamError("its socket does not speak Socket.IO".into());
        let packet = Packet::decode(text).map_err(unreadable)?;
        match (packet.kind, packet.id) {
            // CONNECT is answered before its token is looked at, `user-join` after.
            (Kind::Connect, _) => {
                let auth = json!({ "auth": { "token": self.token } });
                self.send(format!(r#"42{JOIN}["user-join",{auth}]"#)).await
            }
            (Kind::Ack, Some(JOIN)) if joined(packet.data) => self.send_receipts().await,
            (Kind::Ack, Some(JOIN)) => {
                // Another attempt would be refused, too.
                log::debug!("Open WebUI takes no receipts of {}", self.receipts.user_id);
                self.unacknowledged.clear();
                Ok(())
            }
            (Kind::Ack, Some(id)) => {
                self.unacknowledged.remove(&id);
                Ok(())
            }
            (Kind::Event, _) => {
                self.pass_on(packet.data);
                Ok(())
            }
            _ => Err(closed()),
        }
    }

    async fn send_receipts(&mut self) -> Result<(), UpstreamError> {
        let data = json!({ "type": "last_read_at" });
        let receipts = self.receipts;
        for (id, read) in (JOIN + 1..).zip(&receipts.read) {
            let event = match read {
                Receipt::Channel(channel_id) => {
                    json!(["events:channel", { "channel_id": channel_id, "data": data }])
                }
                Receipt::Chat(chat_id) => {
                    json!(["events:chat", { "chat_id": chat_id, "data": data }])
                }
            };
            self.send(format!("42{id}{event}")).await?;
        }
        Ok(())
    }

    /// The user's own sockets are here: they get what Open WebUI emits about what was read.
    fn pass_on(&self, data: &str) {
        #[derive(Deserialize)]
        struct Outer<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Inner {
            r#type: String,
        }
        let Some(hub) = self.hub else { return };
        let Ok((name, args)) = Packet::event(data) else {
            return;
        };
        let event = serde_json::from_str(args).map(|Outer { data }| data.get());
        let inner = event.and_then(serde_json::from_str::<Inner>);
        if name == "events" && inner.is_ok_and(|inner| inner.r#type == "chat:list") {
            let room = rooms::of_user(&self.receipts.user_id);
            hub.emit(&Target::room(&room), "events", &Args::from_json(args));
        }
    }

    async fn send(&mut self, text: String) -> Result<(), UpstreamError> {
        let sent = self.socket.send(Message::text(text)).await;
        sent.map_err(|e| failed(&e))
    }

    async fn next(&mut self) -> Result<String, UpstreamError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(closed());
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(failed(&e)),
            }
        }
    }
}

/// Was the user let in? Then the ack of `user-join` holds their record.
fn joined(data: &str) -> bool {
    Packet::ack(data).is_ok_and(|user| user.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ack_with_a_record_lets_in() {
        assert!(joined(r#"[{"id":"u","name":"Ann"}]"#));
        for refused in ["[]", "[null]", "", "[false]"] {
            assert!(!joined(refused), "{refused}");
        }
    }
}
