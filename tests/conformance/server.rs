//! The protocol's conformance server: Socket.IO on `/socket.io/`, a bare Engine.IO echo on `/engine.io/`.
//! Built on the two protocol layers alone; its arguments are the port (default 3000) and pingTimeout in ms (default 200).

use siskin::protocol::{
    Answer, Answering, Args, Bounds, Closed, Connections, Engine, Event, Handler, Hub, Limits,
    Message, MessageHandler, Reason, Session, Settings, Sid, Step, Target, Transports,
    binary_frame, block_on, text_frame,
};
use smol::{Async, Timer};
use std::borrow::Cow;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

/// Sends every message back.
struct Echo;

impl MessageHandler for Echo {
    fn opened(&self, _session: &Rc<Session>) {}

    fn message(&self, session: &Rc<Session>, message: Message<'_>) -> Step {
        session.send(&match message {
            Message::Text(text) => text_frame(&["4", text], &[]),
            Message::LargeText(text, start) => text_frame(&["4", &text[start..]], &[]),
            Message::LargeBinary(data) => binary_frame(&data),
            Message::Binary(data) => binary_frame(data),
        });
        None
    }

    fn closed(&self, _session: &Rc<Session>, _why: Closed) {}

    fn in_use(&self, _session: &Rc<Session>) -> bool {
        true
    }
}

/// What the suite expects of a Socket.IO server.
struct Suite(Rc<Hub>);

impl Handler for Suite {
    fn connect(&self, _sid: Sid, nsp: &str, _auth: &Args<'_>) -> Result<(), Cow<'static, str>> {
        match nsp {
            "/" | "/custom" => Ok(()),
            _ => Err("Invalid namespace".into()),
        }
    }

    /// The suite's client under Node listens for one message a turn, so the event must not share
    /// a segment with the CONNECT packet.
    fn connected(&self, sid: Sid, nsp: &str, auth: Args<'_>) -> Step {
        let auth = if auth.json().is_empty() {
            Args::from_json("{}")
        } else {
            auth.into_owned()
        };
        let (hub, nsp) = (self.0.clone(), nsp.to_owned());
        Some(Box::pin(async move {
            Timer::after(Duration::from_millis(20)).await;
            hub.emit(
                &Target {
                    nsp: &nsp,
                    ..Target::sid(sid)
                },
                "auth",
                &auth,
            );
        }))
    }

    fn event(&self, event: Event<'_>) -> Step {
        match (&*event.name, event.ack) {
            ("message", _) => {
                let target = Target {
                    nsp: event.nsp,
                    ..Target::sid(event.sid)
                };
                self.0.emit(&target, "message-back", &event.args);
            }
            ("message-with-ack", Some(id)) => self.0.ack(event.sid, id, &event.args),
            _ => {}
        }
        None
    }

    fn disconnected(&self, _sid: Sid, _nsp: &str, _reason: Reason) {}
}

/// The protocol suites want a short `ping_timeout`; what is about something else is given more.
fn settings(ping_timeout: Duration) -> Settings {
    Settings {
        ping_interval: Duration::from_millis(300),
        ping_timeout,
        max_payload: 1_000_000,
        strangers_payload: 1_000_000,
        input_bytes: 64 << 20,
        outbox: Bounds {
            stalled: 1 << 20,
            most: 8 << 20,
        },
        outboxes: 64 << 20,
        messages_per_second: None,
        sessions: 10_000,
        sessions_per_address: 10_000,
        transports: Transports::Both,
    }
}

fn limits() -> Limits {
    Limits {
        connections: 10_000,
        per_address: 10_000,
        proxies: Box::new(|_| false),
        upgraded: Box::new(|| 0),
        idle_timeout: Duration::from_secs(150),
        head_timeout: Duration::from_secs(10),
        head_bytes: 16 * 1024,
        head_lines: 100,
    }
}

fn not_found() -> Answer {
    let mut answer = Answer::new(Default::default());
    *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
    answer
}

fn main() -> std::io::Result<()> {
    let argument = |n| std::env::args().nth(n)?.parse::<u16>().ok();
    let port = argument(1).unwrap_or(3000);
    let ping_timeout = Duration::from_millis(argument(2).unwrap_or(200).into());
    block_on(move |executor| async move {
        let hub = Hub::new();
        hub.set_handler(Rc::new(Suite(hub.clone())));
        let socket = Engine::new(executor, settings(ping_timeout), hub);
        let echo = Engine::new(executor, settings(ping_timeout), Rc::new(Echo));
        let service = move |request: hyper::Request<hyper::body::Incoming>, peer| -> Answering {
            let engine = match request.uri().path() {
                "/socket.io/" => socket.clone(),
                "/engine.io/" => echo.clone(),
                _ => return Box::pin(async { not_found() }),
            };
            Box::pin(async move { engine.serve(request, peer).await })
        };
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], port))?;
        println!("listening on {}", listener.get_ref().local_addr()?);
        let connections = Connections::new(executor, limits(), Rc::new(service));
        connections.accept(Rc::new(listener)).await;
        Ok(())
    })
}
