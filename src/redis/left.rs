//! The subscriber's connection from one process to the next: what is published between the two waits in its socket.

use super::reader::Reader;
use super::stream::Stream;
use crate::ground::written;
use smol::Async;
use smol::net::TcpStream;
use std::net;
use std::os::fd::{AsFd as _, OwnedFd};

/// What came and was not taken yet, at most: a message that is larger goes to nobody.
const MOST_UNREAD: usize = 1 << 20;

/// A connection that was left.
pub struct Left {
    pub stream: TcpStream,
    /// What of it came and was not taken.
    pub unread: Vec<u8>,
}

impl Left {
    /// Its socket, and what else is to be known of it.
    pub fn write(&self, out: &mut written::Writer) -> Option<OwnedFd> {
        if self.unread.len() > MOST_UNREAD {
            return None;
        }
        out.bytes(self.stream.local_addr().ok()?.to_string().as_bytes());
        out.bytes(&self.unread);
        self.stream.as_fd().try_clone_to_owned().ok()
    }

    /// The same in the next process: that one of the sockets which it is.
    pub fn read(from: &mut written::Reader<'_>, sockets: Vec<OwnedFd>) -> Option<Self> {
        let (address, unread) = (from.text()?, from.bytes()?.to_vec());
        let sockets = sockets.into_iter().map(net::TcpStream::from);
        let is_it = |socket: &net::TcpStream| {
            let local = socket.local_addr();
            local.is_ok_and(|local| local.to_string() == address) && socket.peer_addr().is_ok()
        };
        let socket = { sockets }.find(is_it)?;
        let stream = Async::new(socket).ok()?.into();
        Some(Self { stream, unread })
    }

    /// What the subscriber goes on with.
    pub fn begin(self) -> (Stream, Reader) {
        (Stream::Plain(self.stream), Reader::with(self.unread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::time::Instant;

    #[test]
    fn a_connection_goes_on_where_it_was() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [one, other] = [0; 2].map(|_| net::TcpStream::connect(address).unwrap());
        let (mut redis, _) = listener.accept().unwrap();
        let mut left = Left {
            stream: Async::new(one).unwrap().into(),
            unread: b"*1\r\n$3\r\nab".to_vec(),
        };
        let mut out = written::Writer::default();
        let socket = left.write(&mut out).unwrap();
        redis.write_all(b"c\r\n").unwrap();
        let read = |sockets| Left::read(&mut written::Reader::new(&out.0, Instant::now()), sockets);
        let another: OwnedFd = other.into();
        assert!(read(vec![another.try_clone().unwrap()]).is_none());
        let (mut stream, mut reader) = read(vec![another, socket]).unwrap().begin();
        let reply = smol::block_on(async {
            let come = futures_lite::AsyncReadExt::read(&mut stream, reader.space()).await;
            reader.came(come.unwrap());
            reader.next().unwrap().unwrap().part(0).to_vec()
        });
        assert_eq!(reply, b"abc");
        assert!(reader.rest().is_empty());
        left.unread = vec![b'x'; MOST_UNREAD + 1];
        assert!(left.write(&mut out).is_none());
    }
}
