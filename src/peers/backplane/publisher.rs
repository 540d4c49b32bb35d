//! What is published, in the order it was emitted: a bounded queue, written in batches by one task.
//!
//! Emitting never waits for it. While Redis is away messages stay, up to [`BYTES`]; beyond that the oldest are lost,
//! counted, and said once. What was written but not confirmed is not written again: an event comes at most once.

use crate::ground::tasks::{Bell, LARGE, aside_if};
use crate::metrics::{self, Counter};
use crate::redis::{CommandError, Redis};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that may wait; a single larger message passes when nothing else waits.
const BYTES: usize = 8 << 20;
/// From so many bytes on, streams wait.
const CROWDED: usize = 1 << 20;
/// What is written at a time, at most, but for a single larger message.
const BATCH_BYTES: usize = 256 << 10;
const BATCH: usize = 500;

type Item = (Cow<'static, str>, String);

/// The queue.
#[derive(Default)]
pub struct Publisher {
    queue: RefCell<VecDeque<Item>>,
    bytes: Cell<usize>,
    /// Messages that were lost since the last that was not.
    lost: Cell<u64>,
    filled: Bell,
    /// Whether a batch is on its way,
    busy: Cell<bool>,
    /// and rung when nothing waits any more.
    emptied: Bell,
}

impl Publisher {
    /// Takes a message for a channel.
    pub fn publish(&self, channel: Cow<'static, str>, message: String) {
        let bytes = size(&channel, &message);
        let mut queue = self.queue.borrow_mut();
        let mut lost = 0;
        while self.bytes.get() + bytes > BYTES
            && let Some((channel, message)) = queue.pop_front()
        {
            self.bytes.set(self.bytes.get() - size(&channel, &message));
            lost += 1;
        }
        queue.push_back((channel, message));
        drop(queue);
        self.bytes.set(self.bytes.get() + bytes);
        if lost > 0 {
            self.lose(lost, "more than 8 MiB wait for Redis");
        }
        self.filled.ring();
    }

    /// Whether so much waits that who can wait should.
    pub fn is_crowded(&self) -> bool {
        self.bytes.get() > CROWDED
    }

    /// Waits until less waits.
    pub fn has_room(&self) -> impl Future<Output = ()> {
        let room = || (!self.is_crowded()).then_some(());
        self.emptied.until(room)
    }

    /// Runs as long as the server does.
    pub async fn run(self: Rc<Self>, redis: Redis) {
        loop {
            let some = || (!self.queue.borrow().is_empty()).then_some(());
            self.filled.until(some).await;
            redis.connected(0).await;
            self.busy.set(true);
            let batch = self.batch();
            let count = batch.len() as u64;
            let is_large = batch.iter().any(|(_, message)| message.len() > LARGE);
            let commands = aside_if(is_large, move || batch.into_iter().map(command).collect());
            let commands: Vec<_> = commands.await;
            match redis.pipeline(commands).await {
                Ok(answers) => {
                    redis.subscriber().published();
                    self.count(&answers);
                }
                Err(CommandError::Refused(why)) => self.lose(count, &why),
                Err(fault) => self.lose(count, &fault.to_string()),
            }
            self.busy.set(false);
            self.emptied.ring();
        }
    }

    /// Waits until all that was emitted is written, unless Redis is away. The caller limits the time.
    pub fn flushed(&self, redis: &Redis) -> impl Future<Output = ()> {
        let none = || (!self.busy.get() && self.queue.borrow().is_empty()).then_some(());
        futures_lite::future::or(self.emptied.until(none), redis.away())
    }

    fn batch(&self) -> Vec<Item> {
        let mut queue = self.queue.borrow_mut();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && batch.len() < BATCH
            && let Some((channel, message)) = queue.pop_front()
        {
            bytes += size(&channel, &message);
            batch.push((channel, message));
        }
        self.bytes.set(self.bytes.get() - bytes);
        if queue.is_empty() && queue.capacity() > BATCH {
            queue.shrink_to(BATCH);
        }
        batch
    }

    fn count(&self, answers: &[redis::Value]) {
        let error = |value: &redis::Value| match value {
            redis::Value::ServerError(e) => Some(e.to_string()),
            _ => None,
        };
        let errors: Vec<String> = answers.iter().filter_map(error).collect();
        let published = answers.len() - errors.len();
        metrics::add(Counter::BackplaneOut, published as u64);
        match errors.first() {
            Some(why) => self.lose(errors.len() as u64, why),
            None => match self.lost.replace(0) {
                0 => {}
                lost => log::warn!("{lost} messages to other instances were lost in all"),
            },
        }
    }

    /// Counted one by one, said once until it goes well again.
    fn lose(&self, count: u64, why: &str) {
        metrics::refuse("backplane message lost", count);
        if self.lost.replace(self.lost.get() + count) == 0 {
            log::warn!("messages to other instances are lost: {why}");
        }
    }
}

fn command((channel, message): Item) -> redis::Cmd {
    let mut command = redis::Cmd::with_capacity(3, message.len() + channel.len() + 8);
    command.arg("PUBLISH").arg(&*channel).arg(message);
    command
}

fn size(channel: &str, message: &str) -> usize {
    channel.len() + message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_too_much_waits() {
        let publisher = Publisher::default();
        let large = "x".repeat(BYTES / 4);
        for _ in 0..9 {
            publisher.publish("c".into(), large.clone());
        }
        assert!(publisher.bytes.get() <= BYTES);
        assert_eq!(
            (publisher.queue.borrow().len(), publisher.lost.get()),
            (3, 6)
        );
        publisher.publish("c".into(), "y".repeat(2 * BYTES));
        assert_eq!(
            (publisher.queue.borrow().len(), publisher.lost.get()),
            (1, 9)
        );
        assert_eq!(publisher.batch().len(), 1);
        assert_eq!(publisher.bytes.get(), 0);
    }

    #[test]
    fn a_batch_keeps_the_order_and_its_bounds() {
        let publisher = Publisher::default();
        for number in 0..BATCH + 3 {
            publisher.publish("c".into(), number.to_string());
        }
        let mut first = publisher.batch();
        assert_eq!(first.len(), BATCH);
        let packed = String::from_utf8(command(first.remove(1)).get_packed_command()).unwrap();
        assert!(
            packed.contains("PUBLISH") && packed.ends_with("$1\r\n1\r\n"),
            "{packed}"
        );
        assert_eq!(publisher.batch().len(), 3);
        assert_eq!(publisher.bytes.get(), 0);
    }
}
