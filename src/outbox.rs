//! The bounded queue of encoded frames between hub and transport.
//!
//! A [`Frame`] is encoded once and shared by every receiver's outbox: one pointer each.
//! A reader is too slow when more waits than the bound (bytes) and nothing has been taken for a while, or when far more
//! waits. A frame larger than the bound is not counted against what follows it: whoever reads it will come to the rest.
//! What has been written to its last receiver lends its memory to the next frame: a stream of tokens allocates nothing.

#[cfg(test)]
mod tests;

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

/// Encoded bytes, immutable and shared: one or more whole websocket frames of a server (RFC 6455, 5.2). A message may be two
/// of these, of which the first is shared: nothing comes between them.
pub type Frame = Rc<Vec<u8>>;

/// What a frame takes beside its bytes: counts, pointers, the allocator's.
const OVERHEAD: usize = 64;

/// How many frames one write joins at most.
const JOINED: usize = 64;

/// Emptied queues that are kept, and the largest of them in frames: what a chunk of a stream brings fits.
const QUEUES_KEPT: usize = 64;
const KEPT: usize = 64;

/// Written frames that are kept to be filled again, as many as one write joins, and bytes of one at most.
const SPARES: usize = JOINED;
const SPARE_BYTES: usize = 1024;

/// Boxed, since hardly anybody has one.
type Queue = Box<VecDeque<Frame>>;

thread_local! {
    static SPARE: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    /// Empty queues: one that has nothing to hold holds no memory either.
    static QUEUES: RefCell<Vec<Queue>> = const { RefCell::new(Vec::new()) };
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
pub fn reuse(mut frame: Frame) {
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
    /// Those behind it, if there are any.
    queue: Option<Queue>,
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
    /// As much as was to be written; more waits.
    Some,
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
        let fresh = || QUEUES.with_borrow_mut(Vec::pop).unwrap_or_default();
        self.queue.get_or_insert_with(fresh).push_back(frame);
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
        let behind = self.queue.as_ref().map_or(0, |queue| queue.len());
        behind >= JOINED - 1
    }

    /// Whether this frame waits.
    pub fn holds(&self, frame: &Frame) -> bool {
        let mut waiting = self
            .first
            .iter()
            .chain(self.queue.iter().flat_map(|q| q.iter()));
        waiting.any(|waiting| Rc::ptr_eq(waiting, frame))
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// Bytes of memory that go with it: each frame divided by those who hold it.
    pub fn share(&self) -> usize {
        let frames = self
            .first
            .iter()
            .chain(self.queue.iter().flat_map(|queue| queue.iter()));
        frames
            .map(|frame| (frame.capacity() + OVERHEAD) / Rc::strong_count(frame))
            .sum()
    }

    /// Writes what waits, no more than `most` bytes, joined into as few writes as possible. Adds the bytes written to `count`.
    ///
    /// # Errors
    /// Whatever the writer says, but for `WouldBlock` and `Interrupted`.
    pub fn write_to(
        &mut self,
        writer: &mut impl Write,
        count: &mut u64,
        bound: usize,
        most: usize,
    ) -> io::Result<Written> {
        let mut left = most;
        while !self.is_empty() {
            if left == 0 {
                return Ok(Written::Some);
            }
            match self.write_once(writer, left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    *count += n as u64;
                    left -= n.min(left);
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

    /// Takes whole frames for a poller, at least one, else not over `limit` bytes and `most` of what `packets` counts: none in
    /// what ends a message, which comes with its beginning.
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
            let over = bytes + frame.len() > limit || count + more > most;
            if over && more > 0 && !taken.is_empty() {
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

    fn write_once(&self, writer: &mut impl Write, most: usize) -> io::Result<usize> {
        let first = self.first.as_ref().map_or(&[][..], |first| first);
        let first = &first[self.written..];
        let first = &first[..first.len().min(most)];
        let Some(queue) = &self.queue else {
            return writer.write(first);
        };
        let mut slices = [IoSlice::new(&[]); JOINED];
        slices[0] = IoSlice::new(first);
        let (mut used, mut left) = (1, most - first.len());
        for (slot, frame) in slices[1..].iter_mut().zip(&**queue) {
            if left == 0 {
                break;
            }
            let part = &frame[..frame.len().min(left)];
            *slot = IoSlice::new(part);
            used += 1;
            left -= part.len();
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
        let next = self.queue.as_mut().and_then(|queue| queue.pop_front());
        let taken = std::mem::replace(&mut self.first, next);
        if let Some(queue) = self.queue.take_if(|queue| queue.is_empty()) {
            QUEUES.with_borrow_mut(|queues| {
                if queue.capacity() <= KEPT && queues.len() < QUEUES_KEPT {
                    queues.push(queue);
                }
            });
        }
        taken
    }
}
