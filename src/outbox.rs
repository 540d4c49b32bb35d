//! The bounded queue of encoded frames between hub and transport.
//!
//! A [`Frame`] is encoded once and shared by every receiver's outbox: one pointer each.
//! A reader is too slow when more waits than the bound (bytes) and nothing has been taken for a while, or when far more
//! waits. A frame larger than the bound is not counted against what follows it: whoever reads it will come to the rest.
//! What has been written to its last receiver lends its memory to the next frame: a stream of tokens allocates nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long nothing is taken of what waits until a reader has stopped: longer than the pauses of a mobile link that comes
/// back (TCP tries again after 13 s at the latest when it has lost six times), shorter than from one heartbeat to the next.
const STALLED: Duration = Duration::from_secs(20);

/// Bytes that may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For one who has taken nothing for [`STALLED`]; larger frames are not counted.
    pub stalled: usize,
    /// For one who reads, beside one frame of any size.
    pub most: usize,
}

/// Senders whose last news are kept for a reader who is behind.
const LATE: usize = 64;

/// Encoded bytes, immutable and shared: one or more whole websocket frames of a server (RFC 6455, 5.2).
pub type Frame = Rc<Vec<u8>>;

/// How many frames one write joins at most.
const JOINED: usize = 64;

/// Emptied queues that are kept, and the largest of them in frames: what a chunk of a stream brings fits.
const QUEUES_KEPT: usize = 64;
const KEPT: usize = 64;

/// Written frames that are kept to be filled again, as many as one write joins, and bytes of one at most.
const SPARES: usize = JOINED;
const SPARE_BYTES: usize = 1024;

thread_local! {
    static SPARE: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    /// Empty queues: one that has nothing to hold holds no memory either.
    static QUEUES: RefCell<Vec<VecDeque<Frame>>> = const { RefCell::new(Vec::new()) };
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
    /// The frame that is written next. Mostly it is the only one, and no queue is needed.
    first: Option<Frame>,
    /// Those behind it.
    queue: VecDeque<Frame>,
    /// Bytes of all frames, those of the first one that are already written included.
    bytes: usize,
    /// Bytes of the first frame that are already written.
    written: usize,
    /// Bytes of the frames that are larger than the bound, and of the largest since there was none.
    large: usize,
    largest: usize,
    /// When something was taken last, or began to wait.
    taken: Option<Instant>,
    /// The last news of senders, for when nothing waits any more.
    late: Option<Box<Late>>,
}

type Late = VecDeque<(u64, Frame)>;

/// What a write left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits any more.
    All,
    /// The kernel takes no more for now.
    Blocked,
}

impl Outbox {
    /// Adds a frame; `false` when the reader is too slow and nothing was added.
    pub fn push(&mut self, frame: Frame, bounds: Bounds, now: Instant) -> bool {
        if self.is_empty() {
            self.start(now);
        } else if self.is_too_slow(frame.len(), bounds, now) {
            return false;
        }
        self.add(frame, bounds.stalled);
        true
    }

    fn start(&mut self, now: Instant) {
        self.taken = Some(now);
        self.largest = 0;
    }

    fn add(&mut self, frame: Frame, bound: usize) {
        self.bytes += frame.len();
        self.largest = self.largest.max(frame.len());
        if frame.len() > bound {
            self.large += frame.len();
        }
        if self.first.is_none() {
            self.first = Some(frame);
            return;
        }
        if self.queue.capacity() == 0 {
            self.queue = QUEUES.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        self.queue.push_back(frame);
    }

    fn is_too_slow(&self, more: usize, bounds: Bounds, now: Instant) -> bool {
        let bound = bounds.stalled;
        let small = if more > bound { 0 } else { more };
        let stalled = |taken| now.saturating_duration_since(taken) >= STALLED;
        let bytes = self.bytes + more;
        // The largest may be written already.
        let beside = bytes.saturating_sub(self.largest.max(more));
        let waiting = self.bytes.saturating_sub(self.large) + small;
        beside > bounds.most || (waiting > bound && self.taken.is_some_and(stalled))
    }

    /// The last words: no bound holds for them.
    pub fn push_last(&mut self, frame: Frame) {
        self.add(frame, usize::MAX);
    }

    /// Keeps the last news of a sender for when nothing waits any more.
    pub fn keep_last(&mut self, sender: u64, frame: Frame) {
        let late = self.late.get_or_insert_default();
        match late.iter_mut().find(|(from, _)| *from == sender) {
            Some((_, last)) => *last = frame,
            None => {
                if late.len() == LATE {
                    late.pop_front();
                }
                late.push_back((sender, frame));
            }
        }
    }

    /// Adds the news that were kept; whether there were any.
    pub fn add_late(&mut self, bounds: Bounds, now: Instant) -> bool {
        let Some(late) = self.late.take() else {
            return false;
        };
        for (_, frame) in *late {
            self.push(frame, bounds, now);
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether one write has enough to join.
    pub fn fills_a_write(&self) -> bool {
        self.queue.len() >= JOINED - 1
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// Writes what waits, joined into as few writes as possible. Adds the bytes written to `count`.
    ///
    /// # Errors
    /// Whatever the writer says, but for `WouldBlock` and `Interrupted`.
    pub fn write_to(
        &mut self,
        writer: &mut impl Write,
        count: &mut u64,
        bound: usize,
    ) -> io::Result<Written> {
        while !self.is_empty() {
            match self.write_once(writer) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    *count += n as u64;
                    self.consume(n, bound);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Written::All)
    }

    /// Notes that something has been taken.
    pub fn was_taken(&mut self, now: Instant) {
        self.taken = Some(now);
    }

    /// Takes whole frames for a poller, at least one, else not over `limit` bytes and `most` of what `packets` counts.
    pub fn take(
        &mut self,
        limit: usize,
        most: u64,
        bound: usize,
        packets: fn(&[u8]) -> u64,
    ) -> Vec<Frame> {
        let mut taken = Vec::new();
        let (mut bytes, mut count) = (0, 0);
        while let Some(frame) = &self.first {
            let more = packets(frame);
            if (bytes + frame.len() > limit || count + more > most) && !taken.is_empty() {
                break;
            }
            bytes += frame.len();
            count += more;
            // The last words were not counted.
            self.large =
                self.large
                    .saturating_sub(if frame.len() > bound { frame.len() } else { 0 });
            taken.extend(self.pop());
        }
        self.bytes -= bytes;
        taken
    }

    fn write_once(&self, writer: &mut impl Write) -> io::Result<usize> {
        let first = self.first.as_ref().map_or(&[][..], |first| first);
        let first = &first[self.written..];
        if self.queue.is_empty() {
            return writer.write(first);
        }
        let mut slices = [IoSlice::new(&[]); JOINED];
        slices[0] = IoSlice::new(first);
        let mut used = 1;
        for (slot, frame) in slices[1..].iter_mut().zip(&self.queue) {
            *slot = IoSlice::new(frame);
            used += 1;
        }
        writer.write_vectored(&slices[..used])
    }

    fn consume(&mut self, written: usize, bound: usize) {
        self.written += written;
        while let Some(len) = self.first.as_ref().map(|first| first.len()) {
            if self.written < len {
                break;
            }
            self.written -= len;
            self.bytes -= len;
            self.large = self.large.saturating_sub(if len > bound { len } else { 0 });
            self.pop().into_iter().for_each(reuse);
        }
    }

    /// Takes the first frame. A queue that is empty then lends its memory to the next.
    fn pop(&mut self) -> Option<Frame> {
        let next = self.queue.pop_front();
        let taken = std::mem::replace(&mut self.first, next);
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            let queue = std::mem::take(&mut self.queue);
            QUEUES.with_borrow_mut(|queues| {
                if queue.capacity() <= KEPT && queues.len() < QUEUES_KEPT {
                    queues.push(queue);
                }
            });
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Frame {
        Rc::new(vec![7; len])
    }

    fn bounds(stalled: usize) -> Bounds {
        let most = 8 * stalled;
        Bounds { stalled, most }
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
    fn a_reader_is_too_slow_when_it_has_stopped_or_far_too_much_waits() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        let later = start + STALLED;
        // A large frame is not counted against what follows it, however long it takes.
        assert!(outbox.push(frame(500), bounds(50), start));
        assert!(outbox.push(frame(50), bounds(50), later));
        assert!(!outbox.push(frame(1), bounds(50), later));
        // It reads on: then more may wait, but not any amount.
        outbox.was_taken(later);
        assert!(
            outbox.push(frame(40), bounds(50), later) && outbox.push(frame(310), bounds(50), later)
        );
        assert!(
            !outbox.push(frame(1), bounds(50), later),
            "400 beside the largest"
        );
        assert_eq!(
            (outbox.bytes(), outbox.take(10, 9, 50, |_| 1).len()),
            (900, 1)
        );
        assert_eq!(outbox.take(1000, 3, 50, |_| 2).len(), 1);
        assert_eq!(
            (outbox.take(1000, 9, 50, |_| 1).len(), outbox.bytes()),
            (2, 0)
        );
        assert_eq!(outbox.large, 0);
    }

    #[test]
    fn a_large_frame_that_is_written_counts_no_more() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        assert!(
            outbox.push(frame(500), bounds(50), now) && outbox.push(frame(10), bounds(50), now)
        );
        assert_eq!(outbox.take(500, 1, 50, |_| 1).len(), 1);
        assert!(outbox.push(frame(1), bounds(50), now));
        outbox.push_last(frame(80));
        assert_eq!(outbox.take(1000, 9, 50, |_| 1).len(), 3);
        assert!(outbox.is_empty() && outbox.push(frame(5), bounds(50), now));
        assert_eq!((outbox.bytes(), outbox.large), (5, 0));
    }

    #[test]
    fn the_last_news_of_each_sender_wait_until_nothing_else_does() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for sender in 0..100 {
            outbox.keep_last(sender, frame(1));
            outbox.keep_last(sender, frame(2));
        }
        assert!(outbox.is_empty() && outbox.add_late(bounds(500), now));
        assert_eq!(outbox.bytes(), 2 * LATE);
        assert!(!outbox.add_late(bounds(500), now));
    }

    #[test]
    fn ten_frames_cost_one_write() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            assert!(outbox.push(frame(5), bounds(100), Instant::now()));
        }
        let mut writer = Narrow {
            room: 100,
            got: vec![],
            calls: 0,
        };
        let mut count = 0;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count, 100).unwrap(),
            Written::All
        );
        assert_eq!((writer.calls, writer.got.len(), count), (1, 50, 50));
    }

    #[test]
    fn one_frame_takes_no_queue_and_many_fill_a_write() {
        let mut outbox = Outbox::default();
        let add = |outbox: &mut Outbox| assert!(outbox.push(frame(1), bounds(100), Instant::now()));
        add(&mut outbox);
        assert_eq!(outbox.queue.capacity(), 0);
        (2..JOINED).for_each(|_| add(&mut outbox));
        assert!(!outbox.fills_a_write());
        add(&mut outbox);
        assert!(outbox.fills_a_write());
        assert_eq!(outbox.take(JOINED, 99, 100, |_| 1).len(), JOINED);
        assert!(outbox.is_empty() && outbox.queue.capacity() == 0);
    }

    #[test]
    fn a_written_frame_is_filled_again_once_its_last_receiver_has_it() {
        let mut writer = Narrow {
            room: 10_000,
            got: vec![],
            calls: 0,
        };
        let mut write = |outbox: &mut Outbox| outbox.write_to(&mut writer, &mut 0, 100).unwrap();
        let (mut one, mut other) = (Outbox::default(), Outbox::default());
        let first = super::frame(3, |bytes| bytes.extend_from_slice(b"one"));
        let place = first.as_ptr();
        let now = Instant::now();
        assert!(one.push(first.clone(), bounds(100), now) && other.push(first, bounds(100), now));
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
        assert!(one.push(large, bounds(100), now));
        write(&mut one);
        assert!(super::frame(1, |_| ()).capacity() <= SPARE_BYTES);
        assert_eq!(writer.got.len(), 3 + 3 + 5000);
    }

    #[test]
    fn a_blocked_write_goes_on_where_it_stopped() {
        let mut outbox = Outbox::default();
        let sent: Vec<u8> = (0..30).collect();
        for part in sent.chunks(10) {
            assert!(outbox.push(Rc::new(part.to_vec()), bounds(100), Instant::now()));
        }
        let mut writer = Narrow {
            room: 13,
            got: vec![],
            calls: 0,
        };
        let mut count = 0;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count, 100).unwrap(),
            Written::Blocked
        );
        assert_eq!(outbox.bytes(), 17);
        writer.room = 100;
        assert_eq!(
            outbox.write_to(&mut writer, &mut count, 100).unwrap(),
            Written::All
        );
        assert_eq!(writer.got, sent);
        assert_eq!((count, outbox.bytes()), (30, 0));
    }
}
