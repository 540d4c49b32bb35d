//! What the hub keeps of a session: its sockets, and a packet that is not whole yet.

/// What the hub keeps of a session.
#[derive(Default)]
pub(super) struct Client {
    /// The places of its sockets in the hub's table, at most one a namespace.
    pub sockets: Vec<u32>,
    /// A packet whose attachments are not all here yet.
    pub partial: Option<Box<Partial>>,
}

/// A packet that waits for its attachments.
pub(super) struct Partial {
    pub packet: String,
    /// Where it begins.
    pub start: usize,
    pub missing: usize,
    pub attachments: Vec<Vec<u8>>,
}

impl Partial {
    /// What has come of it; all of it together is no larger than one message may be.
    pub fn bytes(&self) -> usize {
        self.packet.len() + self.attachments.iter().map(Vec::len).sum::<usize>()
    }
}
