//! The accept loop: one hyper connection a socket, with limits, until told to stop.

use super::answer::{Answer, text};
use super::resting::{Rest, Resting};
use super::timer::HeadTimer;
use super::waiting::{self, Manner, Waiting};
use crate::ground::net::{Io, Socket, Tally, Watch, tell};
use crate::ground::tasks::{Bell, Executor, Tasks, within};
use crate::metrics;
use futures_lite::{FutureExt as _, future};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::{Request, StatusCode, Version};
use smol::channel::{Receiver, Sender};
use smol::{Async, Timer};
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// An answer in the making.
pub type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// What answers requests from an address.
pub type Service = Rc<dyn Fn(Request<Incoming>, IpAddr) -> Answering>;

/// Bounds of the accept loop.
pub struct Limits {
    /// Connections at a time, websockets included.
    pub connections: usize,
    /// HTTP connections of one address at a time; the sessions of one are the engine's to bound.
    pub per_address: usize,
    /// Addresses that `per_address` is not for: reverse proxies.
    pub proxies: Box<dyn Fn(IpAddr) -> bool>,
    /// How many connections were handed over by upgrades and still live.
    pub upgraded: Box<dyn Fn() -> usize>,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long a request's head may take once it has begun.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub head_lines: usize,
}

/// How long accepting pauses when the system has no more descriptors or memory.
const BREATH: Duration = Duration::from_millis(200);

/// How long a connection may be without a first request when all are told to go.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long the answer may take to a client that has closed its side already: it may be gone for good, and what is
/// handed out is then lost.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Sent to a connection over a limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Header lines that hyper takes when nothing else is said, and bytes of the shortest one.
const HEADER_LINES: usize = 100;
const HEADER_LINE_BYTES: usize = 4;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// One accept loop's connections.
pub struct Connections {
    limits: Limits,
    service: Service,
    tasks: Tasks,
    /// Rung when the last one is closed.
    closed: Bell,
    open: Cell<usize>,
    by_address: Tally,
    resting: Rc<Resting>,
    /// Closed when connections are told to go; nothing is ever sent.
    going: Receiver<Infallible>,
    staying: Cell<Option<Sender<Infallible>>>,
}

impl Connections {
    pub fn new(executor: Executor, limits: Limits, service: Service) -> Rc<Self> {
        let (staying, going) = smol::channel::bounded(1);
        Rc::new(Self {
            limits,
            service,
            tasks: Tasks::new(executor),
            closed: Bell::default(),
            open: Cell::default(),
            by_address: Tally::default(),
            resting: Resting::new(),
            going,
            staying: Cell::new(Some(staying)),
        })
    }

    /// HTTP connections that are open, upgraded ones not among them.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Tells them to go: who waits for the next request at once, the others with the answer to the one they have. A
    /// connection that has not yet come to its first request is given a moment for it.
    pub fn let_go(&self) {
        self.staying.take();
    }

    /// Waits until none is open. The caller limits the time.
    pub fn all_closed(&self) -> impl Future<Output = ()> {
        self.closed.until(|| (self.open.get() == 0).then_some(()))
    }

    /// Accepts until the future is dropped.
    pub async fn accept(self: Rc<Self>, listener: Rc<Async<TcpListener>>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.admit(stream, peer.ip().to_canonical());
                    // There may always be a next one: those who are here get their turn.
                    future::yield_now().await;
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => {
                    log::warn!("can't accept connections for a moment: {e}");
                    Timer::after(BREATH).await;
                }
            }
        }
    }

    fn admit(self: &Rc<Self>, stream: Async<TcpStream>, peer: IpAddr) {
        let theirs = self.by_address.of(peer);
        let crowded = self.open.get() + (self.limits.upgraded)() >= self.limits.connections;
        let greedy = theirs >= self.limits.per_address && !(self.limits.proxies)(peer);
        if crowded || greedy {
            metrics::refused(if crowded {
                "connections"
            } else {
                "connections of one address"
            });
            log::debug!("connection of {peer} refused: too many");
            // A new connection's buffer takes these few bytes; if not, it sees the end all the same.
            let _ = stream.get_ref().write(FULL);
            return;
        }
        let stream = match stream.into_inner().and_then(Socket::new) {
            Ok(stream) => stream,
            Err(e) => return log::warn!("a connection can't be watched: {e}"),
        };
        // Frames are joined before they are written: nothing is gained by waiting for more.
        let _ = stream.get_ref().set_nodelay(true);
        let place = Place::take(self.clone(), peer);
        let converse = self.clone().converse(stream, place);
        self.tasks.spawn("an HTTP connection", converse);
    }

    /// One request after the other. Between them, and while one waits, there is only the socket.
    async fn converse(self: Rc<Self>, stream: Socket, place: Rc<Place>) {
        let mut io = Io::new(stream);
        loop {
            // Boxed, so that what hyper takes goes with it.
            let Some((back, waiting)) = Box::pin(self.clone().speak(io, place.clone())).await
            else {
                return;
            };
            io = back;
            let stays = match waiting {
                Some(waiting) => self.wait(&mut io, waiting).await,
                None => self.begins(&io, &place).await,
            };
            if !stays {
                return;
            }
        }
    }

    /// Waits for the next request; `false` when none may come any more.
    async fn begins(&self, io: &Io, place: &Place) -> bool {
        let begins = async {
            poll_fn(|cx| io.poll_readable(cx)).await;
            true
        };
        let ends = async {
            within(self.limits.idle_timeout, self.told(place)).await;
            false
        };
        begins.or(ends).await
    }

    /// Answers a request that waited; whether the connection stays.
    async fn wait(&self, io: &mut Io, waiting: Waiting) -> bool {
        let watch = io.watch();
        let answered = async { Some(waiting.answering.await) };
        let left = async {
            watch.left().await;
            Timer::after(LAST_WORD).await;
            None
        };
        let Some(mut answer) = answered.or(left).await else {
            return false;
        };
        self.mark_last(&mut answer);
        let gone = io.watch();
        answer.body_mut().until(async move { gone.left().await });
        waiting::write(io, answer, waiting.manner)
            .await
            .is_ok_and(|stays| stays)
    }

    /// Runs hyper until a request has waited for a while, or there was none: then the connection is given back. `None`: it
    /// has ended.
    async fn speak(self: Rc<Self>, io: Io, place: Rc<Place>) -> Option<(Io, Option<Waiting>)> {
        let (peer, watch) = (place.peer, io.watch());
        let (connections, its_place, its_watch) = (self.clone(), place.clone(), watch.clone());
        let answer = hyper::service::service_fn(move |request| {
            connections
                .clone()
                .answer(request, its_place.clone(), its_watch.clone())
        });
        let http = self.http(&watch);
        let mut served = http.serve_connection(io, answer).with_upgrades();
        // hyper would close it at once while its first request is on its way.
        let mut told = pin!(self.told(&place));
        let mut stays = true;
        let ended = poll_fn(|cx| {
            if stays && told.as_mut().poll(cx).is_ready() {
                stays = false;
                Pin::new(&mut served).graceful_shutdown();
            }
            match Pin::new(&mut served).poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                // What is written before has to be written to its end before anybody else writes.
                Poll::Pending
                    if (place.has_waiting() && watch.is_flushed() || watch.is_idle())
                        && self.resting.is_over(&place.rest, &self.tasks, cx) =>
                {
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }
        });
        let Some(ended) = ended.await else {
            let parts = served.into_parts()?;
            let mut io = parts.io;
            io.put_back(&parts.read_buf);
            return Some((io, place.waits.take()));
        };
        if let Err(e) = ended {
            if e.is_parse_too_large() {
                let why = "it is larger than SISKIN_MAX_HEADER_BYTES or SISKIN_MAX_HEADER_LINES";
                tell(peer, "a refused head", format_args!("{why}"));
            }
            log::debug!("HTTP connection of {peer}: {e}");
            if e.is_parse() || e.is_timeout() && watch.has_heard() {
                metrics::refused("HTTP");
            }
        }
        None
    }

    fn http(&self, watch: &Watch) -> http1::Builder {
        let limits = &self.limits;
        let timer = HeadTimer {
            watch: watch.clone(),
        };
        let mut http = http1::Builder::new();
        http.timer(timer)
            .header_read_timeout(limits.head_timeout)
            .half_close(true)
            .max_buf_size(limits.head_bytes.max(8192));
        // For as many as it has room for anyway, hyper takes no memory.
        if limits.head_lines != HEADER_LINES {
            let most = limits.head_bytes / HEADER_LINE_BYTES;
            http.max_headers(limits.head_lines.min(most));
        }
        http
    }

    /// Waits until connections are told to go; one whose first request may be on its way, a moment longer.
    async fn told(&self, place: &Place) {
        let _ = self.going.recv().await;
        if !place.asked.get() {
            Timer::after(LAST_CALL).await;
        }
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        place: Rc<Place>,
        watch: Watch,
    ) -> Result<Answer, Left> {
        place.asked.set(true);
        place.rest.ends();
        watch.head_done();
        if !has_its_host(&request) {
            metrics::refused("Host");
            let detail = "400 Bad Request: a request has one Host header\n";
            return Ok(text(
                StatusCode::BAD_REQUEST,
                detail,
                "text/plain; charset=utf-8",
            ));
        }
        let manner = Manner::of(&request);
        let mut answering = (self.service)(request, place.peer);
        let left = async {
            watch.left().await;
            Timer::after(LAST_WORD).await;
            Err(Left)
        };
        let answered = async {
            // The first look: mostly it is there.
            let first = poll_fn(|cx| Poll::Ready(answering.as_mut().poll(cx))).await;
            match (first, manner) {
                (Poll::Ready(answer), _) => Ok(answer),
                (Poll::Pending, None) => Ok(answering.await),
                (Poll::Pending, Some(manner)) => {
                    place.waits.set(Some(Waiting { answering, manner }));
                    Ok(poll_fn(|cx| place.poll_waiting(cx)).await)
                }
            }
        };
        let mut answer = answered.or(left).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            place.leave();
        } else {
            self.mark_last(&mut answer);
        }
        // What comes in pieces ends when nobody is there to take them.
        answer.body_mut().until(async move { watch.left().await });
        Ok(answer)
    }

    /// Says so when this is the connection's last answer.
    fn mark_last(&self, answer: &mut Answer) {
        if self.going.is_closed() {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
    }
}

/// A connection's place in the counts, until it ends or is handed over to the engine, which has a count of its own.
struct Place {
    connections: Rc<Connections>,
    peer: IpAddr,
    held: Cell<bool>,
    /// A request has come.
    asked: Cell<bool>,
    /// The request that waits for its answer.
    waits: Cell<Option<Waiting>>,
    rest: Rest,
}

impl Place {
    fn take(connections: Rc<Connections>, peer: IpAddr) -> Rc<Self> {
        connections.open.set(connections.open.get() + 1);
        connections.by_address.add(peer);
        Rc::new(Self {
            connections,
            peer,
            held: Cell::new(true),
            asked: Cell::new(false),
            waits: Cell::default(),
            rest: Rest::default(),
        })
    }

    /// The answer that is waited for, while hyper is here.
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(mut waiting) = self.waits.take() else {
            return Poll::Pending;
        };
        let answer = waiting.answering.as_mut().poll(cx);
        if answer.is_pending() {
            self.waits.set(Some(waiting));
        }
        answer
    }

    fn has_waiting(&self) -> bool {
        let waits = self.waits.take();
        let has = waits.is_some();
        self.waits.set(waits);
        has
    }

    fn leave(&self) {
        if !self.held.replace(false) {
            return;
        }
        let connections = &self.connections;
        connections.open.set(connections.open.get() - 1);
        if connections.open.get() == 0 {
            connections.closed.ring();
        }
        connections.by_address.remove(self.peer);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether a request names its host as RFC 9112, 3.2 demands: HTTP/1.1 once, and nobody twice.
fn has_its_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let fits = |host: &HeaderValue| match host.to_str() {
        Ok("") => true,
        Ok(host) => host.parse::<Authority>().is_ok() && !host.contains('@'),
        Err(_) => false,
    };
    match hosts.next() {
        Some(host) => fits(host) && hosts.next().is_none(),
        None => request.version() < Version::HTTP_11,
    }
}

/// The client has left before its request was answered.
#[derive(Debug)]
struct Left;

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has left")
    }
}

impl std::error::Error for Left {}

/// The connection failed before it was accepted; the next one may be fine.
fn is_passing(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(e.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
