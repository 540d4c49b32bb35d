//! One connection to one server: TCP, kept alive by the kernel, then the login.

use super::address::{Address, Target};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, Value};
use smol::Async;
use smol::net::{self, TcpStream};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

/// The kernel looks after a silent connection this often, so that nothing of ours has to wake for it.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay without the other side's kernel confirming them.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// What drives a connection, and ends with it.
pub type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Bytes to and from a server.
pub type Stream = TcpStream;

/// Connects, within the target's deadline.
pub async fn dial(target: &Target, address: &Address, tls: bool) -> Result<Stream, String> {
    let work = async {
        let stream = tcp(address).await.map_err(|e| e.to_string())?;
        match tls {
            true => {
                Err("this siskin is built without TLS: take a build with the feature tls".into())
            }
            false => Ok(stream),
        }
    };
    within(target.connect_timeout, work).await
}

/// Runs `work`, but no longer than this.
pub async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = async {
        smol::Timer::after(limit).await;
        Err(format!("no answer within {} s", limit.as_secs_f32()))
    };
    futures_lite::future::or(work, late).await
}

async fn tcp(address: &Address) -> io::Result<TcpStream> {
    // An address needs no thread that resolves it.
    let found = match address.host.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, address.port)],
        Err(_) => net::resolve((address.host.as_str(), address.port)).await?,
    };
    let mut error = io::Error::other("the name has no address");
    for at in found {
        match Async::<std::net::TcpStream>::connect(at).await {
            Ok(stream) => {
                settle(stream.get_ref())?;
                return Ok(stream.into());
            }
            Err(e) => error = e,
        }
    }
    Err(error)
}

fn settle(socket: &std::net::TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE / 3)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_user_timeout(socket, UNCONFIRMED.as_millis() as u32)?;
    Ok(())
}

/// Logs in for commands.
pub async fn log_in(
    target: &Target,
    stream: Stream,
) -> Result<(MultiplexedConnection, Driver), String> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&target.login, stream.compat(), config)
            .await
            .map_err(|e| describe(&e))?;
    let mut driver: Driver = Box::pin(driver);
    let ping = async {
        match connection.send_packed_command(&redis::cmd("PING")).await {
            // It says so when it can't serve yet: LOADING, MASTERDOWN.
            Ok(Value::ServerError(e)) => Err(describe(&e.into())),
            Ok(_) => Ok(()),
            Err(e) => Err(describe(&e)),
        }
    };
    let ended = async {
        driver.as_mut().await;
        Err("the connection was closed".into())
    };
    futures_lite::future::or(ping, ended).await?;
    Ok((connection, driver))
}

/// An error as one sentence; a server's own as the server said it.
pub fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}
