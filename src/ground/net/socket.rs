//! A TCP stream in our thread's epoll: awaited by a task, or served in turns.

use super::reactor::{Direction, Hold, Key, Reactor, Serve};
use futures_lite::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A stream that nobody else has a descriptor of. It is closed when dropped.
pub struct Socket {
    stream: TcpStream,
    place: Place,
}

/// Its place in the reactor of the thread that it belongs to.
struct Place(Key);

impl Drop for Place {
    fn drop(&mut self) {
        // At the thread's end the reactor may have gone first.
        Reactor::try_with(|reactor| reactor.forget(self.0));
    }
}

impl Socket {
    /// Takes a stream over.
    ///
    /// # Errors
    /// The system can't watch it.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let place = Place(Reactor::with(|reactor| reactor.register(&stream))?);
        Ok(Self { stream, place })
    }

    /// Its place, for who watches it without holding it.
    pub(super) fn key(&self) -> Key {
        self.place.0
    }

    /// The stream below.
    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// From now on it is served in turns. Whoever serves it holds it, and is held until it is dropped or released.
    pub fn serve(&self, by: Rc<dyn Serve>) {
        Reactor::with(|reactor| reactor.serve(self.place.0, by));
    }

    /// From now on a task waits for it again.
    pub fn release(&self) {
        Reactor::with(|reactor| reactor.release(self.place.0));
    }

    /// It is not read until it is let go.
    pub fn hold(&self, why: Hold) {
        Reactor::with(|reactor| reactor.hold(self.place.0, why));
    }

    /// Takes one reason back.
    pub fn let_go(&self, why: Hold) {
        Reactor::with(|reactor| reactor.let_go(self.place.0, why));
    }

    /// Whether there is a reason not to read it.
    pub fn is_held(&self) -> bool {
        Reactor::with(|reactor| reactor.is_held(self.place.0))
    }

    /// Whether it is not read while a message waits.
    pub fn waits(&self) -> bool {
        Reactor::with(|reactor| reactor.waits(self.place.0))
    }

    /// Says whether what was read waits to be handled: then it gets another turn without reading.
    pub fn set_more(&self, more: bool) {
        Reactor::with(|reactor| reactor.set_more(self.place.0, more));
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is, else what the system says.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.stream).read(buffer);
        let whole = read.as_ref().is_ok_and(|n| *n == buffer.len());
        Reactor::with(|reactor| reactor.was_read(self.place.0, &read, whole));
        read
    }

    fn poll_way<T>(
        &self,
        cx: &Context<'_>,
        way: Direction,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let key = self.place.0;
        loop {
            ready!(Reactor::with(|reactor| reactor.poll_ready(key, way, cx)));
            match attempt() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    Reactor::with(|reactor| reactor.is_blocked(key, way));
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Waits until there may be something to read.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        Reactor::with(|reactor| reactor.poll_ready(self.place.0, Direction::Read, cx))
    }

    /// Waits until something can be read, and reads it.
    pub fn poll_receive(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_way(cx, Direction::Read, || self.read(buffer))
    }

    /// Tries to write, again when the kernel takes more.
    pub fn poll_send<T>(
        &self,
        cx: &Context<'_>,
        attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_way(cx, Direction::Write, attempt)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_receive(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, || (&self.stream).write(buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, || (&self.stream).write_vectored(buffers))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
