//! A session that moves between two hubs: what both have got of an event comes once, also when its client comes again.

use super::kept::Settings;
use crate::engine::{Closed, Engine, Session, Step, frame, try_step};
use crate::ground::tasks::{Executor, block_on};
use crate::socket::{Args, Comes, Event, Fetched, Find, Found, Handler, Hub};
use crate::socket::{Memo, Reason, Sid, Target};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Who may have the session, and whose socket this is.
#[derive(Default)]
struct Moving {
    here: RefCell<Weak<Hub>>,
    there: RefCell<Weak<Hub>>,
}

impl Handler for Moving {
    fn connect(&self, _: Sid, _: &str, _: &Args<'_>) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
    fn connected(&self, _: Sid, _: &str, _: Args<'_>) -> Step {
        None
    }
    fn event(&self, _: Event<'_>) -> Step {
        None
    }
    fn disconnected(&self, _: Sid, _: &str, _: Reason) {}
    fn is_replayed(&self, _: &Target<'_>, _: &str, _: &Args<'_>) -> bool {
        true
    }
    fn remember(&self, sid: Sid) -> Option<Memo> {
        Some(Rc::new(sid))
    }
    fn write_memo(&self, _: &Memo) -> Vec<u8> {
        Vec::new()
    }
    fn read_memo(&self, _: &[u8]) -> Option<Memo> {
        Some(Rc::new(()))
    }
    fn comes_back(&self, memo: Memo, _: &Args<'_>) -> Option<Comes> {
        Some(Box::pin(async move { Some(memo) }))
    }
    fn find(&self, pid: &str, offset: Option<&str>, _: &Args<'_>) -> Option<Find> {
        let there = self.there.borrow().upgrade()?;
        let here = self.here.borrow().upgrade()?;
        let sid = Sid::parse(&pid[..20])?;
        let (offer, offset) = (there.offer(sid)?, offset.map(str::to_owned));
        let found = Found {
            offer,
            fetch: Box::new(move || Box::pin(async move { fetch(&here, &there, sid, offset) })),
        };
        Some(Box::pin(async move { Ok(found) }))
    }
}

/// Takes it from there, while events are emitted on both sides.
fn fetch(
    here: &Hub,
    there: &Hub,
    sid: Sid,
    offset: Option<String>,
) -> Result<Fetched, &'static str> {
    let tell = |hub: &Hub, event: &str| hub.emit(&Target::room("a"), event, &Args::from_json("1"));
    let from = here.begins_to_move(sid).ok_or("gap")?;
    // Emitted here, and there before it is handed out.
    tell(here, "both");
    tell(there, "both");
    let handed = there.hand_out(sid, offset.as_deref())?;
    tell(here, "here");
    Ok(Fetched {
        from,
        left_out: vec![from + 1],
        handed: handed.with_questions(&[]),
        answers: Box::new(|_| Box::new(|_| ())),
    })
}

struct Site {
    hub: Rc<Hub>,
    engine: Rc<Engine>,
    handler: Rc<Moving>,
}

fn site(executor: Executor) -> Site {
    let (hub, handler) = (Hub::new(), Rc::new(Moving::default()));
    hub.set_handler(handler.clone());
    hub.recover(
        executor,
        Settings {
            browsers: true,
            time: Duration::from_secs(100),
            bytes: 1 << 20,
            silence: Duration::ZERO,
        },
    );
    let engine = Engine::new(executor, super::model_tests::engine_settings(), hub.clone());
    *handler.here.borrow_mut() = Rc::downgrade(&hub);
    Site {
        hub,
        engine,
        handler,
    }
}

/// A client as far as its sid, private id and offset go, and the names of what it has got.
#[derive(Default)]
struct Client {
    sid: String,
    pid: String,
    offset: String,
    got: Vec<String>,
}

impl Client {
    async fn comes(&mut self, site: &Site) -> Rc<Session> {
        let session = site.engine.open_alone();
        let auth = match &*self.pid {
            "" => r#"{"recover":true}"#.to_owned(),
            pid => format!(
                r#"{{"recover":true,"pid":"{pid}","offset":"{}"}}"#,
                self.offset
            ),
        };
        if let Some(step) = session.hear(&format!("40{auth}")).and_then(try_step) {
            step.await;
        }
        self.takes(&session);
        session
    }

    fn takes(&mut self, session: &Session) {
        while let Some(frame) = session.pop() {
            frame::each(&frame, |_, packet| {
                let packet = std::str::from_utf8(packet).unwrap();
                if let Some(event) = packet.strip_prefix("42") {
                    let event: Vec<String> = serde_json::from_str::<Vec<Value>>(event)
                        .unwrap()
                        .iter()
                        .map(|part| part.as_str().unwrap_or_default().to_owned())
                        .collect();
                    self.got.push(event[0].clone());
                    self.offset.clone_from(&event[2]);
                } else if let Some(answer) = packet.strip_prefix("40") {
                    let answer: Value = serde_json::from_str(answer).unwrap();
                    self.sid = answer["sid"].as_str().unwrap().to_owned();
                    self.pid = answer["pid"].as_str().unwrap().to_owned();
                }
            });
        }
    }
}

#[test]
fn what_was_left_out_does_not_come_when_its_client_comes_again() {
    block_on(|executor| async move {
        let (one, two) = (site(executor), site(executor));
        *two.handler.there.borrow_mut() = Rc::downgrade(&one.hub);
        let mut client = Client::default();
        let session = client.comes(&one).await;
        let sid = client.sid.clone();
        one.hub.enter(Sid::parse(&sid).unwrap(), "a");
        let tell = |site: &Site, event| {
            site.hub
                .emit(&Target::room("a"), event, &Args::from_json("1"))
        };
        tell(&one, "first");
        client.takes(&session);
        session.close(Closed::Transport);
        tell(&one, "missed");
        let session = client.comes(&two).await;
        assert_eq!(client.sid, sid);
        let all = ["first", "missed", "both", "here"];
        assert_eq!(client.got, all);
        // It is lost again, and has got all of it.
        session.close(Closed::Transport);
        tell(&two, "later");
        client.comes(&two).await;
        assert_eq!(client.sid, sid);
        assert_eq!(client.got, [&all[..], &["later"]].concat());
    });
}
