//! HTTP/1.1 and websockets as a proxy sees them, for looking at both: one request a connection, nothing is followed or repeated.
//!
//! Blocking, each step within a limit: no executor runs here.

use crate::config::HttpUrl;
use crate::ground::net;
use crate::ground::tasks::{block_on, within};
use crate::http::SOCKET_PATH;
use async_tungstenite::tungstenite::Error as WsError;
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long connecting may take, and how long an answer.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const MOST: usize = 256 << 10;
/// Where connections within this machine come from: the one address of it that no proxy has.
pub const FROM: [u8; 4] = [127, 83, 75, 78];

/// Where something is looked at.
#[derive(Clone)]
pub struct Place {
    pub url: HttpUrl,
    pub tls: bool,
    pub addresses: Vec<SocketAddr>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    /// Its lines, without the first.
    head: String,
    pub body: String,
}

impl Answer {
    /// All values of a header, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let named = lines.filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    }

    pub fn header<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// A value of the body, which is JSON.
    pub fn value(&self, name: &str) -> Option<serde_json::Value> {
        let mut body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        body.get_mut(name).map(serde_json::Value::take)
    }

    /// A text of the body, which is JSON; empty when there is none.
    pub fn text(&self, name: &str) -> String {
        let value = self.value(name);
        value
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// The addresses of a URL's host.
pub fn resolve(url: &HttpUrl) -> io::Result<Vec<SocketAddr>> {
    let HttpUrl { host, port, .. } = url.clone();
    let late = || Err(ErrorKind::TimedOut.into());
    block_on(move |_| async move {
        let found = within(LIMIT, net::resolve(&host, port)).await;
        found.unwrap_or_else(late)
    })
}

/// Bytes both ways.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection.
pub struct Wire {
    stream: Box<dyn Stream>,
    /// The same, for its limits and addresses.
    socket: TcpStream,
    got: Vec<u8>,
}

impl Place {
    /// Where a URL of the settings leads.
    pub fn of(url: &HttpUrl) -> io::Result<Self> {
        Ok(Self {
            url: url.clone(),
            tls: false,
            addresses: resolve(url)?,
        })
    }

    /// The path of siskin's socket here, with a query.
    pub fn socket(&self, query: &str) -> String {
        format!("{SOCKET_PATH}/?EIO=4&transport={query}")
    }

    /// The origin of its own pages.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    fn host(&self) -> String {
        let HttpUrl { host, port, .. } = &self.url;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        match (port, self.tls) {
            (80, false) | (443, true) => host,
            _ => format!("{host}:{port}"),
        }
    }

    pub fn get(&self, path: &str, more: &str) -> io::Result<Answer> {
        self.send("GET", path, more, "")
    }

    /// One request and its whole answer. `more`: header lines, each with its end.
    pub fn send(&self, method: &str, path: &str, more: &str, body: &str) -> io::Result<Answer> {
        let mut wire = Wire::open(self)?;
        wire.ask(
            self,
            method,
            path,
            &format!("Connection: close\r\n{more}"),
            body,
        )?;
        wire.answer(method)
    }

    /// A websocket, or what was answered instead.
    pub fn websocket(&self, path: &str) -> io::Result<Result<Wire, Answer>> {
        let mut wire = Wire::open(self)?;
        // The key is the standard's example: the connection is nobody's.
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        wire.ask(self, "GET", path, upgrade, "")?;
        let answer = wire.answer("GET")?;
        Ok(match answer.status {
            101 => Ok(wire),
            _ => Err(answer),
        })
    }
}

impl Wire {
    pub fn open(place: &Place) -> io::Result<Self> {
        let mut failed = io::Error::other("the name has no address");
        for address in &place.addresses {
            match connect(*address) {
                Ok(socket) => {
                    socket.set_write_timeout(Some(LIMIT))?;
                    let stream = secure(place, socket.try_clone()?)?;
                    return Ok(Self {
                        stream,
                        socket,
                        got: Vec::new(),
                    });
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The addresses of both ends.
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        let (here, there) = (self.socket.local_addr(), self.socket.peer_addr());
        Some((here.ok()?.ip(), there.ok()?.ip()))
    }

    fn ask(
        &mut self,
        place: &Place,
        method: &str,
        path: &str,
        more: &str,
        body: &str,
    ) -> io::Result<()> {
        let (base, host, length) = (&place.url.path, place.host(), body.len());
        let agent = concat!("siskin-doctor/", env!("CARGO_PKG_VERSION"));
        let length = match method {
            "GET" => String::new(),
            _ => format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n"),
        };
        let request = format!(
            "{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n{length}{more}\r\n{body}"
        );
        self.stream.write_all(request.as_bytes())
    }

    /// Reads on; `false` at the end.
    fn more(&mut self, until: Instant) -> io::Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut some = [0; 4096];
        let count = self.stream.read(&mut some)?;
        self.got
            .extend_from_slice(some.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let until = Instant::now() + LIMIT;
        let end = loop {
            if let Some(at) = self.got.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.got.len() > MOST || !self.more(until)? {
                let closed = self.got.is_empty();
                return Err(if closed {
                    ErrorKind::UnexpectedEof
                } else {
                    ErrorKind::InvalidData
                }
                .into());
            }
        };
        let rest = self.got.split_off(end + 4);
        let head = String::from_utf8_lossy(&std::mem::replace(&mut self.got, rest)).into_owned();
        let (first, head) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1));
        let mut answer = Answer {
            status: status
                .and_then(|s| s.parse().ok())
                .ok_or(ErrorKind::InvalidData)?,
            head: head.to_owned(),
            body: String::new(),
        };
        if answer.status != 101 && method != "HEAD" {
            answer.body = self.body(&answer, until)?;
        }
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer, until: Instant) -> io::Result<String> {
        let length: Option<usize> = answer.header("content-length").parse().ok();
        let chunked = answer
            .header("transfer-encoding")
            .eq_ignore_ascii_case("chunked");
        let whole = |got: &[u8]| match chunked {
            true => got.ends_with(b"0\r\n\r\n"),
            false => length.is_some_and(|length| got.len() >= length),
        };
        while !whole(&self.got) && self.got.len() < MOST && self.more(until)? {}
        let bytes = std::mem::take(&mut self.got);
        let bytes = if chunked {
            without_chunks(&bytes)
        } else {
            bytes
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The next text that comes over a websocket, within this time.
    pub fn hear(&mut self, limit: Duration) -> io::Result<String> {
        let until = Instant::now() + limit;
        loop {
            if let Some((kind, payload)) = self.frame()? {
                match kind {
                    OpCode::Data(Data::Text) => {
                        return Ok(String::from_utf8_lossy(&payload).into_owned());
                    }
                    OpCode::Control(Control::Close) => {
                        return Err(ErrorKind::ConnectionAborted.into());
                    }
                    _ => continue,
                }
            }
            if self.got.len() > MOST {
                return Err(ErrorKind::InvalidData.into());
            }
            if !self.more(until)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// A whole frame of a server's.
    fn frame(&mut self) -> io::Result<Option<(OpCode, Vec<u8>)>> {
        let mut cursor = Cursor::new(&self.got[..]);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(odd)? else {
            return Ok(None);
        };
        let start = cursor.position() as usize;
        let end = usize::try_from(length).map_or(usize::MAX, |length| start.saturating_add(length));
        let Some(payload) = self.got.get(start..end).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.got.drain(..end);
        Ok(Some((header.opcode, payload)))
    }

    /// Says a text over a websocket. What masks it may be nothing but zeros.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Text),
            mask: Some([0; 4]),
            ..FrameHeader::default()
        };
        let mut frame = Vec::new();
        header.format(text.len() as u64, &mut frame).map_err(odd)?;
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame)
    }
}

/// What answers speaks something else.
fn odd(_: WsError) -> io::Error {
    ErrorKind::InvalidData.into()
}

/// What is within the chunks of a body.
fn without_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..at]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else {
            break;
        };
        let Some(chunk) = rest.get(at + 2..at + 2 + size) else {
            break;
        };
        bytes.extend_from_slice(chunk);
        rest = rest.get(at + 4 + size..).unwrap_or_default();
    }
    bytes
}

/// Within this machine it comes from an address of its own, so that it can be told from a proxy.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    if address.is_ipv4() && address.ip().is_loopback() {
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if bind(&fd, &SocketAddr::from((FROM, 0))).is_ok() {
            let socket = TcpStream::from(fd);
            // Linux keeps to it while it connects, too.
            socket.set_write_timeout(Some(LIMIT))?;
            connect(&socket, &address)?;
            return Ok(socket);
        }
    }
    TcpStream::connect_timeout(&address, LIMIT)
}

#[cfg(not(feature = "tls"))]
fn secure(_: &Place, socket: TcpStream) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(socket))
}

#[cfg(feature = "tls")]
fn secure(place: &Place, socket: TcpStream) -> io::Result<Box<dyn Stream>> {
    socket.set_read_timeout(Some(LIMIT))?;
    Ok(match place.tls {
        true => Box::new(crate::redis::tls_stream(&place.url.host, socket)?),
        false => Box::new(socket),
    })
}

/// A failure in words.
pub fn told(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there".into(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing comes in time".into(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "it hangs up without an answer".into()
        }
        ErrorKind::ConnectionAborted => "it closed the websocket".into(),
        ErrorKind::InvalidData => "what answers does not speak HTTP".into(),
        _ => error.to_string(),
    }
}
