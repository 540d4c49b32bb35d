//! The bounded queue of encoded frames between hub and transport.
//!
//! A [`Frame`] is encoded once and shared by every receiver's outbox: one pointer each.
//! The bound is in bytes; a frame that is larger than the bound still passes when the queue is empty.
//! What has been written to its last receiver lends its memory to the next frame: a stream of tokens allocates nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::rc::Rc;

/// Encoded bytes, immutable and shared: one or more whole websocket frames of a server (RFC 6455, 5.2).
pub type Frame = Rc<Vec<u8>>;

/// How many frames one write joins at most.
const JOINED: usize = 64;

/// What is left of the queue's buffer once it is empty, in frames: what a chunk of a stream brings fits.
const KEPT: usize = 16;

/// Written frames that are kept to be filled again, as many as one write joins, and bytes of one at most.
const SPARES: usize = JOINED;
const SPARE_BYTES: usize = 1024;

thread_local! {
    static SPARE: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// A frame of at most `length` bytes that `fill` appends, in the memory of one that has been written if there is one.
pub fn frame(length: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut frame = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    // Nobody else holds it.
    if let Some(bytes) = Rc::get_mut(&mut frame) {
        bytes.reserve_exact(length);
        fill(bytes);
    }
    frame
}

/// Keeps a written frame to be filled again, if this was its last receiver.
fn reuse(mut frame: Frame) {
    let Some(bytes) = Rc::get_mut(&mut frame).filter(|bytes| bytes.capacity() <= SPARE_BYTES)
    else {
        return;
    };
    bytes.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARES {
            spare.push(frame);
        }
    });
}

/// Frames that wait for their transport.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Frame>,
    /// Bytes in `queue`, those of the first frame that are already written included.
    bytes: usize,
    /// Bytes of the first frame that are already written.
    written: usize,
}

/// What a write left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits any more.
    All,
    /// The kernel takes no more for now.
    Blocked,
}

impl Outbox {
    /// Adds a frame; `false` when the bound (bytes) forbids it and nothing was added.
    pub fn push(&mut self, frame: Frame, bound: usize) -> bool {
        if !self.queue.is_empty() && self.bytes + frame.len() > bound {
            return false;
        }
        self.bytes += frame.len();
        self.queue.push_back(frame);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// Writes what waits, joined into as few writes as possible. Adds the bytes written to `count`.
    ///
    /// # Errors
    /// Whatever the writer says, but for `WouldBlock` and `Interrupted`.
    pub fn write_to(&mut self, writer: &mut impl Write, count: &mut u64) -> io::Result<Written> {
        while !self.queue.is_empty() {
            match self.write_once(writer) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    *count += n as u64;
                    self.consume(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Written::All)
    }

    /// Takes whole frames for a poller, at least one, else not over `limit` bytes and `most` of what `packets` counts.
    pub fn take(&mut self, limit: usize, most: u64, packets: fn(&[u8]) -> u64) -> Vec<Frame> {
        let mut taken = Vec::new();
        let (mut bytes, mut count) = (0, 0);
        while let Some(frame) = self.queue.front() {
            let more = packets(frame);
            if (bytes + frame.len() > limit || count + more > most) && !taken.is_empty() {
                break;
            }
            bytes += frame.len();
            count += more;
            taken.extend(self.queue.pop_front());
        }
        self.bytes -= bytes;
        self.shrink();
        taken
    }

    fn write_once(&self, writer: &mut impl Write) -> io::Result<usize> {
        let first = &self.queue[0][self.written..];
        if self.queue.len() == 1 {
            return writer.write(first);
        }
        let mut slices = [IoSlice::new(&[]); JOINED];
        slices[0] = IoSlice::new(first);
        let rest = self.queue.iter().skip(1);
        let mut used = 1;
        for (slot, frame) in slices[1..].iter_mut().zip(rest) {
            *slot = IoSlice::new(frame);
            used += 1;
        }
        writer.write_vectored(&slices[..used])
    }

    fn consume(&mut self, written: usize) {
        self.written += written;
        while let Some(len) = self.queue.front().map(|f| f.len()) {
            if self.written < len {
                break;
            }
            self.written -= len;
            self.bytes -= len;
            if let Some(frame) = self.queue.pop_front() {
                reuse(frame);
            }
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        Rc::new(vec![7; len])
    }

    /// Takes at most `room` bytes a write, then blocks.
    struct Narrow {
        room: usize,
        got: Vec<u8>,
        calls: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let n = buf.len().min(self.room);
            self.room -= n;
            self.got.extend_from_slice(&buf[..n]);
            Ok(n)
        }
        fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let joined: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
            self.write(&joined)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bound_holds_but_for_a_single_large_frame() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(frame(100), 50));
        assert!(!outbox.push(frame(1), 50));
        assert_eq!(outbox.bytes(), 100);
        assert_eq!(outbox.take(10, 9, |_| 1).len(), 1);
        assert!(outbox.push(frame(30), 50) && outbox.push(frame(20), 50));
        assert_eq!(outbox.take(100, 3, |_| 2).len(), 1);
        assert!(outbox.push(frame(30), 50));
        assert!(!outbox.push(frame(1), 50));
    }

    #[test]
    fn ten_frames_cost_one_write() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            assert!(outbox.push(frame(5), 100));
        }
        let mut writer = Narrow {
            room: 100,
            got: vec![],
            calls: 0,
        };
        let mut count = 0;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count).unwrap(),
            Written::All
        );
        assert_eq!((writer.calls, writer.got.len(), count), (1, 50, 50));
    }

    #[test]
    fn a_written_frame_is_filled_again_once_its_last_receiver_has_it() {
        let mut writer = Narrow {
            room: 10_000,
            got: vec![],
            calls: 0,
        };
        let mut write = |outbox: &mut Outbox| outbox.write_to(&mut writer, &mut 0).unwrap();
        let (mut one, mut other) = (Outbox::default(), Outbox::default());
        let first = super::frame(3, |bytes| bytes.extend_from_slice(b"one"));
        let place = first.as_ptr();
        assert!(one.push(first.clone(), 100) && other.push(first, 100));
        write(&mut one);
        let second = super::frame(3, |bytes| bytes.extend_from_slice(b"two"));
        assert_ne!(
            second.as_ptr(),
            place,
            "the other still waits for the first"
        );
        write(&mut other);
        let third = super::frame(2, |bytes| bytes.extend_from_slice(b"3!"));
        assert_eq!((third.as_ptr(), &third[..]), (place, &b"3!"[..]));
        assert_eq!(&second[..], b"two");
        // A large one gives its memory back.
        let large = super::frame(5000, |bytes| bytes.resize(5000, 7));
        assert!(one.push(large, 1));
        write(&mut one);
        assert!(super::frame(1, |_| ()).capacity() <= SPARE_BYTES);
        assert_eq!(writer.got.len(), 3 + 3 + 5000);
    }

    #[test]
    fn a_blocked_write_goes_on_where_it_stopped() {
        let mut outbox = Outbox::default();
        let sent: Vec<u8> = (0..30).collect();
        for part in sent.chunks(10) {
            assert!(outbox.push(Rc::new(part.to_vec()), 100));
        }
        let mut writer = Narrow {
            room: 13,
            got: vec![],
            calls: 0,
        };
        let mut count = 0;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count).unwrap(),
            Written::Blocked
        );
        assert_eq!(outbox.bytes(), 17);
        writer.room = 100;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count).unwrap(),
            Written::All
        );
        assert_eq!(writer.got, sent);
        assert_eq!((count, outbox.bytes()), (30, 0));
    }
}
