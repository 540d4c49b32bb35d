//! One server that takes our commands, in one write where several wait.

use super::address::{Address, Target};
use super::bell::Bell;
use super::dial;
use crate::Executor;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, Value};
use smol::Task;
use std::cell::RefCell;
use std::rc::Rc;

/// A connection that is logged in, until it ends.
pub struct Node {
    pub address: Address,
    connection: MultiplexedConnection,
    end: Rc<End>,
    _driver: Task<()>,
}

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

    async fn came(&self) -> String {
        self.bell.until(|| self.why.borrow().clone()).await
    }
}

impl Node {
    /// Connects and logs in, within the target's deadline.
    pub async fn open(
        executor: Executor,
        target: &Target,
        address: &Address,
    ) -> Result<Self, String> {
        let work = async {
            let stream = dial::dial(target, address, target.tls).await?;
            dial::log_in(target, stream).await
        };
        let (connection, driver) = dial::within(target.connect_timeout, work).await?;
        let end = Rc::new(End::default());
        let ending = end.clone();
        let drive = async move {
            let given_up = async {
                ending.came().await;
            };
            futures_lite::future::or(driver, given_up).await;
            ending.now("the connection was closed");
        };
        Ok(Self {
            address: address.clone(),
            connection,
            end,
            _driver: executor.spawn(drive),
        })
    }

    /// One command. A refusal of the server's is a value.
    pub async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.clone().send_packed_command(command).await
    }

    /// Several commands in one write; a value for each.
    pub async fn send_all(&self, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let mut connection = self.connection.clone();
        connection
            .req_packed_commands(&pipeline, 0, commands.len())
            .await
    }

    /// Ends the connection; whoever waits for an answer gets none.
    pub fn give_up(&self, why: &str) {
        self.end.now(why);
    }

    /// Waits for the end and tells why it came.
    pub async fn ended(&self) -> String {
        self.end.came().await
    }
}
