//! Counters and gauges, and their Prometheus text.
//!
//! Plain cells of our one thread: counting costs one addition. A new one is a variant and a row in the table below it;
//! rows of one name stand together, since the text names each only once.

use crate::ground::net::Reactor;
use crate::ground::net::input::InputBudget;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::fmt::Write;

/// A counter by its place in [`COUNTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Engine.IO packets received / sent, bytes on the wire of live transports.
    PacketsIn,
    PacketsOut,
    BytesIn,
    BytesOut,
    /// Sessions closed because their outbox was full.
    OutboxOverflows,
    /// Acks that were asked for and did not come in time.
    AckTimeouts,
    /// Requests to the HTTP API, refused ones too.
    ApiRequests,
    /// Messages of other instances, and to them.
    BackplaneIn,
    BackplaneOut,
    /// Redirects of a Redis Cluster: the slot is another node's, or this key already.
    Moved,
    Asked,
    /// Sessions that were taken up again.
    Recovered,
}

/// A gauge by its place in [`GAUGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Live Engine.IO sessions by transport.
    Websockets,
    Pollings,
    /// Socket.IO sockets (one a namespace and session).
    Sockets,
    /// Rooms with at least one member.
    Rooms,
    /// Sessions that may come back, and bytes that are kept for all who may.
    Away,
    Kept,
}

/// Name, labels as they are written, and one sentence of help.
type Row = (&'static str, &'static str, &'static str);

const PACKETS: &str = "Engine.IO packets of live sessions.";
const BYTES: &str = "Bytes of packets on the wire.";
const REDIRECTS: &str = "Commands that a node of the Redis Cluster sent to another.";
const MESSAGES: &str = "Messages between instances over Redis.";

/// In the order of [`Counter`].
const COUNTERS: [Row; 12] = [
    ("siskin_packets_total", r#"{direction="in"}"#, PACKETS),
    ("siskin_packets_total", r#"{direction="out"}"#, PACKETS),
    ("siskin_bytes_total", r#"{direction="in"}"#, BYTES),
    ("siskin_bytes_total", r#"{direction="out"}"#, BYTES),
    (
        "siskin_outbox_overflows_total",
        "",
        "Sessions closed because they read too slowly.",
    ),
    (
        "siskin_ack_timeouts_total",
        "",
        "Acks that did not come in time.",
    ),
    ("siskin_api_requests_total", "", "Requests to the HTTP API."),
    (
        "siskin_backplane_messages_total",
        r#"{direction="in"}"#,
        MESSAGES,
    ),
    (
        "siskin_backplane_messages_total",
        r#"{direction="out"}"#,
        MESSAGES,
    ),
    (
        "siskin_redis_redirects_total",
        r#"{kind="moved"}"#,
        REDIRECTS,
    ),
    ("siskin_redis_redirects_total", r#"{kind="ask"}"#, REDIRECTS),
    (
        "siskin_recovered_total",
        "",
        "Sessions that were taken up again with all that they missed.",
    ),
];

const SESSIONS: &str = "Live sessions.";

/// In the order of [`Gauge`].
const GAUGES: [Row; 6] = [
    ("siskin_sessions", r#"{transport="websocket"}"#, SESSIONS),
    ("siskin_sessions", r#"{transport="polling"}"#, SESSIONS),
    (
        "siskin_sockets",
        "",
        "Connected sockets, one a namespace and session.",
    ),
    ("siskin_rooms", "", "Rooms with a member on this instance."),
    (
        "siskin_away_sessions",
        "",
        "Sessions that lost their connection and may come back.",
    ),
    (
        "siskin_recovery_bytes",
        "",
        "Bytes of events and sessions that are kept for who comes back.",
    ),
];

/// The event names that are counted by name, sorted. A client chooses its names, so all others are one `other`.
/// `stream` stands for the names that are a user's own stream.
const EVENTS: [&str; 14] = [
    "events:channel",
    "events:chat",
    "heartbeat",
    "join-channels",
    "join-note",
    "stream",
    "usage",
    "user-join",
    "ydoc:awareness:update",
    "ydoc:document:join",
    "ydoc:document:leave",
    "ydoc:document:state",
    "ydoc:document:update",
    "other",
];

const OTHER: usize = EVENTS.len() - 1;

/// How often something was for which reason (a fixed word), sorted.
type Reasons = Vec<(&'static str, u64)>;

thread_local! {
    static COUNTED: [Cell<u64>; COUNTERS.len()] = const { [const { Cell::new(0) }; COUNTERS.len()] };
    static GAUGED: [Cell<i64>; GAUGES.len()] = const { [const { Cell::new(0) }; GAUGES.len()] };
    static NAMED: [Cell<u64>; EVENTS.len()] = const { [const { Cell::new(0) }; EVENTS.len()] };
    static REFUSED: RefCell<Reasons> = const { RefCell::new(Vec::new()) };
    static NOT_RECOVERED: RefCell<Reasons> = const { RefCell::new(Vec::new()) };
}

/// Adds to a counter.
pub fn add(counter: Counter, by: u64) {
    COUNTED.with(|cells| {
        let cell = &cells[counter as usize];
        cell.set(cell.get().wrapping_add(by));
    });
}

/// Moves a gauge up or down.
pub fn shift(gauge: Gauge, by: i64) {
    GAUGED.with(|cells| {
        let cell = &cells[gauge as usize];
        cell.set(cell.get().wrapping_add(by));
    });
}

/// What a counter stands at.
pub fn counted(counter: Counter) -> u64 {
    COUNTED.with(|cells| cells[counter as usize].get())
}

/// What a gauge stands at.
pub fn gauged(gauge: Gauge) -> i64 {
    GAUGED.with(|cells| cells[gauge as usize].get())
}

/// Counts a received event by name; a name that is not in the table counts as `other`.
pub fn event(name: &str) {
    let place = place(name);
    NAMED.with(|cells| cells[place].set(cells[place].get().wrapping_add(1)));
}

/// The name that it is counted under.
pub fn event_name(name: &str) -> &'static str {
    EVENTS[place(name)]
}

/// One after the other: most are told apart by their length.
fn place(name: &str) -> usize {
    let known = EVENTS.iter().position(|event| *event == name);
    known.unwrap_or(OTHER)
}

/// All events received so far.
pub fn events() -> u64 {
    NAMED.with(|cells| cells.iter().map(Cell::get).sum())
}

/// Counts something refused, by reason (a fixed word).
pub fn refused(reason: &'static str) {
    refuse(reason, 1);
}

/// The same for several at once.
pub fn refuse(reason: &'static str, count: u64) {
    REFUSED.with_borrow_mut(|reasons| add_to(reasons, reason, count));
}

/// Counts a session that was not taken up again, by reason (a fixed word).
pub fn not_recovered(reason: &'static str) {
    NOT_RECOVERED.with_borrow_mut(|reasons| add_to(reasons, reason, 1));
}

/// All of those, by reason.
pub fn all_not_recovered() -> Value {
    NOT_RECOVERED.with_borrow(|reasons| reasons.iter().copied().collect())
}

fn add_to(reasons: &mut Reasons, reason: &'static str, count: u64) {
    match reasons.binary_search_by_key(&reason, |(reason, _)| reason) {
        Ok(at) => reasons[at].1 += count,
        Err(at) => reasons.insert(at, (reason, count)),
    }
}

/// Bytes of memory that the process holds, from the kernel; `None` where it does not tell.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Everything as Prometheus text (exposition format 0.0.4).
pub fn text() -> String {
    let mut out = Text::default();
    COUNTED.with(|cells| {
        for (row, cell) in COUNTERS.iter().zip(cells) {
            out.line("counter", row, cell.get());
        }
    });
    NAMED.with(|cells| {
        for (name, cell) in EVENTS.iter().zip(cells) {
            let labels = format!(r#"{{event="{name}"}}"#);
            let help = "Events received from clients.";
            out.line(
                "counter",
                &("siskin_events_total", &labels, help),
                cell.get(),
            );
        }
    });
    REFUSED.with_borrow(|reasons| {
        for (reason, count) in reasons {
            let labels = format!(r#"{{reason="{reason}"}}"#);
            let help = "What was refused, by reason.";
            out.line("counter", &("siskin_refused_total", &labels, help), count);
        }
    });
    NOT_RECOVERED.with_borrow(|reasons| {
        for (reason, count) in reasons {
            let labels = format!(r#"{{reason="{reason}"}}"#);
            let help = "Sessions that were not taken up again, by reason.";
            out.line(
                "counter",
                &("siskin_not_recovered_total", &labels, help),
                count,
            );
        }
    });
    let help = "Unfinished input that was given up: it came too slowly, or there was no room.";
    let ended = ("siskin_input_ended_total", "", help);
    out.line("counter", &ended, InputBudget::ended());
    GAUGED.with(|cells| {
        for (row, cell) in GAUGES.iter().zip(cells) {
            out.line("gauge", row, cell.get());
        }
    });
    let help = "Bytes of input that is not finished, of all connections.";
    let used = ("siskin_input_bytes", "", help);
    out.line("gauge", &used, InputBudget::used());
    let (longest, hardest) = Reactor::with(|reactor| {
        let turns = reactor.turns();
        (turns.longest(), turns.hardest())
    });
    let help = "The longest that all waited for one thing to be done.";
    out.line(
        "gauge",
        &("siskin_longest_turn_seconds", "", help),
        longest.as_secs_f64(),
    );
    if let Some(hardest) = hardest {
        let help = "The most that one thing took of the processor; with SISKIN_LOG=debug.";
        let row = ("siskin_longest_turn_cpu_seconds", "", help);
        out.line("gauge", &row, hardest.as_secs_f64());
    }
    let version = concat!(r#"{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    out.line(
        "gauge",
        &("siskin_info", version, "The version that runs."),
        1,
    );
    if let Some(bytes) = resident_bytes() {
        let row = ("process_resident_memory_bytes", "", "Resident memory.");
        out.line("gauge", &row, bytes);
    }
    out.text
}

/// The text so far, and the name that was written last.
#[derive(Default)]
struct Text {
    text: String,
    last: String,
}

impl Text {
    fn line(
        &mut self,
        kind: &str,
        &(name, labels, help): &(&str, &str, &str),
        value: impl std::fmt::Display,
    ) {
        // Writing to a String can't fail.
        if self.last != name {
            self.last = name.to_owned();
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_golden_one() {
        add(Counter::PacketsIn, 3);
        add(Counter::BytesOut, 4096);
        shift(Gauge::Websockets, 2);
        shift(Gauge::Websockets, -1);
        event("usage");
        event("ydoc:document:update");
        event("made up");
        event("other");
        refused("events");
        refused("address");
        refused("events");
        let measured = [
            "process_resident_memory_bytes ",
            "siskin_longest_turn_seconds ",
        ];
        let fixed = |line: &&str| !measured.iter().any(|name| line.starts_with(name));
        let text: Vec<_> = text().lines().filter(fixed).map(str::to_owned).collect();
        let golden = include_str!("../tests/golden/metrics.txt")
            .replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(text.join("\n") + "\n", golden);
    }

    #[test]
    fn the_tables_are_in_order() {
        assert_eq!(COUNTERS.len(), Counter::Recovered as usize + 1);
        assert_eq!(GAUGES.len(), Gauge::Kept as usize + 1);
        assert!(EVENTS[..OTHER].is_sorted());
        assert_eq!(EVENTS[OTHER], "other");
    }

    #[test]
    fn resident_memory_is_told() {
        let bytes = resident_bytes().unwrap();
        assert!((100_000..10_000_000_000).contains(&bytes), "{bytes}");
    }
}
