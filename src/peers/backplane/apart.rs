//! Relays that are set apart. Open WebUI takes each for a socket of its own, by a name of its own, but it is a client here by
//! another name: who leaves out the one leaves out the other.
//!
//! What is for everybody, or for a room that Open WebUI has put a relay into, comes twice to a client that hears it here as
//! well: once over Redis, once over the relay, in whichever order. The two have nothing in common but what they say, so for a
//! while an event is known again by its name and arguments, and passed on once. What is for the relay alone comes over it, in
//! its order; Redis tells of that, too, so that it is not taken for what was said to a room in the same words.

use crate::ground::tasks::LARGE;
use crate::socket::{Args, BySid, Hub, Sid, Target, To};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// How long the same event may come the other way, and how many are remembered of one relay.
const LASTS: Duration = Duration::from_secs(10);
const MOST: usize = 512;

/// The relays, by their clients.
#[derive(Default)]
pub struct Apart(RefCell<BySid<Relay>>);

struct Relay {
    /// Open WebUI's name for it.
    sid: String,
    over_redis: Events,
    over_relay: Events,
    /// Those that are for it alone, as Redis tells, and have not come.
    owed: Events,
    /// Those that were taken for one that had come the other way.
    passed_over: Events,
}

/// Events that came one way and not yet the other.
type Events = VecDeque<(u64, Instant)>;

impl Apart {
    /// The client's relay is this one now. Returns which was it before.
    pub fn add(&self, client: Sid, relay: &str) -> Option<String> {
        let relay = Relay {
            sid: relay.to_owned(),
            over_redis: Events::new(),
            over_relay: Events::new(),
            owed: Events::new(),
            passed_over: Events::new(),
        };
        let before = self.0.borrow_mut().insert(client, relay);
        before.map(|relay| relay.sid)
    }

    /// The relay is no more. Whether it was the client's.
    pub fn remove(&self, client: Sid, relay: &str) -> bool {
        let mut all = self.0.borrow_mut();
        let is_its = all.get(&client).is_some_and(|known| known.sid == relay);
        if is_its {
            all.remove(&client);
        }
        is_its
    }

    /// Open WebUI's names for all of them.
    pub fn names(&self) -> Vec<String> {
        let all = self.0.borrow();
        all.values().map(|relay| relay.sid.clone()).collect()
    }

    /// Whose relay it is.
    pub fn client(&self, relay: &str) -> Option<Sid> {
        let all = self.0.borrow();
        let known = all.iter().find(|(_, known)| known.sid == relay);
        known.map(|(client, _)| *client)
    }

    /// An event is emitted here. Returns the clients that are left out: those whose relay is, and those who have heard it over
    /// their relay.
    pub fn left_out(
        &self,
        hub: &Hub,
        target: &Target<'_>,
        event: &str,
        args: &Args<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Vec<Sid> {
        let mut all = self.0.borrow_mut();
        // Mostly there is none, and not even the clock is looked at.
        if all.is_empty() || is_for_one(hub, target) {
            return Vec::new();
        }
        let now = now();
        let mut print = None;
        // A client that is left out by its own name hears it over its relay all the same, where it is not to be passed on.
        let mut sids = hub.select(&target.but(&[]));
        sids.retain(|sid| {
            let Some(relay) = all.get_mut(sid) else {
                return false;
            };
            if target.except.contains(&&*relay.sid) {
                return true;
            }
            let print = *print.get_or_insert_with(|| print_of(event, args));
            print.is_some_and(|print| relay.has_told(print, now))
        });
        sids
    }

    /// Redis tells of an event for a relay alone. The client that is to hear it now: it came over the relay, and was taken for
    /// another.
    pub fn owe(
        &self,
        relay: &str,
        event: &str,
        args: &Args<'_>,
        now: impl FnOnce() -> Instant,
    ) -> Option<Sid> {
        let client = self.client(relay)?;
        let now = now();
        let print = print_of(event, args)?;
        let mut all = self.0.borrow_mut();
        all.get_mut(&client)?.owe(print, now).then_some(client)
    }

    /// An event came over a client's relay. Whether the client has heard it.
    pub fn has_heard(&self, client: Sid, event: &str, args: &Args<'_>, now: Instant) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(relay) = all.get_mut(&client) else {
            return false;
        };
        print_of(event, args).is_some_and(|print| relay.was_told(print, now))
    }
}

impl Relay {
    /// An event came over Redis. Whether it has come over the relay.
    fn has_told(&mut self, print: u64, now: Instant) -> bool {
        let has = take(&mut self.over_relay, print, now);
        let events = match has {
            true => &mut self.passed_over,
            false => &mut self.over_redis,
        };
        put(events, print, now);
        has
    }

    /// One came over the relay. Whether it has come over Redis.
    fn was_told(&mut self, print: u64, now: Instant) -> bool {
        if take(&mut self.owed, print, now) {
            return false;
        }
        let was = take(&mut self.over_redis, print, now);
        let events = match was {
            true => &mut self.passed_over,
            false => &mut self.over_relay,
        };
        put(events, print, now);
        was
    }

    /// One is for the relay alone. Whether it was passed over.
    fn owe(&mut self, print: u64, now: Instant) -> bool {
        if take(&mut self.over_relay, print, now) {
            return false;
        }
        let was = take(&mut self.passed_over, print, now);
        let events = match was {
            // What it was taken for may still come.
            true => &mut self.over_redis,
            false => &mut self.owed,
        };
        put(events, print, now);
        was
    }
}

/// Whether it is for one socket here, by its own name.
fn is_for_one(hub: &Hub, target: &Target<'_>) -> bool {
    match target.to {
        To::Sid(_) => true,
        To::Room(room) => Sid::parse(room).is_some_and(|sid| hub.is_connected(sid)),
        To::All | To::Rooms(_) => false,
    }
}

fn put(events: &mut Events, print: u64, now: Instant) {
    if events.len() >= MOST {
        events.pop_front();
    }
    events.push_back((print, now));
}

/// Takes an event that came a while ago at most. Whether there was one.
fn take(events: &mut Events, print: u64, now: Instant) -> bool {
    let is_old = |(_, at): &(u64, Instant)| now.saturating_duration_since(*at) > LASTS;
    while events.front().is_some_and(is_old) {
        events.pop_front();
    }
    let at = events.iter().position(|(known, _)| *known == print);
    at.and_then(|at| events.remove(at)).is_some()
}

/// An event as one number, however its JSON is written: Python's is not ours. `None`: too large to be looked at now.
fn print_of(event: &str, args: &Args<'_>) -> Option<u64> {
    if args.json().len() > LARGE {
        return None;
    }
    let mut print = DefaultHasher::new();
    event.hash(&mut print);
    hash_json(args.json(), &mut print);
    args.attachments().hash(&mut print);
    Some(print.finish())
}

/// Text counts as what it says, numbers as what they are worth, white space not at all.
fn hash_json(json: &str, print: &mut DefaultHasher) {
    let is_structure = |c: char| c.is_ascii_whitespace() || "[]{},:\"".contains(c);
    let mut rest = json;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => text_length(rest),
            b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
            _ => rest.find(is_structure).unwrap_or(rest.len()).max(1),
        };
        let (token, more) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = more;
        if first == b'"' && token.contains('\\') {
            match serde_json::from_str::<String>(token) {
                Ok(text) => ["\"", &text, "\""].concat().hash(print),
                Err(_) => token.hash(print),
            }
        } else if token.contains(['.', 'e', 'E'])
            && let Ok(number) = token.parse::<f64>()
        {
            number.to_bits().hash(print);
        } else if !first.is_ascii_whitespace() {
            token.hash(print);
        }
    }
}

/// Bytes of the text, with its quotes, that JSON begins with.
fn text_length(json: &str) -> usize {
    let (bytes, mut at) = (json.as_bytes(), 1);
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        // What is escaped is no end.
        at += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: fn() -> Instant = Instant::now;

    fn apart() -> (Apart, Sid) {
        let (apart, client) = (Apart::default(), Sid::random());
        apart.add(client, "r");
        (apart, client)
    }

    /// As if the client had been told over Redis.
    fn tell(apart: &Apart, client: Sid, json: &str, now: Instant) -> bool {
        let print = print_of("x", &Args::from_json(json)).unwrap();
        let mut all = apart.0.borrow_mut();
        let relay = all.get_mut(&client).unwrap();
        relay.has_told(print, now)
    }

    #[test]
    fn json_is_the_same_however_it_is_written() {
        let print = |json: &str| print_of("x", &Args::from_json(json)).unwrap();
        for (one, other) in [
            (
                r#"{"a": [1, 2.50], "b": "\u00e4\n"}"#,
                r#"{"a":[1,2.5],"b":"ä\u000a"}"#,
            ),
            (r#""\ud83d\ude00\/\"", 1e-07"#, "\"\u{1f600}/\\\"\",\t1e-7 "),
            ("100.0, null , true", "1e2,null,true"),
            (r#""\ud800""#, r#" "\ud800" "#),
            ("", "  "),
        ] {
            assert_eq!(print(one), print(other), "{one} {other}");
        }
        let all = [
            "",
            "1",
            "12",
            "1,2",
            "1.5",
            "[1,2]",
            "[[1],2]",
            "[1,[2]]",
            r#""1""#,
            r#""1 ""#,
            r#""1","""#,
            r#""a\"b""#,
            r#""a\\","b""#,
            r#"{"a":"b"}"#,
            r#"["a","b"]"#,
            "true",
            r#""true""#,
            "-0.0",
            "nonsense",
            "\"",
            "\"\\",
            "ä",
            "\u{1f600}",
        ];
        let prints: std::collections::HashSet<u64> = all.map(print).into();
        assert_eq!(prints.len(), all.len());
    }

    #[test]
    fn each_comes_once_whichever_way_is_first() {
        let (apart, client) = apart();
        let now = NOW();
        let relayed = |json: &str| apart.has_heard(client, "x", &Args::from_json(json), now);
        assert!(!tell(&apart, client, r#"{"a": 1, "b": "\u00e4"}"#, now));
        assert!(relayed(r#"{"a":1,"b":"ä"}"#), "the same, written otherwise");
        assert!(!relayed(r#"{"a":1,"b":"ä"}"#), "said again");
        assert!(tell(&apart, client, r#"{"a":1,"b":"ä"}"#, now));
        assert!(!relayed("1") && !relayed("1") && !relayed("2"));
        assert!(tell(&apart, client, "1", now) && tell(&apart, client, "1", now));
        assert!(!tell(&apart, client, "1", now));
        assert!(!apart.has_heard(client, "y", &Args::from_json("1"), now));
        let bytes = Args::from_json("1").with_attachments(vec![vec![1]]);
        assert!(!apart.has_heard(client, "x", &bytes, now));
        assert!(!apart.has_heard(Sid::random(), "x", &Args::from_json("1"), now));
    }

    /// Each way that Redis' two messages and the relay's may take, when the same is said to the relay alone and to a room, and
    /// the relay is in the room, or not.
    #[test]
    fn what_is_for_the_relay_alone_is_not_taken_for_what_a_room_is_told() {
        let orders =
            "RSL RLS LRS SRL SLR LSR RSLL RLSL RLLS LRSL LRLS LLRS SRLL SLRL SLLR LSRL LSLR LLSR";
        for order in orders.split(' ') {
            let (apart, client) = apart();
            let (now, args) = (NOW(), Args::from_json("1"));
            let heard = order.chars().filter(|step| match step {
                'R' => !tell(&apart, client, "1", now),
                'S' => apart.owe("r", "x", &args, || now).is_some(),
                _ => !apart.has_heard(client, "x", &args, now),
            });
            assert_eq!(heard.count(), 2, "{order}");
        }
    }

    #[test]
    fn what_is_remembered_ends() {
        let (apart, client) = apart();
        let now = NOW();
        assert!(!tell(&apart, client, "1", now));
        let relayed = |json: &str, at| apart.has_heard(client, "x", &Args::from_json(json), at);
        assert!(!relayed("1", now + LASTS + Duration::from_millis(1)));
        for n in 0..MOST * 2 {
            assert!(!tell(&apart, client, &format!("[{n}]"), now));
        }
        assert_eq!(apart.0.borrow()[&client].over_redis.len(), MOST);
        let large = format!("\"{}\"", "x".repeat(LARGE));
        assert_eq!(print_of("x", &Args::from_json(&large)), None);
        assert!(!relayed(&large, now) && !relayed("[", now));
    }

    #[test]
    fn a_relay_is_its_client_until_another_is() {
        let (apart, client) = apart();
        assert_eq!(apart.client("r"), Some(client));
        apart.add(client, "s");
        apart.remove(client, "r");
        assert_eq!((apart.client("r"), apart.client("s")), (None, Some(client)));
        apart.remove(client, "s");
        assert_eq!(apart.client("s"), None);
    }
}
