//! What systemd is told (sd_notify(3)), the watchdog, and sockets that it opened or kept for us (sd_listen_fds(3)).
//!
//! Without systemd every function does nothing.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// What goes with a socket that is to be kept.
const KEEP: &[u8] = b"FDSTORE=1\nFDNAME=redis";

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Systemd {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What the environment names; a socket that can't be reached is logged and left alone.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let connected = connect(name.as_bytes());
            let warn = |error| log::warn!("systemd's NOTIFY_SOCKET can't be used: {error}");
            connected.map_err(warn).ok()
        });
        let text = |name| std::env::var(name).ok();
        let watchdog = watchdog(
            text("WATCHDOG_USEC"),
            text("WATCHDOG_PID"),
            std::process::id(),
        );
        Self { socket, watchdog }
    }

    /// Whether anybody is there to be told.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// Connections are accepted from now on.
    pub fn ready(&self) {
        self.send(&format!("READY=1\nMAINPID={}", std::process::id()));
    }

    /// We are going down.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Keeps a socket open for the next process, if the unit has a `FileDescriptorStoreMax=`.
    pub fn keep(&self, kept: &OwnedFd) {
        let Some(socket) = &self.socket else { return };
        let message = [IoSlice::new(KEEP)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let sockets = [kept.as_fd()];
        beside.push(SendAncillaryMessage::ScmRights(&sockets));
        if let Err(error) = sendmsg(socket, &message, &mut beside, SendFlags::empty()) {
            log::debug!("systemd was not given a socket to keep: {error}");
        }
    }

    /// The socket that it kept is here, or of no use: it need not keep it any more.
    pub fn keep_no_more(&self) {
        self.send("FDSTOREREMOVE=1\nFDNAME=redis");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        // A line's end would begin another message.
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// How often [`Self::ping`] must be called (half of systemd's deadline); `None` when it isn't waited for.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// The main loop still turns.
    pub fn ping(&self) {
        self.send("WATCHDOG=1");
    }

    /// Pings as often as systemd wants, for ever; run it on the executor whose life it tells. Ends at once when it isn't waited for.
    pub async fn keep_alive(&self) {
        while let Some(pause) = self.watchdog() {
            self.ping();
            smol::Timer::after(pause).await;
        }
    }

    /// The socket doesn't block: a manager that doesn't read loses a message, we lose no time.
    fn send(&self, message: &str) {
        if let Some(Err(error)) = self
            .socket
            .as_ref()
            .map(|socket| socket.send(message.as_bytes()))
        {
            log::debug!("systemd was not told {message:?}: {error}");
        }
    }
}

/// TCP sockets that systemd hands over.
#[derive(Default)]
pub struct Handed {
    /// Those that listen: none without a `.socket` unit.
    pub listeners: Vec<TcpListener>,
    /// Those that it kept for the process before this one.
    pub kept: Vec<OwnedFd>,
}

/// What systemd hands over.
pub fn handed() -> io::Result<Handed> {
    let mut sockets = listenfd::ListenFd::from_env();
    let mut handed = Handed::default();
    for place in 0..sockets.len() {
        if let Some(socket) = sockets.take_tcp_listener(place)? {
            match sockopt::socket_acceptconn(&socket)? {
                true => handed.listeners.push(socket),
                false => handed.kept.push(socket.into()),
            }
        }
    }
    Ok(handed)
}

/// A path, or `@name` in the abstract namespace.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Half of systemd's deadline, if it is for this process.
fn watchdog(usec: Option<String>, pid: Option<String>, ours: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(ours)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros((usec / 2).max(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::tasks::within;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn tells(manager: &UnixDatagram, name: &[u8]) {
        manager
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let systemd = Systemd {
            socket: Some(connect(name).unwrap()),
            watchdog: Some(Duration::from_millis(1)),
        };
        systemd.ready();
        assert_eq!(
            heard(manager),
            format!("READY=1\nMAINPID={}", std::process::id())
        );
        systemd.status("two\nlines");
        assert_eq!(heard(manager), "STATUS=two lines");
        let pings = within(Duration::from_millis(200), systemd.keep_alive());
        assert_eq!(smol::block_on(pings), None);
        assert_eq!(
            (heard(manager), heard(manager)),
            ("WATCHDOG=1".into(), "WATCHDOG=1".into())
        );
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 64]).is_ok() {}
        systemd.stopping();
        assert_eq!(heard(manager), "STOPPING=1");
    }

    #[test]
    fn a_manager_with_a_path_is_told() {
        let path = std::env::temp_dir().join(format!("siskin-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        tells(&manager, path.as_os_str().as_bytes());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_manager_with_an_abstract_name_is_told() {
        let name = format!("siskin-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        tells(&manager, format!("@{name}").as_bytes());
    }

    #[test]
    fn nobody_is_told_nothing() {
        let alone = Systemd::default();
        alone.ready();
        smol::block_on(alone.keep_alive());
        assert!(connect(b"/nowhere/at/all").is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_holds_up_nobody() {
        let name = format!("siskin-deaf-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _manager = UnixDatagram::bind_addr(&address).unwrap();
        let systemd = Systemd {
            socket: Some(connect(format!("@{name}").as_bytes()).unwrap()),
            watchdog: None,
        };
        for _ in 0..10_000 {
            systemd.ping();
        }
    }

    #[test]
    fn the_watchdog_is_ours_or_nobodys() {
        let text = |text: &str| Some(text.to_owned());
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(text("2000000"), None, 7), second);
        assert_eq!(watchdog(text("2000000"), text("7"), 7), second);
        assert_eq!(watchdog(text("2000000"), text("8"), 7), None);
        for wrong in ["", "0", "-1", "x"] {
            assert_eq!(watchdog(text(wrong), None, 7), None);
        }
        assert_eq!(watchdog(None, None, 7), None);
    }
}
