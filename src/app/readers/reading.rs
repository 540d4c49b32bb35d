//! What a reader's request is answered with, as it comes.

use super::reader::Reader;
use super::watch::Watch;
use futures_lite::Stream;
use hyper::body::Bytes;
use smol::Timer;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Between two signs of life.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
const ALIVE: &[u8] = b":\n\n";

/// What a reader's request is answered with.
pub struct Reading {
    reader: Rc<Reader>,
    watch: Rc<Watch>,
    alive: Timer,
}

impl Reading {
    pub fn new(reader: Rc<Reader>, watch: Rc<Watch>) -> Self {
        watch.came(&reader);
        Self {
            reader,
            watch,
            alive: Timer::after(HEARTBEAT),
        }
    }
}

impl Stream for Reading {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        if let Poll::Ready(text) = this.reader.poll(cx) {
            return Poll::Ready(text.map(Bytes::from));
        }
        ready!(Pin::new(&mut this.alive).poll(cx));
        this.alive.set_after(HEARTBEAT);
        Poll::Ready(Some(Bytes::from_static(ALIVE)))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.watch.went(&self.reader);
    }
}
