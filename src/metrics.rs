//! Counters and gauges, and their Prometheus text.

/// A counter by its place in the table.
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
}

/// A gauge by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Live Engine.IO sessions by transport.
    Websockets,
    Pollings,
    /// Socket.IO sockets (one a namespace and session).
    Sockets,
    /// Rooms with at least one member.
    Rooms,
}

/// Adds to a counter.
pub fn add(_counter: Counter, _by: u64) {}

/// Moves a gauge up or down.
pub fn shift(_gauge: Gauge, _by: i64) {}

/// Counts a received event by name; the number of distinct names is bounded, the rest count as `other`.
pub fn event(_name: &str) {}

/// Counts something refused, by reason (a fixed word).
pub fn refused(_reason: &'static str) {}
