//! Engine.IO packets as text: one type digit, then data (Engine.IO protocol, "Packet encoding").

/// The close packet, of either side.
pub(super) const CLOSE: u8 = b'1';

/// The packet that says nothing.
pub(super) const NOOP: u8 = b'6';

/// A packet from a client. Binary messages have no type digit and are not parsed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `1`: the client closes the session.
    Close,
    /// `2`: only as a probe during an upgrade.
    Ping(&'a str),
    /// `3`: the answer to a heartbeat.
    Pong,
    /// `4`: a text message.
    Message(&'a str),
    /// `5`: the probed transport takes over.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` when it is not one that a client may send.
    pub fn decode(text: &'a str) -> Option<Self> {
        let data = text.get(1..)?;
        match text.as_bytes()[0] {
            b'1' if data.is_empty() => Some(Self::Close),
            b'2' => Some(Self::Ping(data)),
            b'3' => Some(Self::Pong),
            b'4' => Some(Self::Message(data)),
            b'5' if data.is_empty() => Some(Self::Upgrade),
            b'6' => Some(Self::Noop),
            _ => None,
        }
    }
}

/// A message as the layer above sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// A text that takes longer to look at than a turn may ([`LARGE`](crate::ground::tasks::LARGE)), to be kept. It begins at
    /// this byte.
    LargeText(String, usize),
    /// The same with bytes.
    LargeBinary(Vec<u8>),
}

impl Message<'_> {
    /// Its bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) => data.len(),
            Self::LargeText(text, start) => text.len() - start,
            Self::LargeBinary(data) => data.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_client_may_send() {
        assert_eq!(Packet::decode("4hello"), Some(Packet::Message("hello")));
        assert_eq!(Packet::decode("4"), Some(Packet::Message("")));
        assert_eq!(Packet::decode("2probe"), Some(Packet::Ping("probe")));
        assert_eq!(Packet::decode("3"), Some(Packet::Pong));
        assert_eq!(Packet::decode("1"), Some(Packet::Close));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "0", "7", "abc", "1x", "5x", "é4", "0{}"] {
            assert_eq!(Packet::decode(text), None, "{text:?}");
        }
    }
}
