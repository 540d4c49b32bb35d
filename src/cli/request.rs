//! One HTTP request to the running instance, for the commands that ask it something.
//!
//! HTTP/1.0, so that the answer ends with the connection and is never chunked. Blocking: no executor runs here.

use super::Failure;
use crate::config::Config;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Received {
    pub status: u16,
    /// Bytes of the body, as the head says.
    length: Option<u64>,
    /// The stream behind the head, and what of the body was read with it.
    body: io::Chain<io::Cursor<Vec<u8>>, TcpStream>,
}

impl Received {
    /// The body, at most 1 MiB of it, as text for a person.
    pub fn text(self) -> String {
        let mut bytes = Vec::new();
        // What arrived before a fault is worth showing.
        let _ = self.body.take(1 << 20).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// That it is a refusal: in the words of its problem details, if it has some.
    pub fn failure(self) -> Failure {
        let (status, text) = (self.status, self.text());
        let problem: Option<Value> = serde_json::from_str(&text).ok();
        let detail = problem.as_ref().and_then(|p| p.get("detail")?.as_str());
        let why = match status {
            401 => "SISKIN_API_KEY is not set here to that of the running instance.",
            _ => detail.unwrap_or(&text),
        };
        Failure::Failed(format!("siskin answered {status}: {why}"))
    }

    /// Is a body of so many bytes whole?
    pub fn expect(&self, bytes: u64) -> io::Result<()> {
        match self.length {
            Some(length) if length != bytes => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The body, to be copied somewhere.
    pub fn body(&mut self) -> impl Read {
        &mut self.body
    }
}

/// Where the instance that has these settings listens, as seen from this machine.
pub fn address(config: &Config) -> Option<SocketAddr> {
    let mut address = *config.listen.first()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    (address.port() != 0).then_some(address)
}

/// Asks, with the API's key if there is one.
///
/// # Errors
/// There is no answer: one line that says so, why, and what to look at.
pub fn send(config: &Config, method: &str, path: &str, body: &[u8]) -> Result<Received, Failure> {
    let unknown = "SISKIN_LISTEN names port 0: set it to the port of the running instance";
    let address = address(config).ok_or_else(|| Failure::Failed(unknown.into()))?;
    exchange(config, address, method, path, body).map_err(|error| {
        let way = "is it running, and with the same SISKIN_LISTEN?";
        Failure::Failed(format!(
            "siskin does not answer at {address}: {error}; {way}"
        ))
    })
}

fn exchange(
    config: &Config,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> io::Result<Received> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let key = config
        .api_key
        .as_ref()
        .map(|key| format!("Authorization: Bearer {}\r\n", key.expose()));
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
        key.unwrap_or_default(),
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    read_head(stream)
}

fn read_head(mut stream: TcpStream) -> io::Result<Received> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || head.len() > MAX_HEAD {
            return Err(io::Error::other("the answer is no HTTP"));
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
    };
    let rest = head.split_off(end);
    let head = String::from_utf8_lossy(&head);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| {
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().ok()).flatten()
        });
    Ok(Received {
        status: status.ok_or_else(|| io::Error::other("the answer is no HTTP"))?,
        length,
        body: io::Cursor::new(rest).chain(stream),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn config(listen: &str) -> Config {
        let pairs = [
            ("WEBUI_SECRET_KEY", "0123456789abcdef"),
            ("SISKIN_API_KEY", "key-of-this-test"),
            ("SISKIN_DATA_DIR", "/tmp"),
            ("SISKIN_LISTEN", listen),
        ];
        let env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        crate::config::read(&env.into()).config.unwrap()
    }

    #[test]
    fn an_answer_in_pieces_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&listener.local_addr().unwrap().to_string());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap();
            for piece in [
                "HTTP/1.1 40",
                "4 Not Found\r\nA: b\r",
                "\n\r\nnot ",
                "here\n",
            ] {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            String::from_utf8(asked[..count].to_vec()).unwrap()
        });
        let answer = send(&config, "POST", "/x", b"{}").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (404, "not here"));
        let asked = server.join().unwrap();
        assert!(
            asked.starts_with("POST /x HTTP/1.0\r\n") && asked.ends_with("\r\n\r\n{}"),
            "{asked}"
        );
        assert!(
            asked.contains("\r\nAuthorization: Bearer key-of-this-test\r\n"),
            "{asked}"
        );
    }

    #[test]
    fn no_answer_is_told_with_the_way_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        match send(&config(&address.to_string()), "GET", "/x", b"") {
            Err(Failure::Failed(text)) => {
                assert!(
                    text.contains(&address.to_string()) && text.contains("SISKIN_LISTEN"),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_seen_from_here() {
        let text = |listen| address(&config(listen)).map(|address| address.to_string());
        assert_eq!(text("0.0.0.0:80").unwrap(), "127.0.0.1:80");
        assert_eq!(text("[::]:80").unwrap(), "[::1]:80");
        assert_eq!(text("10.0.0.1:80, 10.0.0.2:80").unwrap(), "10.0.0.1:80");
        assert_eq!(text("127.0.0.1:0"), None);
    }
}
