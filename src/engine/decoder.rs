//! Websocket frames of a client, decoded in place (RFC 6455, 5.2): push bytes in, take messages out.
//!
//! A connection keeps only what is unfinished: the start of a frame, or the fragments of a message.

use super::Message;
use super::frame::{self, NORMAL};
use crate::ground::net::input::grow;
use crate::ground::tasks::LARGE;
use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The close code for what a client did wrong (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub u16);

const PROTOCOL: Fault = Fault(1002);
const NOT_UTF8: Fault = Fault(1007);
const TOO_BIG: Fault = Fault(1009);

/// What a whole frame completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code; [`NORMAL`] if it has none.
    Close(u16),
    /// A message that takes longer to look at than a turn may; nothing of it was looked at.
    Large(Large),
    /// A pong, or a fragment that more will follow.
    Nothing,
}

/// A whole message that is to be read beside our thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Large {
    kind: Data,
    /// Where it begins in its frame, and its mask; `None`: it came in fragments.
    place: Option<(usize, [u8; 4])>,
}

impl Large {
    /// Whether it came in fragments: then they are taken from the decoder.
    pub fn is_fragmented(&self) -> bool {
        self.place.is_none()
    }

    /// The same, if so many bytes stand before its frame.
    pub fn behind(mut self, bytes: usize) -> Self {
        if let Some((start, _)) = &mut self.place {
            *start += bytes;
        }
        self
    }

    /// The message in its frame, which ends the bytes, or in its fragments.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, mut bytes: Vec<u8>) -> Result<Message<'static>, Fault> {
        if let Some((start, mask)) = self.place {
            bytes.drain(..start);
            unmask(&mut bytes, mask);
        }
        match self.kind {
            Data::Text => {
                let text = String::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
                Ok(Message::LargeText(text, 0))
            }
            Data::Binary | Data::Continue | Data::Reserved(_) => Ok(Message::LargeBinary(bytes)),
        }
    }
}

/// The unfinished message of a connection.
#[derive(Default)]
pub struct Decoder {
    fragments: Option<Box<Fragments>>,
}

struct Fragments {
    kind: Data,
    bytes: Vec<u8>,
    /// The fragment that has begun and is not whole.
    begun: Option<Begun>,
}

/// A fragment is taken as it comes: it may be as large as a message, and copying that takes longer than a turn may.
struct Begun {
    left: usize,
    mask: [u8; 4],
    is_final: bool,
}

impl Decoder {
    /// Whether a message has begun and has not ended.
    pub fn is_unfinished(&self) -> bool {
        self.fragments.is_some()
    }

    /// Bytes of fragments that it holds.
    pub fn held(&self) -> usize {
        self.fragments.as_ref().map_or(0, |f| f.bytes.capacity())
    }

    /// Decodes the first frame of `bytes`, unmasking it there. `Ok(None)`: more bytes are needed.
    /// Otherwise the number of bytes used, and what it completed.
    ///
    /// # Errors
    /// What the client did wrong; a frame over `limit` (bytes, fragments counted together) is noticed by its header.
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        limit: usize,
    ) -> Result<Option<(usize, Item<'a>)>, Fault> {
        if self.fragments.as_ref().is_some_and(|f| f.begun.is_some()) {
            return self.take_some(bytes);
        }
        let Some(header) = Header::read(bytes)? else {
            return Ok(None);
        };
        let Header { start, mask, .. } = header;
        let length = usize::try_from(header.length).map_err(|_| TOO_BIG)?;
        let held = self.fragments.as_ref().map_or(0, |f| f.bytes.len());
        if length > limit.saturating_sub(held) {
            return Err(TOO_BIG);
        }
        let is_fragment = !header.is_final || self.fragments.is_some();
        if bytes.len() < start + length
            && is_fragment
            && let OpCode::Data(kind) = header.opcode
        {
            let begun = Begun {
                left: length,
                mask,
                is_final: header.is_final,
            };
            self.begin(kind, begun)?;
            return Ok(Some((start, Item::Nothing)));
        }
        let Some(payload) = bytes.get_mut(start..start + length) else {
            return Ok(None);
        };
        if length > LARGE
            && header.is_final
            && self.fragments.is_none()
            && let OpCode::Data(kind @ (Data::Text | Data::Binary)) = header.opcode
        {
            let place = Some((start, mask));
            return Ok(Some((start + length, Item::Large(Large { kind, place }))));
        }
        unmask(payload, mask);
        let item = self.complete(&header, payload)?;
        Ok(Some((start + length, item)))
    }

    /// The fragments of a large message.
    pub fn take_fragments(&mut self) -> Vec<u8> {
        self.fragments
            .take()
            .map_or_else(Vec::new, |fragments| fragments.bytes)
    }

    fn begin(&mut self, kind: Data, begun: Begun) -> Result<(), Fault> {
        match (&mut self.fragments, kind) {
            (Some(fragments), Data::Continue) => fragments.begun = Some(begun),
            (None, Data::Text | Data::Binary) => {
                self.fragments = Some(Box::new(Fragments {
                    kind,
                    bytes: Vec::new(),
                    begun: Some(begun),
                }));
            }
            _ => return Err(PROTOCOL),
        }
        Ok(())
    }

    /// Takes what has come of the fragment that has begun.
    fn take_some(&mut self, bytes: &mut [u8]) -> Result<Option<(usize, Item<'_>)>, Fault> {
        let fragments = self.fragments.as_mut().ok_or(PROTOCOL)?;
        let begun = fragments.begun.as_mut().ok_or(PROTOCOL)?;
        let n = begun.left.min(bytes.len());
        if n == 0 {
            return Ok(None);
        }
        let piece = &mut bytes[..n];
        unmask(piece, begun.mask);
        begun.mask.rotate_left(n % 4);
        begun.left -= n;
        if begun.left == 0 {
            let is_final = begun.is_final;
            fragments.begun = None;
            return Ok(Some((n, self.go_on(is_final, piece)?)));
        }
        grow(&mut fragments.bytes, n);
        fragments.bytes.extend_from_slice(piece);
        Ok(Some((n, Item::Nothing)))
    }

    fn complete<'a>(&'a mut self, header: &Header, payload: &'a [u8]) -> Result<Item<'a>, Fault> {
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(Item::Ping(payload)),
            OpCode::Control(Control::Close) => close_code(payload).map(Item::Close),
            OpCode::Control(_) => Ok(Item::Nothing),
            OpCode::Data(Data::Continue) => self.go_on(header.is_final, payload),
            OpCode::Data(_) if self.fragments.is_some() => Err(PROTOCOL),
            OpCode::Data(kind) if header.is_final => message(kind, payload),
            OpCode::Data(kind) => {
                self.fragments = Some(Box::new(Fragments {
                    kind,
                    bytes: payload.to_vec(),
                    begun: None,
                }));
                Ok(Item::Nothing)
            }
        }
    }

    fn go_on(&mut self, is_final: bool, payload: &[u8]) -> Result<Item<'_>, Fault> {
        let fragments = self.fragments.as_mut().ok_or(PROTOCOL)?;
        grow(&mut fragments.bytes, payload.len());
        fragments.bytes.extend_from_slice(payload);
        if !is_final {
            return Ok(Item::Nothing);
        }
        if fragments.bytes.len() > LARGE {
            let (kind, place) = (fragments.kind, None);
            return Ok(Item::Large(Large { kind, place }));
        }
        message(fragments.kind, &fragments.bytes)
    }

    /// Gives back the memory of a message that was fragmented and is done; call it after each item.
    pub fn item_done(&mut self, was: Done) {
        if was == Done::Message {
            self.fragments = None;
        }
    }
}

/// What kind of item was handled, for [`Decoder::item_done`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Message,
    Other,
}

impl Item<'_> {
    /// Whether it ends a message.
    pub fn done(&self) -> Done {
        match self {
            Self::Text(_) | Self::Binary(_) => Done::Message,
            Self::Large(_) | Self::Ping(_) | Self::Close(_) | Self::Nothing => Done::Other,
        }
    }
}

/// A client's frame header (RFC 6455, 5.2).
struct Header {
    is_final: bool,
    opcode: OpCode,
    mask: [u8; 4],
    length: u64,
    /// Where the payload begins.
    start: usize,
}

impl Header {
    /// Reads one by the rules for a client's; `None` when it is not all there.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let opcode = OpCode::from(first & 0x0f);
        let is_known = !matches!(
            opcode,
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_))
        );
        let (is_final, short) = (first & 0x80 != 0, second & 0x7f);
        let is_control = matches!(opcode, OpCode::Control(_));
        let (is_reserved, is_masked) = (first & 0x70 != 0, second & 0x80 != 0);
        if !is_known || is_reserved || !is_masked || (is_control && (short > 125 || !is_final)) {
            return Err(PROTOCOL);
        }
        let mask = frame::length(short, rest)
            .and_then(|(length, rest)| Some((length, rest.split_first_chunk()?)));
        Ok(mask.map(|(length, (mask, payload))| Self {
            is_final,
            opcode,
            mask: *mask,
            length,
            start: bytes.len() - payload.len(),
        }))
    }
}

/// The code of a close frame, which is empty, or a code that may be sent and a reason in UTF-8 (RFC 6455, 5.5.1).
fn close_code(payload: &[u8]) -> Result<u16, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(NORMAL)
        } else {
            Err(PROTOCOL)
        };
    };
    let code = u16::from_be_bytes(*code);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err(PROTOCOL),
    }
    let reason = std::str::from_utf8(reason);
    reason.map(|_| code).map_err(|_| NOT_UTF8)
}

fn message(kind: Data, bytes: &[u8]) -> Result<Item<'_>, Fault> {
    match kind {
        Data::Text => std::str::from_utf8(bytes)
            .map(Item::Text)
            .map_err(|_| NOT_UTF8),
        Data::Binary => Ok(Item::Binary(bytes)),
        Data::Continue | Data::Reserved(_) => Err(PROTOCOL),
    }
}

/// Removes the mask (RFC 6455, 5.3), eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![first, 0x80 | payload.len() as u8];
        if payload.len() > 125 {
            out[1] = 0x80 | 126;
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    fn fault(mut bytes: Vec<u8>) -> u16 {
        Decoder::default()
            .next(&mut bytes, 1000)
            .expect_err("a fault")
            .0
    }

    #[test]
    fn decodes_in_place_and_waits_for_the_rest() {
        let whole = frame(0x81, "grüß gott".as_bytes());
        for cut in 0..whole.len() {
            assert_eq!(
                Decoder::default().next(&mut whole[..cut].to_vec(), 1000),
                Ok(None)
            );
        }
        let mut bytes = whole.clone();
        let expected = Some((whole.len(), Item::Text("grüß gott")));
        assert_eq!(Decoder::default().next(&mut bytes, 1000), Ok(expected));
    }

    #[test]
    fn joins_fragments_with_a_ping_between() {
        let mut decoder = Decoder::default();
        assert_eq!(
            decoder
                .next(&mut frame(0x01, b"ab"), 10)
                .unwrap()
                .unwrap()
                .1,
            Item::Nothing
        );
        assert_eq!(
            decoder.next(&mut frame(0x89, b"x"), 10).unwrap().unwrap().1,
            Item::Ping(b"x")
        );
        assert_eq!(
            decoder
                .next(&mut frame(0x80, b"cd"), 10)
                .unwrap()
                .unwrap()
                .1,
            Item::Text("abcd")
        );
        decoder.item_done(Done::Message);
        assert_eq!(decoder.next(&mut frame(0x80, b"cd"), 10), Err(PROTOCOL));
    }

    #[test]
    fn a_fragment_is_taken_as_it_comes() {
        let whole = [
            frame(0x01, b"abcdefg"),
            frame(0x00, b""),
            frame(0x80, b"hijkl"),
        ]
        .concat();
        for step in 1..whole.len() {
            let (mut decoder, mut bytes, mut texts) = (Decoder::default(), Vec::new(), Vec::new());
            for piece in whole.chunks(step) {
                bytes.extend_from_slice(piece);
                while let Some((used, item)) = decoder.next(&mut bytes, 12).unwrap() {
                    let done = item.done();
                    if let Item::Text(text) = item {
                        texts.push(text.to_owned());
                    }
                    decoder.item_done(done);
                    bytes.drain(..used);
                }
                // Of a fragment no more waits than its head.
                assert!(bytes.len() < 6);
            }
            assert_eq!(
                (texts, decoder.held()),
                (vec!["abcdefghijkl".to_owned()], 0)
            );
        }
        let mut decoder = Decoder::default();
        for (part, length) in [(0x01, 6), (0x00, 6), (0x80, 1)] {
            let cut = frame(part, b"x").split_at(6).0.to_vec();
            let mut bytes = [&[cut[0], 0x80 | length], &cut[2..], b"y"].concat();
            assert_eq!(decoder.next(&mut bytes, 12).is_err(), part == 0x80);
            bytes.drain(..6);
            for _ in 0..length {
                let _ = decoder.next(&mut bytes.clone(), 12);
            }
        }
    }

    #[test]
    fn each_breach_has_its_code() {
        assert_eq!(fault(vec![0x81, 0x01, b'x']), 1002, "unmasked");
        assert_eq!(fault(frame(0xC1, b"x")), 1002, "reserved bit");
        assert_eq!(fault(frame(0x83, b"x")), 1002, "reserved opcode");
        assert_eq!(fault(frame(0x09, b"x")), 1002, "fragmented ping");
        assert_eq!(fault(frame(0x89, &[0; 126])), 1002, "long ping");
        assert_eq!(fault(frame(0x88, &[1])), 1002, "half a close code");
        assert_eq!(fault(frame(0x81, &[0xff])), 1007, "not UTF-8");
        assert_eq!(fault(frame(0x82, &[0; 1001])), 1009, "too big");
    }

    #[test]
    fn a_length_that_lies_is_refused_by_its_header() {
        let mut huge = vec![
            0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        ];
        assert_eq!(Decoder::default().next(&mut huge, 1000), Err(TOO_BIG));
    }

    #[test]
    fn fragments_together_are_bounded() {
        let mut decoder = Decoder::default();
        assert!(decoder.next(&mut frame(0x01, b"12345678"), 10).is_ok());
        assert_eq!(decoder.next(&mut frame(0x80, b"123"), 10), Err(TOO_BIG));
    }
}
