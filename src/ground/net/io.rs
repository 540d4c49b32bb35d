//! A TCP stream of our executor in the shape that hyper reads and writes.

use super::Socket;
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBufCursor, Write};
use smol::Timer;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long the other side may take nothing of what is written to it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at once at most.
const CHUNK: usize = 8192;

/// What an HTTP connection runs on, and what an upgrade hands over.
pub struct Io<S = Socket> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Timer>,
}

impl<S> Io<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            patience: PATIENCE,
            stalled: None,
        }
    }

    pub fn into_inner(self) -> S {
        self.stream
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

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer may only be filled through `put_slice` without unsafe code: one copy of a request head.
        let mut chunk = [0; CHUNK];
        let room = buf.remaining().min(CHUNK);
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk[..room]))?;
        buf.put_slice(&chunk[..n]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.no_longer(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.no_longer(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::tasks::block_on;
    use std::future::poll_fn;
    use std::io::Read as _;
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
}
