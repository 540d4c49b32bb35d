//! What the subscriber writes: its login, then rounds of subscribing and unsubscribing.

use super::address::Endpoint;
use super::reader::Reader;
use super::stream::Stream;
use futures_lite::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use std::collections::BTreeMap;
use std::io;

/// Channels in one command.
const BATCH: usize = 1000;

/// Writes all of it. TLS may keep a part until it is told that no more comes.
pub async fn send(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    output.write_all(bytes).await?;
    output.flush().await
}

pub async fn log_in(
    target: &Endpoint,
    stream: &mut Stream,
    reader: &mut Reader,
) -> Result<(), String> {
    let mut login = Vec::new();
    let mut answers = 1;
    if let Some(password) = target.login.password() {
        let mut auth = redis::cmd("AUTH");
        target.login.username().into_iter().for_each(|user| {
            auth.arg(user);
        });
        auth.arg(password).write_packed_command(&mut login);
        answers += 1;
    }
    redis::cmd("CLIENT")
        .arg("SETNAME")
        .arg("siskin-subscriber")
        .write_packed_command(&mut login);
    send(stream, &login).await.map_err(|e| e.to_string())?;
    while answers > 0 {
        match stream
            .read(reader.space())
            .await
            .map_err(|e| e.to_string())?
        {
            0 => return Err("the connection was closed".into()),
            bytes => reader.came(bytes),
        }
        while let Some(reply) = reader.next().map_err(|_| "it sent what is no reply")? {
            answers -= 1;
            if let Some(error) = reply.part(0).strip_prefix(b"-") {
                return Err(String::from_utf8_lossy(error).into_owned());
            }
        }
    }
    Ok(())
}

/// The commands of a round as they are written.
pub fn commands(changes: &BTreeMap<String, bool>, round: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, wanted) in [("UNSUBSCRIBE", false), ("SUBSCRIBE", true)] {
        let channels = changes.iter().filter(|(_, w)| **w == wanted);
        let channels: Vec<&str> = channels.map(|(channel, _)| &**channel).collect();
        for some in channels.chunks(BATCH) {
            redis::cmd(name).arg(some).write_packed_command(&mut bytes);
        }
    }
    redis::cmd("PING")
        .arg(round)
        .write_packed_command(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_leaving_entering_and_a_ping() {
        let changes = [("a", true), ("b", false)]
            .map(|(c, w)| (c.to_owned(), w))
            .into();
        let text = String::from_utf8(commands(&changes, 7)).unwrap();
        let words: Vec<_> = text
            .split("\r\n")
            .filter(|w| !w.starts_with(['*', '$']))
            .collect();
        assert_eq!(
            words,
            ["UNSUBSCRIBE", "b", "SUBSCRIBE", "a", "PING", "7", ""]
        );
    }
}
