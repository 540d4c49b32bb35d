//! One connection to one server: TCP, kept alive by the kernel, then the login.

use super::address::{Address, Endpoint};
use super::stream::Stream;
use crate::ground::net;
use crate::ground::tasks::within;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, RedisError, Value};
use smol::net::TcpStream;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

/// The kernel looks after a silent connection this often, so that nothing of ours has to wake for it.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay without the other side's kernel confirming them.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// What drives a connection, and ends with it.
pub type Driver = Pin<Box<dyn Future<Output = ()>>>;

/// Connects, within the target's deadline.
pub async fn dial(target: &Endpoint, address: &Address, tls: bool) -> Result<Stream, String> {
    let work = async {
        let stream = tcp(address).await.map_err(|e| e.to_string())?;
        match tls {
            true => secure(target, address, stream).await,
            false => Ok(Stream::Plain(stream)),
        }
    };
    answer_within(target.connect_timeout, work).await
}

#[cfg(feature = "tls")]
async fn secure(target: &Endpoint, address: &Address, stream: TcpStream) -> Result<Stream, String> {
    // Sooner than the connection as a whole, so that the error names the reason.
    let limit = target.connect_timeout.mul_f64(0.8);
    let late = || {
        let seconds = limit.as_secs_f64();
        format!("no TLS handshake within {seconds} s; one without TLS is reached as redis://")
    };
    let work = super::tls::connect(&target.certificates, &address.host, stream);
    let stream = within(limit, work).await.unwrap_or_else(|| Err(late()));
    stream.map(Stream::Tls)
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &Endpoint, _: &Address, _: TcpStream) -> Result<Stream, String> {
    Err("this siskin is built without TLS".into())
}

/// Waits for `work`, no longer than `limit`; taking longer is an error that says so.
pub async fn answer_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let late = || format!("no answer within {} s", limit.as_secs_f64());
    within(limit, work).await.unwrap_or_else(|| Err(late()))
}

async fn tcp(address: &Address) -> io::Result<TcpStream> {
    let stream = net::dial(&address.host, address.port).await?;
    set_keepalive(stream.get_ref())?;
    Ok(stream.into())
}

/// Lets the kernel end the connection when the other side is gone.
fn set_keepalive(socket: &std::net::TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE / 3)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_user_timeout(socket, UNCONFIRMED.as_millis() as u32)?;
    Ok(())
}

/// Logs in for commands.
pub async fn log_in(
    target: &Endpoint,
    stream: Stream,
) -> Result<(MultiplexedConnection, Driver), String> {
    let broken = |why: String| match target.tls {
        true => why,
        // It hangs up on those who come without.
        false => format!("{why}; one with TLS is reached as rediss://"),
    };
    let failed = |e: RedisError| match e.code() {
        Some(_) => describe(&e),
        None => broken(describe(&e)),
    };
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&target.login, stream.compat(), config)
            .await
            .map_err(failed)?;
    let mut driver: Driver = Box::pin(driver);
    let ping = async {
        match connection.req_packed_command(&redis::cmd("PING")).await {
            // It says so when it can't serve yet: LOADING, MASTERDOWN.
            Ok(Value::ServerError(e)) => Err(describe(&e.into())),
            Ok(_) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    };
    let ended = async {
        driver.as_mut().await;
        Err(broken("the connection was closed".into()))
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
