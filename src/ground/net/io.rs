//! A TCP stream of our executor in the shape that hyper reads and writes.

use futures_lite::{AsyncRead as _, AsyncWrite as _};
use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smol::{Async, Timer};
use std::future::Future as _;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long the other side may take nothing of what is written to it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at once at most.
const CHUNK: usize = 8192;

/// Between two looks for the end behind what is being read.
const BETWEEN: Duration = Duration::from_millis(250);

struct Socket {
    stream: Async<TcpStream>,
    /// Something was read since [`Watch::expect`].
    heard: AtomicBool,
}

/// What an HTTP connection runs on, and what an upgrade hands over.
pub struct Io {
    socket: Arc<Socket>,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Timer>,
}

impl Io {
    pub fn new(stream: Async<TcpStream>) -> Self {
        Self {
            socket: Arc::new(Socket {
                stream,
                heard: AtomicBool::new(false),
            }),
            patience: PATIENCE,
            stalled: None,
        }
    }

    /// `None` while somebody waits for [`Watch::left`].
    pub fn into_inner(self) -> Option<Async<TcpStream>> {
        Arc::into_inner(self.socket).map(|socket| socket.stream)
    }

    /// What others may know of it.
    pub fn watch(&self) -> Watch {
        Watch(Arc::downgrade(&self.socket))
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

impl Socket {
    /// Whether the other side has closed, whatever of what it sent is still to be read.
    fn has_hung_up(&self) -> bool {
        let mut state = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let at_once = Timespec::default();
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut state, Some(&at_once)).is_ok() && state[0].revents().intersects(ends)
    }
}

/// Sees what happens on a connection, for as long as it lives. Atomic only because hyper wants what it is given to be `Send`.
#[derive(Clone)]
pub struct Watch(Weak<Socket>);

impl Watch {
    /// Forgets what was read before.
    pub fn expect(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.heard.store(false, Relaxed);
        }
    }

    /// Whether something was read since.
    pub fn has_heard(&self) -> bool {
        let socket = self.0.upgrade();
        socket.is_some_and(|socket| socket.heard.load(Relaxed))
    }

    /// Waits until the other side has closed, at least for what it sends.
    pub async fn left(&self) {
        let Some(socket) = self.0.upgrade() else {
            return;
        };
        // What it has sent, the rest of a request or the next one, hides the end that may follow: then it is looked for
        // now and then, and not at each piece of a body.
        while let Ok(1..) = socket.stream.peek(&mut [0]).await {
            Timer::after(BETWEEN).await;
            if socket.has_hung_up() {
                return;
            }
        }
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer may only be filled through `put_slice` without unsafe code: one copy of a request head.
        let mut chunk = [0; CHUNK];
        let room = buf.remaining().min(CHUNK);
        let n = ready!(Pin::new(&mut &self.socket.stream).poll_read(cx, &mut chunk[..room]))?;
        self.socket.heard.fetch_or(n > 0, Relaxed);
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
        let written = Pin::new(&mut &self.socket.stream).poll_write(cx, buf);
        self.no_longer(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut &self.socket.stream).poll_write_vectored(cx, bufs);
        self.no_longer(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.socket.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.socket.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    async fn write(io: &mut Io) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, &[0; 65536])).await
    }

    #[test]
    fn a_write_that_nobody_reads_fails_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let mut io = Io::new(Async::new(ours).unwrap());
        io.patience = Duration::from_millis(50);
        let failed = smol::block_on(async {
            loop {
                if let Err(error) = write(&mut io).await {
                    return error;
                }
            }
        });
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        // Who reads on, however late, is written to.
        io.stalled = None;
        theirs.read_exact(&mut vec![0; 1 << 20]).unwrap();
        assert!(smol::block_on(write(&mut io)).is_ok() && io.stalled.is_none());
    }

    #[test]
    fn the_end_is_seen_behind_what_is_still_to_be_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let io = Io::new(Async::new(ours).unwrap());
        let watch = io.watch();
        theirs.write_all(b"the next request").unwrap();
        smol::block_on(async {
            let early = crate::ground::tasks::within(2 * BETWEEN, watch.left());
            assert!(early.await.is_none(), "it may still send");
            drop(theirs);
            watch.left().await;
        });
    }
}
