//! Clients as socket.io-client is, cut at random while the server is restarted at random, against a list of what each was to
//! get: all of it, once and in order, or an honest no.

use super::kept::Settings;
use crate::engine::frame;
use crate::engine::{Closed, Engine, Session, Step, Transports, try_step};
use crate::ground::random_input::{Random, rounds};
use crate::ground::tasks::{Executor, block_on};
use crate::outbox::Bounds;
use crate::socket::{Args, Comes, Event, Handler, Hub, Memo, Reason, Sid, Target, To};
use futures_lite::future::{self, FutureExt as _};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

const CLIENTS: usize = 50;
const ROOMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const OUTBOX: usize = 64 << 10;

/// Everybody may come back.
struct Open;

impl Handler for Open {
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
    fn is_replayed(&self, _: &Target<'_>, event: &str, _: &Args<'_>) -> bool {
        event == "e"
    }
    fn lateness(&self, _: &Target<'_>, event: &str, _: &Args<'_>) -> crate::socket::Lateness {
        match event {
            "e" => crate::socket::Lateness::Waits,
            _ => crate::socket::Lateness::Last(1),
        }
    }
    fn remember(&self, sid: Sid) -> Option<Memo> {
        Some(Rc::new(sid))
    }
    fn write_memo(&self, memo: &Memo) -> Vec<u8> {
        memo.downcast_ref::<Sid>().unwrap().as_bytes().to_vec()
    }
    fn read_memo(&self, bytes: &[u8]) -> Option<Memo> {
        Some(Rc::new(Sid::parse(std::str::from_utf8(bytes).ok()?)?))
    }
    fn comes_back(&self, memo: Memo, _: &Args<'_>) -> Option<Comes> {
        Some(Box::pin(async move { Some(memo) }))
    }
}

/// What socket.io-client remembers, and what is known of it here.
#[derive(Default)]
struct Client {
    session: Option<Rc<Session>>,
    sid: String,
    connected: bool,
    pid: Option<String>,
    offset: Option<String>,
    /// What came before CONNECT's answer.
    buffer: Vec<(u64, Option<String>)>,
    rooms: BTreeSet<&'static str>,
    /// What this session is to get, and has got; whether nothing is known of where it is.
    wanted: Vec<u64>,
    got: Vec<u64>,
}

struct World {
    executor: Executor,
    settings: Settings,
    hub: Rc<Hub>,
    engine: Rc<Engine>,
    random: Random,
    clients: Vec<Client>,
    emitted: u64,
    recovered: usize,
    refused: usize,
    restarts: usize,
}

impl World {
    /// A server that has just begun.
    fn begin(&mut self) {
        self.hub = Hub::new();
        self.hub.set_handler(Rc::new(Open));
        self.hub.recover(self.executor, self.settings);
        self.engine = Engine::new(self.executor, engine_settings(), self.hub.clone());
    }

    /// The server ends, and another begins: mostly with what the first one has kept.
    async fn restart(&mut self) {
        self.hub.goes_on();
        self.engine.shutdown();
        future::yield_now().await;
        let left = self.hub.hand_over();
        self.begin();
        for client in &mut self.clients {
            client.connected = false;
            client.session = None;
        }
        let was_killed = self.random.once_in(5);
        if let Some(left) = left.filter(|_| !was_killed) {
            let taken = self.hub.take_over(&left, Duration::from_millis(3));
            assert!(taken.is_some_and(|sessions| sessions > 0));
        }
        self.restarts += 1;
    }

    /// An event to whomever: who is to get it, present or away, is noted.
    fn emit(&mut self) {
        let random = &mut self.random;
        let replayed = !random.once_in(5);
        let (one, two) = (
            *random.pick(&[&ROOMS[0], &ROOMS[1], &ROOMS[2]]),
            ROOMS[random.below(6)],
        );
        let both = [one, two];
        let someone = self.clients[random.below(CLIENTS)].sid.clone();
        let other = self.clients[random.below(CLIENTS)].sid.clone();
        let to = match random.below(8) {
            0 => To::All,
            1 | 2 => To::Room(&someone),
            3 => To::Sid(Sid::parse(&someone).unwrap()),
            4 => To::Rooms(&both),
            _ => To::Room(two),
        };
        let except: Vec<&str> = match random.below(6) {
            0 => vec![&other],
            1 => vec![one],
            _ => Vec::new(),
        };
        self.emitted += 1;
        let text = "x".repeat(*random.pick(&[&0, &10, &300, &3000]));
        let json = match random.once_in(3) {
            true => format!("{},\"{text}\"", self.emitted),
            false => format!("{},[\"{text}\"]", self.emitted),
        };
        if replayed {
            for client in self
                .clients
                .iter_mut()
                .filter(|client| client.pid.is_some())
            {
                let is_in = |room: &str| room == client.sid || client.rooms.contains(room);
                let meant = match to {
                    To::All => true,
                    To::Room(room) => is_in(room),
                    To::Rooms(rooms) => rooms.iter().any(|room| is_in(room)),
                    To::Sid(sid) => is_in(sid.as_str()),
                };
                if meant && !except.iter().any(|room| is_in(room)) {
                    client.wanted.push(self.emitted);
                }
            }
        }
        let target = Target {
            nsp: "/",
            to,
            except: &except,
        };
        let name = if replayed { "e" } else { "v" };
        self.hub.emit(&target, name, &Args::from_json(json));
    }

    /// A client takes some of what waits for it.
    fn take(&mut self, at: usize, most: usize) {
        for _ in 0..most {
            let Some(session) = &self.clients[at].session else {
                return;
            };
            let Some(frame) = session.pop() else { return };
            let mut packets = Vec::new();
            frame::each(&frame, |_, body| packets.push(body.to_vec()));
            for packet in packets {
                self.hear(at, std::str::from_utf8(&packet).unwrap());
            }
        }
    }

    fn hear(&mut self, at: usize, packet: &str) {
        let client = &mut self.clients[at];
        if let Some(event) = packet.strip_prefix("42") {
            let event: Vec<Value> = serde_json::from_str(event).unwrap();
            let offset = event.last().and_then(Value::as_str).map(str::to_owned);
            let number = match event[0].as_str() {
                Some("e") => event[1].as_u64().unwrap(),
                _ => 0,
            };
            match client.connected {
                true => client.handle(number, offset),
                false => client.buffer.push((number, offset)),
            }
        } else if let Some(answer) = packet.strip_prefix("40") {
            let answer: Value = serde_json::from_str(answer).unwrap();
            let (sid, pid) = (answer["sid"].as_str().unwrap(), answer["pid"].as_str());
            let recovered = client.pid.is_some() && client.pid.as_deref() == pid;
            client.pid = pid.map(str::to_owned);
            client.connected = true;
            for (number, offset) in std::mem::take(&mut client.buffer) {
                client.handle(number, offset);
            }
            client.check();
            match recovered {
                true => self.recovered += 1,
                false => {
                    self.refused += 1;
                    client.got.clear();
                    client.wanted.clear();
                    client.rooms.clear();
                }
            }
            assert_eq!(recovered, client.sid == sid);
            client.sid = sid.to_owned();
        }
    }

    /// A client comes, perhaps while its old connection is still thought to be there. What waits is all that it gets at once,
    /// or a part.
    async fn come(&mut self, at: usize) {
        let session = self.engine.open_alone();
        let client = &mut self.clients[at];
        let auth = match (&client.pid, &client.offset) {
            (Some(pid), Some(offset)) => format!(r#"{{"pid":"{pid}","offset":"{offset}"}}"#),
            (Some(pid), None) => format!(r#"{{"pid":"{pid}"}}"#),
            (None, _) => String::new(),
        };
        client.session = Some(session.clone());
        if let Some(step) = session.hear(&format!("40{auth}")).and_then(try_step) {
            step.await;
        }
        let most = if self.random.once_in(6) {
            self.random.below(20)
        } else {
            usize::MAX
        };
        self.take(at, most);
        if !self.clients[at].connected {
            // Torn: nobody has learnt of what it is to get from here on.
            return self.cut(at);
        }
        // A page enters its rooms when it begins.
        if self.clients[at].rooms.is_empty() {
            for _ in 0..self.random.below(4) {
                self.enter(at);
            }
        }
    }

    fn enter(&mut self, at: usize) {
        let room = ROOMS[self.random.below(ROOMS.len())];
        let sid = Sid::parse(&self.clients[at].sid).unwrap();
        if self.hub.enter(sid, room) {
            self.clients[at].rooms.insert(room);
        }
    }

    fn leave(&mut self, at: usize) {
        let room = ROOMS[self.random.below(ROOMS.len())];
        let sid = Sid::parse(&self.clients[at].sid).unwrap();
        if self.hub.leave(sid, room) {
            self.clients[at].rooms.remove(room);
        }
    }

    /// The connection is lost; the server learns of it at once, or when its client is back.
    fn cut(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.connected = false;
        let why = [
            Closed::Transport,
            Closed::ByClient(1000),
            Closed::PingTimeout,
            Closed::Late,
        ];
        if let Some(session) = client.session.take()
            && !self.random.once_in(3)
        {
            session.close(why[self.random.below(why.len())]);
        }
    }

    async fn step(&mut self) {
        if self.random.once_in(1500) {
            return self.restart().await;
        }
        let at = self.random.below(CLIENTS);
        let client = &self.clients[at];
        match (client.connected, self.random.below(10)) {
            (false, 0..5) => self.come(at).await,
            (true, 0..4) => {
                let most = self.random.below(30);
                self.take(at, most);
            }
            (true, 4) => self.enter(at),
            (true, 5) => self.leave(at),
            (true, 6) => self.cut(at),
            _ => {
                for _ in 0..1 + self.random.below(4) {
                    self.emit();
                }
            }
        }
        self.notice().await;
    }

    /// Who reads too slowly has ended.
    async fn notice(&mut self) {
        future::yield_now().await;
        for at in 0..CLIENTS {
            let session = &self.clients[at].session;
            if session
                .as_ref()
                .is_some_and(|session| session.ended().is_some())
            {
                self.cut(at);
            }
        }
    }

    /// Nothing more happens: everybody gets all.
    async fn end(&mut self) {
        for at in 0..CLIENTS {
            for _ in 0..300 {
                self.notice().await;
                match self.clients[at].connected {
                    true => self.take(at, usize::MAX),
                    false => self.come(at).await,
                }
                let client = &self.clients[at];
                if client.connected && client.got == client.wanted {
                    break;
                }
            }
            let client = &self.clients[at];
            let state = client
                .session
                .as_ref()
                .map(|s| (s.ended(), s.waiting_bytes(), s.is_behind()));
            let (got, wanted) = (&client.got, &client.wanted);
            assert_eq!(
                got, wanted,
                "{state:?} {:?} {:?} {}",
                client.pid, client.offset, client.connected
            );
        }
    }
}

impl Client {
    fn handle(&mut self, number: u64, offset: Option<String>) {
        // What does not end in text says nothing of where it is.
        self.offset = offset.or(self.offset.take());
        if number > 0 {
            self.got.push(number);
        }
    }

    /// What it got is what it was to get, as far as it has come.
    fn check(&self) {
        let so_far = &self.wanted[..self.got.len().min(self.wanted.len())];
        assert_eq!(so_far, self.got);
    }
}

fn play(rounds: usize, seed: u64, bytes: usize, silence: Duration) -> (usize, usize) {
    // A panic in a task would end the task alone.
    let played = block_on(move |executor| {
        AssertUnwindSafe(play_on(executor, rounds, seed, bytes, silence)).catch_unwind()
    });
    played.unwrap_or_else(|panic| resume_unwind(panic))
}

async fn play_on(
    executor: Executor,
    rounds: usize,
    seed: u64,
    bytes: usize,
    silence: Duration,
) -> (usize, usize) {
    let settings = Settings {
        browsers: true,
        time: Duration::from_secs(1000),
        bytes,
        silence,
    };
    let hub = Hub::new();
    let mut world = World {
        executor,
        settings,
        engine: Engine::new(executor, engine_settings(), hub.clone()),
        hub,
        random: Random::from(seed),
        clients: Vec::new(),
        emitted: 0,
        recovered: 0,
        refused: 0,
        restarts: 0,
    };
    world.begin();
    world.clients.resize_with(CLIENTS, Client::default);
    for at in 0..CLIENTS {
        while !world.clients[at].connected {
            world.come(at).await;
        }
    }
    let mut cuts = 0;
    while cuts < rounds {
        let before = world.recovered + world.refused;
        world.step().await;
        cuts += world.recovered + world.refused - before;
    }
    world.end().await;
    world.engine.shutdown();
    assert!(world.restarts > 0);
    (world.recovered, world.refused)
}

pub(super) fn engine_settings() -> crate::engine::Settings {
    crate::engine::Settings {
        ping_interval: Duration::from_secs(1000),
        ping_timeout: Duration::from_secs(1000),
        max_payload: 1 << 20,
        strangers_payload: 1 << 20,
        input_bytes: 1 << 24,
        outbox: Bounds {
            stalled: OUTBOX,
            most: OUTBOX,
        },
        outboxes: 64 << 20,
        messages_per_second: None,
        sessions: 10_000,
        sessions_per_address: 10_000,
        transports: Transports::Both,
    }
}

#[test]
fn everybody_gets_everything_once_and_in_order_or_is_told() {
    let cuts = rounds() * 10 / 3;
    for (seed, bytes, silence) in [
        (1, 1 << 20, Duration::ZERO),
        (2, 256 << 10, Duration::ZERO),
        (3, 256 << 10, Duration::from_secs(1000)),
        (4, 80 << 10, Duration::ZERO),
    ] {
        let (recovered, refused) = play(cuts / 4, seed, bytes, silence);
        println!("{bytes} bytes: {recovered} recovered, {refused} not");
        assert!(
            recovered > cuts / 100 && refused > 0,
            "{recovered} {refused}"
        );
    }
}
