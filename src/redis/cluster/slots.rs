//! Which node of a Cluster has which keys, and what a node says that hasn't them.

use crate::redis::address::Address;
use redis::{Arg, Cmd, ServerErrorKind, Value};

/// How many there are.
const SLOTS: u16 = 16384;

/// The map, as one node tells it.
#[derive(Default)]
pub struct Slots {
    /// First and last slot of a range, and its master; what comes later counts, which is what redirects tell.
    ranges: Vec<(u16, u16, Address)>,
    replicas: Vec<Address>,
    /// Whether every slot has a master.
    pub whole: bool,
}

impl Slots {
    /// Reads what `asked` answered to `CLUSTER SLOTS`; what is no such answer holds nothing.
    pub fn read(answer: &Value, asked: &Address) -> Self {
        let mut slots = Self::default();
        let mut count = 0;
        for range in elements(answer) {
            if let [Value::Int(first), Value::Int(last), nodes @ ..] = elements(range)
                && let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last))
            {
                let mut nodes = nodes.iter().map(|node| address(node, asked));
                if let Some(master) = nodes.next().flatten() {
                    count += i64::from(last) + 1 - i64::from(first);
                    slots.ranges.push((first, last, master));
                }
                slots.replicas.extend(nodes.flatten());
            }
        }
        slots.whole = count == i64::from(SLOTS);
        slots
    }

    /// The master of a slot.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let mut ranges = self.ranges.iter().rev();
        let has = |(first, last, _): &&(u16, u16, _)| (*first..=*last).contains(&slot);
        ranges.find(has).map(|(.., master)| master)
    }

    /// Another node has this slot.
    pub fn move_to(&mut self, slot: u16, master: Address) {
        self.ranges.push((slot, slot, master));
    }

    /// Every master once.
    pub fn masters(&self) -> Vec<Address> {
        once(self.ranges.iter().map(|(.., master)| master))
    }

    /// Masters, then replicas, every node once.
    pub fn nodes(&self) -> Vec<Address> {
        once(self.masters().iter().chain(&self.replicas))
    }
}

fn once<'a>(all: impl Iterator<Item = &'a Address>) -> Vec<Address> {
    let mut some: Vec<Address> = Vec::new();
    for address in all {
        if !some.contains(address) {
            some.push(address.clone());
        }
    }
    some
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        _ => &[],
    }
}

/// Host and port of a node; one that does not know its own host is where it was asked.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let [host, Value::Int(port), ..] = elements(node) else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => "",
    };
    at(host, u16::try_from(*port).ok()?, asked)
}

fn at(host: &str, port: u16, asked: &Address) -> Option<Address> {
    let host = match host {
        // A name that it was not told.
        "?" => return None,
        "" => asked.host.clone(),
        host => host.to_owned(),
    };
    Some(Address { host, port })
}

/// What a node answers that can't do a command itself, now.
#[derive(Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Another has the slot.
    Moved(Address),
    /// Another has this key already, while the slot is on its way.
    Ask(Address),
    /// Nobody can tell for a moment: keys of one command are on their way, or the Cluster is down.
    Later,
}

/// What the answer of `asked` says about who can do it; `None` when it is the answer itself.
pub fn redirect(answer: &Value, asked: &Address) -> Option<Redirect> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let place = || {
        let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        at(host, port.parse().ok()?, asked)
    };
    match error.kind()? {
        ServerErrorKind::Moved => place().map(Redirect::Moved),
        ServerErrorKind::Ask => place().map(Redirect::Ask),
        ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown => Some(Redirect::Later),
        _ => None,
    }
}

/// The slot of a command's first key; `None` when any node can do it. All keys of one command are of one slot.
pub fn slot_of(command: &Cmd) -> Option<u16> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => b"",
    });
    let key = match words.next()? {
        b"PUBLISH" | b"PUBSUB" | b"PING" | b"CLUSTER" => None,
        // The script, and how many keys it has.
        b"EVAL" | b"EVALSHA" => words
            .nth(1)
            .filter(|count| *count != b"0")
            .and(words.next()),
        _ => words.next(),
    };
    key.map(slot)
}

/// A key's slot. What is in the first braces, if there is something, stands for the key.
fn slot(key: &[u8]) -> u16 {
    let find = |text: &[u8], brace: u8| text.iter().position(|byte| *byte == brace);
    let tag = find(key, b'{').and_then(|open| {
        let rest = &key[open + 1..];
        find(rest, b'}').map(|close| &rest[..close])
    });
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Address {
        node("seed", 7000)
    }

    fn node(host: &str, port: u16) -> Address {
        let host = host.to_owned();
        Address { host, port }
    }

    fn value(wire: &str) -> Value {
        redis::parse_redis_value(wire.as_bytes()).unwrap()
    }

    /// The slots are those that `CLUSTER KEYSLOT` prints.
    #[test]
    fn a_key_has_the_slot_that_redis_says() {
        for (key, expected) in [
            ("", 0),
            ("123456789", 12739),
            ("open-webui:session_pool", 14270),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("foo{bar", 15278),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn a_command_goes_where_its_key_is() {
        let of = |words: &str| {
            let mut words = words.split(' ');
            let mut command = redis::cmd(words.next().unwrap());
            words.for_each(|word| {
                command.arg(word);
            });
            slot_of(&command)
        };
        let bar = Some(slot(b"bar"));
        for command in [
            "GET bar",
            "HSET bar f v",
            "EVALSHA 1234 1 bar a",
            "EVAL x 2 bar {bar}2 a",
        ] {
            assert_eq!(of(command), bar, "{command}");
        }
        for command in ["PING", "PUBLISH bar x", "PUBSUB NUMSUB bar", "EVAL x 0 bar"] {
            assert_eq!(of(command), None, "{command}");
        }
    }

    #[test]
    fn the_map_is_read() {
        let wire = "*3\r\n\
            *4\r\n:0\r\n:5460\r\n*3\r\n$8\r\n10.0.0.1\r\n:7001\r\n$1\r\na\r\n*4\r\n$8\r\n10.0.0.4\r\n:7004\r\n$1\r\nd\r\n*0\r\n\
            *3\r\n:5461\r\n:16382\r\n*3\r\n$0\r\n\r\n:7002\r\n$1\r\nb\r\n\
            *4\r\n:16383\r\n:16383\r\n*3\r\n$-1\r\n:7003\r\n$1\r\nc\r\n*3\r\n$1\r\n?\r\n:7005\r\n$1\r\ne\r\n";
        let mut slots = Slots::read(&value(wire), &here());
        assert!(slots.whole);
        assert_eq!(slots.owner(5460), Some(&node("10.0.0.1", 7001)));
        assert_eq!(slots.owner(5461), Some(&node("seed", 7002)));
        assert_eq!(slots.owner(16383), Some(&node("seed", 7003)));
        assert_eq!((slots.masters().len(), slots.nodes().len()), (3, 4));
        slots.move_to(7, node("seed", 7003));
        assert_eq!(slots.owner(7), Some(&node("seed", 7003)));
        assert_eq!(slots.owner(8), Some(&node("10.0.0.1", 7001)));
        let part = "*1\r\n*3\r\n:0\r\n:16382\r\n*2\r\n$1\r\na\r\n:1\r\n";
        assert!(!Slots::read(&value(part), &here()).whole);
        for other in [
            "+OK\r\n",
            "*1\r\n*2\r\n:0\r\n:1\r\n",
            "*1\r\n*3\r\n:-1\r\n:1\r\n*0\r\n",
        ] {
            let slots = Slots::read(&value(other), &here());
            assert!(slots.masters().is_empty() && slots.owner(0).is_none());
        }
    }

    #[test]
    fn redirects_are_read() {
        let read = |wire: &str| redirect(&value(wire), &here());
        for (wire, expected) in [
            (
                "-MOVED 3999 10.0.0.2:7002\r\n",
                Some(Redirect::Moved(node("10.0.0.2", 7002))),
            ),
            (
                "-MOVED 3999 :7002\r\n",
                Some(Redirect::Moved(node("seed", 7002))),
            ),
            (
                "-ASK 3999 [::1]:7002\r\n",
                Some(Redirect::Ask(node("::1", 7002))),
            ),
            (
                "-ASK 3999 fe80::1:7002\r\n",
                Some(Redirect::Ask(node("fe80::1", 7002))),
            ),
            ("-TRYAGAIN Multiple keys request\r\n", Some(Redirect::Later)),
            (
                "-CLUSTERDOWN The cluster is down\r\n",
                Some(Redirect::Later),
            ),
            ("-MOVED 3999\r\n", None),
            ("-MOVED 3999 ?:7002\r\n", None),
            ("-ERR no\r\n", None),
            ("+MOVED 1 a:1\r\n", None),
        ] {
            assert_eq!(read(wire), expected, "{wire}");
        }
    }
}
