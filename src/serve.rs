//! Builds the house from Config, listens, drains on SIGTERM.

use crate::app::core::{Core, ReachedLimits};
use crate::app::limit::Limit;
use crate::app::news::News;
use crate::app::{House, recovery as sessions};
use crate::config::{Config, DirectoryKind, Recovery};
use crate::directory::Directory;
use crate::directory::local::Local;
use crate::directory::open_webui::OpenWebui;
use crate::engine::{Engine, Settings};
use crate::events::Dispatch;
use crate::ground::net::{Reactor, tell};
use crate::ground::tasks::{Executor, Tasks, block_on, within};
use crate::http::{Connections, Limits, Service, Site};
use crate::outbox::Bounds;
use crate::peers::pools::Pools;
use crate::peers::{self, Peers};
use crate::socket::{Hub, recovery};
use crate::store::{OpenError, Store};
use crate::systemd::{self, Handed, Systemd};
use crate::token::Key;
use async_signal::{Signal, Signals};
use futures_lite::{StreamExt as _, future};
use smol::{Async, Timer};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{fmt, io};

/// How long a connection may be idle: longer than proxies keep theirs in their pools (nginx 60 s, Go's and Traefik's 90 s,
/// Caddy 120 s), so that none of them sends a request into one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a request's head may take once it has begun.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message of who has not signed in: a token and what is said beside it need a fraction.
const STRANGERS_PAYLOAD: usize = 64 * 1024;

/// Connections that may wait to be accepted; the system may have a lower bound. The standard library's 128 are too few when
/// everybody comes back at once: who finds no place tries again after a second, then after three.
const BACKLOG: i32 = 4096;

/// How long going down may take in all.
const DRAIN: Duration = Duration::from_secs(10);

/// How often systemd is told how many connections there are, while that changes.
const STATUS: Duration = Duration::from_secs(10);

/// Why the server did not start.
#[derive(Debug)]
pub enum Error {
    /// An address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// The store can't be opened.
    Store(OpenError),
    /// The URL of Redis can't be used.
    Redis(String),
    /// Sockets or signals of the system can't be had.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, e) if e.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is in use: is siskin running already? Set SISKIN_LISTEN to another address"
                )
            }
            Self::Listen(address, e) => {
                let way = match e.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 are root's: set SISKIN_LISTEN to a higher one"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "set SISKIN_LISTEN to an address of this machine"
                    }
                    _ => "see SISKIN_LISTEN",
                };
                write!(f, "can't listen on {address}: {e}; {way}")
            }
            Self::Store(e @ OpenError::Disk(..)) => {
                write!(
                    f,
                    "{e}; SISKIN_DATA_DIR names the store's folder, which siskin must be able to write to"
                )
            }
            Self::Store(e) => write!(f, "{e}"),
            Self::Redis(why) => write!(f, "WEBSOCKET_REDIS_URL: {why}"),
            Self::System(what, e) => write!(f, "{what}: {e}"),
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What kept the server from starting.
pub fn run(config: Config) -> Result<(), Error> {
    block_on(|executor| live(executor, Rc::new(config)))
}

async fn live(executor: Executor, config: Rc<Config>) -> Result<(), Error> {
    let started = Instant::now();
    let mut signals = Signals::new([Signal::Term, Signal::Int])
        .map_err(|e| Error::System("can't wait for signals", e))?;
    let systemd = Rc::new(Systemd::from_env());
    let Handed { listeners, kept } =
        systemd::handed().map_err(|e| Error::System("systemd's sockets can't be used", e))?;
    let are_ours = listeners.is_empty();
    let listeners = listening(&config, listeners)?;
    if !kept.is_empty() {
        systemd.keep_no_more();
    }
    let site = build(executor, &config, kept)?;
    let connections = Connections::new(executor, limits(&config, &site), service(&site));
    let (accepting, reporting) = (Tasks::new(executor), Tasks::new(executor));
    for listener in &listeners {
        let accept = connections.clone().accept(listener.clone());
        accepting.spawn("accepts connections", accept);
    }
    let report = report(systemd.clone(), site.clone(), connections.clone());
    reporting.spawn("reports to systemd", report);
    announce(&listeners, started);
    systemd.ready();

    let signal = signals.next().await;
    systemd.stopping();
    log::info!(
        "going down ({}): {} sessions are told to go",
        name(signal),
        site.engine.len()
    );
    accepting.end();
    accepting.idle().await;
    drop(listeners);
    let again = async {
        signals.next().await;
    };
    let (core, keeps) = (site.house.core, systemd.listens());
    future::or(drain(&site, &connections, are_ours), again).await;
    if let Some(socket) = sessions::leave(core, keeps).await {
        systemd.keep(&socket);
    }
    // Last of all, so that what the drain saved is on disk.
    core.directory.close().await;
    Ok(())
}

/// Everything between the sockets and the disk. `kept`: what the last process left.
fn build(executor: Executor, config: &Rc<Config>, kept: Vec<OwnedFd>) -> Result<Rc<Site>, Error> {
    tell::start(Tasks::new(executor));
    let hub = Hub::new();
    let pools = Pools::default();
    if config.recovery != Recovery::Off {
        hub.recover(executor, recovery(config));
    }
    let (peers, documents) = peers::start(executor, config, &hub, &pools).map_err(Error::Redis)?;
    let directory = directory(executor, config, &hub, &peers)?;
    if let Some(local) = directory.local() {
        documents.keep_in(local);
    }
    let house = House::new(Core {
        config: config.clone(),
        key: Key::new(config.secret_key.expose()),
        executor,
        hub: hub.clone(),
        peers,
        directory,
        documents,
        pools,
        limits: ReachedLimits::default(),
        limit: Limit::new(config.events_per_second),
        news: News::new(executor),
    });
    hub.set_handler(Dispatch::new(house));
    house.start();
    sessions::take(house.core, kept);
    let engine = Engine::new(executor, settings(config), hub);
    Ok(Rc::new(Site { house, engine }))
}

/// Who knows users and what they may see. Beside Open WebUI the store is not even opened: nothing would be in it.
fn directory(
    executor: Executor,
    config: &Config,
    hub: &Rc<Hub>,
    peers: &Peers,
) -> Result<Directory, Error> {
    match &config.directory {
        DirectoryKind::Local => {
            let store = Store::open(executor, &config.data_dir).map_err(Error::Store)?;
            let local = Local::new(executor, Rc::new(store), config.trust_token_claims);
            Ok(Directory::Local(local))
        }
        DirectoryKind::OpenWebui(url) => {
            let shared = !peers.is_alone();
            let webui = OpenWebui::start(executor, url.clone(), hub.clone(), shared);
            Ok(Directory::OpenWebui(webui))
        }
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        ping_interval: config.ping_interval,
        ping_timeout: config.ping_timeout,
        max_payload: config.max_payload,
        strangers_payload: STRANGERS_PAYLOAD,
        input_bytes: config.input_bytes,
        outbox: Bounds {
            stalled: config.outbox_bytes,
            most: config.outbox_most,
        },
        outboxes: config.outboxes_bytes,
        messages_per_second: config.events_per_second,
        sessions: config.max_connections,
        sessions_per_address: config.max_connections_per_address,
        transports: config.transports,
    }
}

fn recovery(config: &Config) -> recovery::Settings {
    recovery::Settings {
        browsers: config.recovery == Recovery::Browsers,
        time: config.recovery_time,
        bytes: config.recovery_bytes,
        silence: config.ping_interval + config.ping_timeout,
    }
}

fn limits(config: &Rc<Config>, site: &Rc<Site>) -> Limits {
    let (proxies, engine) = (config.clone(), site.engine.clone());
    Limits {
        connections: config.max_connections,
        per_address: config.max_connections_per_address,
        proxies: Box::new(move |address| {
            proxies
                .trusted_proxies
                .iter()
                .any(|net| net.contains(address))
        }),
        upgraded: Box::new(move || engine.websockets()),
        idle_timeout: IDLE_TIMEOUT,
        head_timeout: HEAD_TIMEOUT,
        head_bytes: config.max_header,
        head_lines: config.max_header_lines,
    }
}

fn service(site: &Rc<Site>) -> Service {
    let site = site.clone();
    Rc::new(move |request, peer| Box::pin(site.clone().answer(request, peer)))
}

/// The sockets that systemd opened for us, or else our own.
fn listening(
    config: &Config,
    handed: Vec<TcpListener>,
) -> Result<Vec<Rc<Async<TcpListener>>>, Error> {
    let bound = match handed.is_empty() {
        false => handed,
        true => {
            let bind = |address: &SocketAddr| {
                let bound = TcpListener::bind(address).and_then(|listener| {
                    rustix::net::listen(&listener, BACKLOG)?;
                    Ok(listener)
                });
                bound.map_err(|e| Error::Listen(*address, e))
            };
            config.listen.iter().map(bind).collect::<Result<_, _>>()?
        }
    };
    let asynchronous = |listener| Async::new(listener).map(Rc::new);
    bound
        .into_iter()
        .map(asynchronous)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::System("a listening socket", e))
}

fn announce(listeners: &[Rc<Async<TcpListener>>], started: Instant) {
    for listener in listeners {
        if let Ok(address) = listener.get_ref().local_addr() {
            let took = started.elapsed().as_micros();
            log::info!(
                "siskin {} listens on http://{address} after {took} us",
                env!("CARGO_PKG_VERSION")
            );
        }
    }
    // Nobody has waited for the start.
    Reactor::with(|reactor| reactor.turns().begin());
}

/// Keeps systemd informed: the watchdog, and the number of connections while it changes.
/// Without systemd nothing runs, so that idle stays idle.
async fn report(systemd: Rc<Systemd>, site: Rc<Site>, connections: Rc<Connections>) {
    if !systemd.listens() {
        return;
    }
    let status = async {
        let mut last = None;
        loop {
            let now = (site.engine.len(), connections.open());
            if last.replace(now) != Some(now) {
                systemd.status(&format!("{} sessions, {} HTTP connections", now.0, now.1));
            }
            Timer::after(STATUS).await;
        }
    };
    let watchdog = async {
        systemd.keep_alive().await;
        future::pending::<()>().await;
    };
    future::or(watchdog, status).await
}

/// Tells sockets to go, saves what is pending, and lets requests finish; no longer than [`DRAIN`]. Where new
/// connections are `refused` from now on, and go to another instance, their sessions may follow them there.
async fn drain(site: &Site, connections: &Connections, refused: bool) {
    let started = Instant::now();
    site.house.end_calls();
    sessions::go_on(site.house.core);
    site.engine.shutdown();
    connections.let_go();
    let done = within(DRAIN, async {
        site.house.save().await;
        site.engine.websockets_closed().await;
        connections.all_closed().await;
        if refused {
            site.house.core.peers.let_others_take().await;
        }
        site.house.core.hub.end_held();
        site.house.close().await;
    });
    match done.await {
        Some(()) => log::info!("gone after {} ms", started.elapsed().as_millis()),
        None => {
            site.house.log_unsaved();
            log::warn!(
                "gone after {} s, with {} HTTP connections open{}",
                DRAIN.as_secs(),
                connections.open(),
                unfinished(site.house)
            );
        }
    }
}

/// What still runs, for the log.
fn unfinished(house: &House) -> String {
    match house.unfinished() {
        names if names.is_empty() => String::new(),
        names => format!(", before this was done: {}", names.join(", ")),
    }
}

fn name(signal: Option<io::Result<Signal>>) -> &'static str {
    match signal {
        Some(Ok(Signal::Int)) => "SIGINT",
        _ => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn what_kept_it_from_starting_is_told_with_the_way_out() {
        let listen = |kind: io::ErrorKind| {
            Error::Listen(([127, 0, 0, 1], 80).into(), kind.into()).to_string()
        };
        for kind in [
            io::ErrorKind::AddrInUse,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::AddrNotAvailable,
            io::ErrorKind::Other,
        ] {
            let said = listen(kind);
            let whole = said.contains("127.0.0.1:80") && said.contains("SISKIN_LISTEN");
            assert!(whole && !said.contains('\n'), "{said}");
        }
        let file = std::env::current_exe().unwrap();
        for folder in [file.clone(), file.join("below")] {
            let opened =
                block_on(|executor| async move { Store::open(executor, &folder).map(drop) });
            let said = Error::Store(opened.unwrap_err()).to_string();
            assert!(
                said.contains("not a folder") || said.contains("Not a directory"),
                "{said}"
            );
            assert!(said.contains("SISKIN_DATA_DIR"), "{said}");
        }
        let newer = OpenError::Newer {
            path: "x".into(),
            found: 9,
            known: 1,
        };
        assert!(!Error::Store(newer).to_string().contains("SISKIN_DATA_DIR"));
        let why = OpenError::Disk("x".into(), StoreError::Failed, "why".into());
        assert!(
            Error::Store(why)
                .to_string()
                .starts_with("x can't be opened: why; ")
        );
    }
}
