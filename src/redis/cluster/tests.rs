//! The way of commands among nodes that answer by a table.

use super::*;
use crate::config::{self, RedisOptions, Secret};
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use std::collections::VecDeque;
use std::time::Duration;

/// What a node answers to some commands, in turn; `+OK` to all others.
type Table = Rc<RefCell<VecDeque<(&'static str, String)>>>;

/// A node: what it was asked and what it will answer.
struct Fake {
    address: Address,
    asked: Rc<RefCell<Vec<String>>>,
    table: Table,
}

impl Fake {
    async fn start(executor: Executor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, table) = (Rc::default(), Table::default());
        let fake = Self {
            address: Address {
                host: "127.0.0.1".into(),
                port,
            },
            asked,
            table,
        };
        let (asked, table) = (fake.asked.clone(), fake.table.clone());
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve(stream, asked.clone(), table.clone());
                executor.spawn(serve).detach();
            }
        };
        executor.spawn(accept).detach();
        fake
    }

    fn answers(&self, command: &'static str, answer: impl Into<String>) {
        self.table.borrow_mut().push_back((command, answer.into()));
    }

    /// What it was asked since the last look, but for what each connection begins with.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.take();
        asked.retain(|words| !words.starts_with("CLIENT") && !words.starts_with("PING"));
        asked
    }
}

async fn serve(mut stream: TcpStream, asked: Rc<RefCell<Vec<String>>>, table: Table) {
    let (mut buffer, mut rest) = ([0; 4096], String::new());
    while let Ok(bytes) = stream.read(&mut buffer).await {
        if bytes == 0 {
            return;
        }
        rest.push_str(str::from_utf8(&buffer[..bytes]).unwrap());
        let commands: Vec<String> = rest.split('*').skip(1).map(words).collect();
        rest.clear();
        for command in commands {
            let answer = take(&table, &command);
            asked.borrow_mut().push(command);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

fn take(table: &Table, command: &str) -> String {
    let mut table = table.borrow_mut();
    let place = table.iter().position(|(name, _)| command == *name);
    let answer = place.and_then(|place| table.remove(place));
    answer.map_or_else(|| "+OK\r\n".into(), |(_, answer)| answer)
}

/// A command's words; none of the tests has a star or a line break in it.
fn words(command: &str) -> String {
    let lines: Vec<&str> = command.split("\r\n").skip(2).step_by(2).collect();
    lines.join(" ")
}

fn target(address: &Address) -> Endpoint {
    let settings = config::RedisSettings {
        url: Secret::new(format!("redis://{address}/0")),
        sentinels: Vec::new(),
        cluster: true,
        options: RedisOptions::default(),
        tls: config::RedisTls::default(),
        room_channels: true,
        lock_timeout: Duration::from_secs(1),
        key_prefix: "p".into(),
        task_ttl: Duration::from_secs(1),
    };
    let target = Endpoint::new(&settings).unwrap();
    Endpoint {
        timeout: Duration::from_secs(2),
        ..target
    }
}

/// `foo` is of slot 12182, `bar` of 5061, `hello` of 866.
fn map(low: &Address, high: &Address) -> String {
    let node = |address: &Address| {
        let host = &address.host;
        format!("*2\r\n${}\r\n{host}\r\n:{}\r\n", host.len(), address.port)
    };
    let (low, high) = (node(low), node(high));
    format!("*2\r\n*3\r\n:0\r\n:8191\r\n{low}*3\r\n:8192\r\n:16383\r\n{high}")
}

fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

/// Long enough for a machine that does much else.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Two nodes with half of the slots each, and the Cluster that they are.
fn scene(test: impl AsyncFn(&Fake, &Fake, &Cluster)) {
    let executor: Executor = Box::leak(Box::new(smol::LocalExecutor::new()));
    smol::block_on(executor.run(async {
        let (low, high) = (Fake::start(executor).await, Fake::start(executor).await);
        low.answers("CLUSTER INFO", "+cluster_state:ok\r\n");
        low.answers("CLUSTER SLOTS", map(&low.address, &high.address));
        let target = target(&low.address);
        let cluster = Cluster::open(executor, &target, &[]).await.unwrap();
        assert_eq!(low.asked(), ["CLUSTER INFO", "CLUSTER SLOTS"]);
        test(&low, &high, &cluster).await;
    }));
}

fn text(answers: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".into(),
        other => format!("{other:?}"),
    };
    answers.iter().map(text).collect()
}

#[test]
fn a_pipeline_is_split_and_its_answers_are_put_in_place() {
    scene(async |low, high, cluster| {
        let commands = [
            "GET foo",
            "GET bar",
            "PUBLISH c m",
            "SET foo 1",
            "SET bar 1",
        ];
        for words in ["GET foo", "SET foo 1"] {
            high.answers(words, format!("+{words}\r\n"));
        }
        for words in ["GET bar", "PUBLISH c m", "SET bar 1"] {
            low.answers(words, format!("+{words}\r\n"));
        }
        let answers = cluster.send_all(&commands.map(command), soon()).await;
        assert_eq!(text(&answers.unwrap()), commands);
        assert_eq!(low.asked(), ["GET bar", "PUBLISH c m", "SET bar 1"]);
        assert_eq!(high.asked(), ["GET foo", "SET foo 1"]);
    });
}

#[test]
fn redirects_are_followed_in_order() {
    scene(async |low, high, cluster| {
        let to = &high.address;
        low.answers("SET bar 1", format!("-ASK 5061 {to}\r\n"));
        low.answers("SET bar 2", format!("-ASK 5061 {to}\r\n"));
        low.answers("GET hello", format!("-MOVED 866 {to}\r\n"));
        high.answers("SET bar 2", "+second\r\n");
        let commands = ["SET bar 1", "GET hello", "SET bar 2"].map(command);
        let answers = cluster.send_all(&commands, soon()).await.unwrap();
        assert_eq!(text(&answers), ["OK", "OK", "second"]);
        let way = ["ASKING", "SET bar 1", "GET hello", "ASKING", "SET bar 2"];
        assert_eq!(high.asked(), way);
        // One that was asked has not become the master, one that it moved to has.
        low.asked();
        cluster.send(&command("GET bar"), soon()).await.unwrap();
        cluster.send(&command("GET hello"), soon()).await.unwrap();
        assert_eq!(
            (low.asked(), high.asked()),
            (vec!["GET bar".into()], vec!["GET hello".into()])
        );
        assert!(cluster.stale.get());
    });
}

#[test]
fn what_is_down_for_a_moment_is_asked_again_and_no_longer_than_allowed() {
    scene(async |low, _, cluster| {
        low.answers("GET bar", "-TRYAGAIN Multiple keys request\r\n");
        low.answers("GET bar", "-CLUSTERDOWN The cluster is down\r\n");
        low.answers("GET bar", "+there\r\n");
        let answer = cluster.send(&command("GET bar"), soon()).await.unwrap();
        assert_eq!(text(&[answer]), ["there"]);
        for _ in 0..99 {
            low.answers("GET bar", "-CLUSTERDOWN The cluster is down\r\n");
        }
        cluster.hurt.set(Some(Instant::now()));
        let answer = cluster.send(&command("GET bar"), soon()).await.unwrap();
        assert!(matches!(answer, Value::ServerError(e) if e.code() == "CLUSTERDOWN"));
        assert!(low.asked().len() > 1);
        // Known for long: it fails at once.
        cluster
            .hurt
            .set(Instant::now().checked_sub(Duration::from_secs(3)));
        cluster.send(&command("GET bar"), soon()).await.unwrap();
        assert_eq!(low.asked(), ["GET bar"]);
    });
}

#[test]
fn what_is_lost_is_told_and_what_has_no_key_goes_elsewhere() {
    scene(async |low, high, cluster| {
        assert_eq!(
            (cluster.home(), cluster.other()),
            (low.address.clone(), Some(high.address.clone()))
        );
        cluster
            .send_apart(&command("PUBLISH c m"), soon())
            .await
            .unwrap();
        assert_eq!(high.asked(), ["PUBLISH c m"]);
        cluster
            .members
            .get(&low.address)
            .await
            .unwrap()
            .give_up("test");
        let lack = cluster.troubled().await.unwrap();
        assert_eq!(lack, format!("{} is away: test", low.address));
        assert_eq!(cluster.home(), high.address);
        // It comes back; the other one tells.
        high.answers("CLUSTER INFO", "+cluster_state:ok\r\n");
        high.answers("CLUSTER SLOTS", map(&low.address, &high.address));
        assert_eq!(cluster.heal().await, Ok(None));
        assert_eq!(
            (cluster.home(), cluster.hurt.get()),
            (high.address.clone(), None)
        );
    });
}
