//! A TCP connection to a host and port.

use smol::Async;
use std::io;
use std::net::{SocketAddr, TcpStream};

/// Connects to the first address of the host that accepts, and sends what is written without delay. The caller limits
/// the time.
///
/// # Errors
/// The name has no address, or the last of its addresses failed like this.
pub async fn dial(host: &str, port: u16) -> io::Result<Async<TcpStream>> {
    let mut error = io::Error::other("the name has no address");
    for address in resolve(host, port).await? {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => {
                stream.get_ref().set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => error = e,
        }
    }
    Err(error)
}

/// The addresses of a host.
///
/// # Errors
/// The name is not known, or nobody could be asked.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // An address needs no thread that resolves it.
    match host.parse() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        Err(_) => smol::net::resolve((host, port)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn names_and_addresses_are_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let stream = smol::block_on(dial(host, port)).unwrap();
            assert!(stream.get_ref().nodelay().unwrap(), "{host}");
        }
        drop(listener);
        let refused = smol::block_on(dial("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
