//! A TCP stream of our executor in the shape that hyper reads and writes.

use super::Socket;
use super::input::{Owner, Unfinished};
use super::reactor::{Key, Reactor};
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::body::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use smol::Timer;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long the other side may take nothing of what is written to it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at once at most.
const CHUNK: usize = 8192;

/// What an HTTP connection runs on, and what an upgrade hands over.
pub struct Io {
    stream: Socket,
    /// What was read before and goes first.
    early: Bytes,
    /// What is known of the request's head, and of what is written.
    head: Arc<AtomicU8>,
    unflushed: Arc<AtomicBool>,
    /// Bytes of the head that have come, and its part of the budget once they are more than any connection costs.
    head_bytes: usize,
    unfinished: Option<Unfinished>,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Timer>,
}

impl Io {
    /// A client's connection.
    pub fn new(stream: Socket) -> Self {
        Self {
            stream,
            early: Bytes::new(),
            head: Arc::default(),
            unflushed: Arc::default(),
            head_bytes: 0,
            unfinished: None,
            patience: PATIENCE,
            stalled: None,
        }
    }

    /// Our connection to a server, whose answers are no strangers' input.
    pub fn to_server(stream: Socket) -> Self {
        let io = Self::new(stream);
        io.head.store(WHOLE, Relaxed);
        io
    }

    /// The stream, and what was read before.
    pub fn into_parts(self) -> (Socket, Bytes) {
        (self.stream, self.early)
    }

    /// Passes a write's outcome on. One that waits too long has failed: an answer that nobody reads is not kept for ever.
    fn no_longer(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Timer::after(patience));
        Pin::new(stalled)
            .poll(cx)
            .map(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Io {
    /// So many bytes were read. A head for which there is no room is not read on.
    fn count_head(&mut self, bytes: usize, cx: &Context<'_>) -> io::Result<()> {
        match self.head.load(Relaxed) {
            WHOLE => {
                self.head_bytes = 0;
                self.unfinished = None;
                return Ok(());
            }
            EXPECTED if bytes > 0 => {
                self.head_bytes = bytes;
                self.head.store(BEGUN, Relaxed);
                return Ok(());
            }
            BEGUN if bytes > 0 => self.head_bytes += bytes,
            _ => {}
        }
        if self.unfinished.is_none() && self.head_bytes <= CHUNK {
            return Ok(());
        }
        let part = self
            .unfinished
            .get_or_insert_with(|| Unfinished::begin(Owner::Stranger));
        match part.poll_hold(self.head_bytes, cx) {
            Poll::Ready(Err(_)) => Err(io::ErrorKind::OutOfMemory.into()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl Io {
    /// What others may know of it.
    pub fn watch(&self) -> Watch {
        Watch {
            key: self.stream.key(),
            head: self.head.clone(),
            unflushed: self.unflushed.clone(),
        }
    }

    /// These bytes were read before, and are read first. A copy: what they are a part of is much larger.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.early = Bytes::copy_from_slice(bytes);
    }

    /// Waits until there may be something to read.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        match self.early.is_empty() {
            true => self.stream.poll_readable(cx),
            false => Poll::Ready(()),
        }
    }
}

/// Sees what happens on a connection, for as long as it lives. Atomic only because hyper wants what it is given to be `Send`.
#[derive(Clone)]
pub struct Watch {
    key: Key,
    head: Arc<AtomicU8>,
    unflushed: Arc<AtomicBool>,
}

/// A head is waited for; it has begun; it is whole.
const EXPECTED: u8 = 0;
const BEGUN: u8 = 1;
const WHOLE: u8 = 2;

impl Watch {
    /// Forgets what was read before.
    pub fn expect(&self) {
        self.head.store(EXPECTED, Relaxed);
    }

    /// A request's head is whole: what is read now is its body.
    pub fn head_done(&self) {
        self.head.store(WHOLE, Relaxed);
    }

    /// Whether a head is waited for, and nothing of it has come.
    pub fn is_idle(&self) -> bool {
        !self.has_heard() && self.is_flushed()
    }

    /// Whether everything that was to be written is.
    pub fn is_flushed(&self) -> bool {
        !self.unflushed.load(Relaxed)
    }

    /// Whether something was read since.
    pub fn has_heard(&self) -> bool {
        self.head.load(Relaxed) != EXPECTED
    }

    /// Waits until the other side has closed, at least for what it sends, also when not all of that is read. One task at a
    /// time may wait.
    pub fn left(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| Reactor::with(|reactor| reactor.poll_ended(self.key, cx)))
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer may only be filled through `put_slice` without unsafe code: one copy of a request head.
        self.count_head(0, cx)?;
        if !self.early.is_empty() {
            let n = self.early.len().min(buf.remaining());
            self.count_head(n, cx)?;
            buf.put_slice(&self.early[..n]);
            self.early.advance(n);
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK];
        let room = buf.remaining().min(CHUNK);
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk[..room]))?;
        self.count_head(n, cx)?;
        buf.put_slice(&chunk[..n]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed.store(true, Relaxed);
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.no_longer(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed.store(true, Relaxed);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.no_longer(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper has written all that it has when it calls this.
        self.unflushed.store(false, Relaxed);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::net::input::InputBudget;
    use crate::ground::tasks::{block_on, within};
    use rustix::net::{SendFlags, send};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    async fn write(io: &mut Io) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, &[0; 65536])).await
    }

    #[test]
    fn a_write_that_nobody_reads_fails_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let mut io = Io::new(Socket::new(ours).unwrap());
        io.patience = Duration::from_millis(50);
        let (failed, mut io) = block_on(|_| async move {
            loop {
                if let Err(error) = write(&mut io).await {
                    return (error, io);
                }
            }
        });
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        // Who reads on, however late, is written to.
        io.stalled = None;
        theirs.set_nonblocking(true).unwrap();
        let mut some = vec![0; 1 << 20];
        while theirs.read(&mut some).is_ok() {}
        assert!(block_on(|_| async move {
            write(&mut io).await.is_ok() && io.stalled.is_none()
        }));
    }

    #[test]
    fn what_a_server_answers_is_no_unfinished_input() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (make, counted) in [(Io::new as fn(_) -> _, true), (Io::to_server, false)] {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut theirs = listener.accept().unwrap().0;
            let mut io = make(Socket::new(ours).unwrap());
            block_on(move |_| async move {
                theirs.write_all(&[0; 3 * CHUNK]).unwrap();
                let mut all = 0;
                while all < 3 * CHUNK {
                    let mut space = [0; CHUNK];
                    let mut buffer = hyper::rt::ReadBuf::new(&mut space);
                    let read = poll_fn(|cx| Pin::new(&mut io).poll_read(cx, buffer.unfilled()));
                    read.await.unwrap();
                    all += buffer.filled().len();
                }
                assert_eq!(InputBudget::used() > 0, counted);
            });
        }
    }

    #[test]
    fn the_end_is_seen_behind_what_is_still_to_be_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let mut io = Io::new(Socket::new(ours).unwrap());
        let watch = io.watch();
        block_on(|_| async move {
            let soon = Duration::from_millis(50);
            let mut early = Box::pin(watch.left());
            assert!(within(soon, &mut early).await.is_none(), "nothing is sent");
            theirs.write_all(b"the rest of a request").unwrap();
            send(&theirs, b"!", SendFlags::OOB).unwrap();
            assert!(within(soon, &mut early).await.is_none(), "bytes are no end");
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            early.await;
            // Once seen, it stays so; what was sent before is read all the same.
            watch.left().await;
            let mut space = [0; 64];
            let mut buffer = hyper::rt::ReadBuf::new(&mut space);
            let read = poll_fn(|cx| Pin::new(&mut io).poll_read(cx, buffer.unfilled())).await;
            assert!(read.is_ok() && buffer.filled().starts_with(b"the rest"));
            watch.left().await;
            drop(io);
            // Whose socket is closed has left.
            watch.left().await;
        });
    }
}
