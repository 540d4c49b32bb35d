//! One server that takes our commands, in one write where several wait.

use super::address::{Address, Endpoint};
use super::dial;
use crate::ground::tasks::{Bell, Executor, Tasks, within};
use futures_lite::future::{or, pending};
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, Value};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A connection that is logged in, until it ends.
pub struct Node {
    pub address: Address,
    connection: MultiplexedConnection,
    /// How long a command may take.
    timeout: Duration,
    end: Rc<End>,
    /// What drives the connection, and ends with it.
    driver: Tasks,
}

/// Why most connections end that are not closed.
const LATE: &str = "a command was not answered in time";

/// Why a connection ended, once it has.
#[derive(Default)]
struct End {
    why: RefCell<Option<String>>,
    bell: Bell,
}

impl End {
    fn now(&self, why: &str) {
        self.why.borrow_mut().get_or_insert_with(|| why.to_owned());
        self.bell.ring();
    }

    fn came(&self) -> impl Future<Output = String> {
        self.bell.until(|| self.why.borrow().clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.driver.end();
    }
}

impl Node {
    /// Connects and logs in, within the target's deadline.
    pub async fn open(
        executor: Executor,
        target: &Endpoint,
        address: &Address,
    ) -> Result<Self, String> {
        let work = async {
            let stream = dial::dial(target, address, target.tls).await?;
            dial::log_in(target, stream).await
        };
        let (connection, driver) = dial::answer_within(target.connect_timeout, work).await?;
        let end = Rc::new(End::default());
        let health = health(connection.clone(), target.health_check, target.timeout);
        let ending = end.clone();
        let tasks = Tasks::new(executor);
        tasks.spawn("a connection to Redis", async move {
            let given_up = async {
                ending.came().await;
            };
            let sick = async { ending.now(&health.await) };
            or(driver, or(given_up, sick)).await;
            ending.now("the connection was closed");
        });
        Ok(Self {
            address: address.clone(),
            connection,
            timeout: target.timeout,
            end,
            driver: tasks,
        })
    }

    /// One command. A refusal of the server's is a value.
    pub async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        // Boxed there: all that may ask Redis would be as large.
        self.by(deadline, connection.req_packed_command(command))
            .await
    }

    /// Several commands in one write; a value for each.
    pub async fn send_all(
        &self,
        commands: impl IntoIterator<Item = Cmd>,
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        let count = pipeline.len();
        let mut connection = self.connection.clone();
        self.by(
            deadline,
            connection.req_packed_commands(&pipeline, 0, count),
        )
        .await
    }

    /// A connection that had time and did not answer is no good: it ends.
    async fn by<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        if let Some(done) = within(left, work).await {
            return done;
        }
        if began.elapsed() >= self.timeout / 2 {
            self.give_up(LATE);
        }
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }

    /// Whether it has not ended.
    pub fn lives(&self) -> bool {
        self.end.why.borrow().is_none()
    }

    /// Ends the connection; whoever waits for an answer gets none.
    pub fn give_up(&self, why: &str) {
        self.end.now(why);
    }

    /// Waits for the end and tells why it came.
    pub fn ended(&self) -> impl Future<Output = String> {
        self.end.came()
    }
}

/// Asks a silent connection whether it lives, when the options want that. Returns when it does not answer.
async fn health(
    mut connection: MultiplexedConnection,
    interval: Option<Duration>,
    timeout: Duration,
) -> String {
    let Some(interval) = interval else {
        return pending().await;
    };
    loop {
        smol::Timer::after(interval).await;
        let ping = redis::cmd("PING");
        let answer = within(timeout, connection.req_packed_command(&ping)).await;
        if !matches!(answer, Some(Ok(_))) {
            return LATE.into();
        }
    }
}
