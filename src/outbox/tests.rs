//! The queue of a transport: bounds, writes, memory.

use super::*;

fn frame(len: usize) -> Frame {
    Rc::new(vec![7; len])
}

/// Writes without a limit of bytes.
fn write(outbox: &mut Outbox, writer: &mut Narrow, count: &mut u64) -> Written {
    outbox.write_to(writer, count, 100, usize::MAX).unwrap()
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
    assert!(outbox.push(frame(500), bounds(50), now) && outbox.push(frame(10), bounds(50), now));
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
    assert_eq!(write(&mut outbox, &mut writer, &mut count), Written::All);
    assert_eq!((writer.calls, writer.got.len(), count), (1, 50, 50));
}

#[test]
fn one_frame_takes_no_queue_and_many_fill_a_write() {
    let mut outbox = Outbox::default();
    let add = |outbox: &mut Outbox| assert!(outbox.push(frame(1), bounds(100), Instant::now()));
    add(&mut outbox);
    assert!(outbox.queue.is_none());
    (2..JOINED).for_each(|_| add(&mut outbox));
    assert!(!outbox.fills_a_write());
    add(&mut outbox);
    assert!(outbox.fills_a_write());
    assert_eq!(outbox.take(JOINED, 99, 100, |_| 1).len(), JOINED);
    assert!(outbox.is_empty() && outbox.queue.is_none());
}

#[test]
fn a_written_frame_is_filled_again_once_its_last_receiver_has_it() {
    let mut writer = Narrow {
        room: 10_000,
        got: vec![],
        calls: 0,
    };
    let mut write = |outbox: &mut Outbox| write(outbox, &mut writer, &mut 0);
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
        write(&mut outbox, &mut writer, &mut count),
        Written::Blocked
    );
    assert_eq!(outbox.bytes(), 17);
    writer.room = 100;
    assert_eq!(write(&mut outbox, &mut writer, &mut count), Written::All);
    assert_eq!(writer.got, sent);
    assert_eq!((count, outbox.bytes()), (30, 0));
}

#[test]
fn no_more_is_written_at_a_time_than_may_be() {
    let mut outbox = Outbox::default();
    let sent: Vec<u8> = (0..30).collect();
    for part in sent.chunks(10) {
        assert!(outbox.push(Rc::new(part.to_vec()), bounds(100), Instant::now()));
    }
    let mut writer = Narrow {
        room: 100,
        got: vec![],
        calls: 0,
    };
    let mut left = Vec::new();
    while !outbox.is_empty() {
        let written = outbox.write_to(&mut writer, &mut 0, 100, 12).unwrap();
        left.push((written, outbox.bytes()));
    }
    let some = Written::Some;
    assert_eq!(left, [(some, 18), (some, 6), (Written::All, 0)]);
    assert_eq!((writer.got, writer.calls), (sent, 3));
}

#[test]
fn a_frame_is_held_until_all_of_it_is_taken() {
    let (mut outbox, one) = (Outbox::default(), frame(10));
    assert!(outbox.push(one.clone(), bounds(100), Instant::now()));
    assert!(outbox.holds(&one) && !outbox.holds(&frame(10)));
    outbox.consume(9, 100);
    assert!(outbox.holds(&one));
    outbox.consume(1, 100);
    assert!(!outbox.holds(&one));
}
