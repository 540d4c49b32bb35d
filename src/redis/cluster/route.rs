//! The way of commands: to the master that has the key, after a redirect to whom it names, in order at each node.

use super::slots::{Redirect, redirect, slot_of};
use super::{Address, Cluster, all, by};
use crate::metrics::{self, Counter};
use redis::{Cmd, RedisError, Value};
use std::time::{Duration, Instant};

/// Before what can't be done now is tried again: first, and at most.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);
/// Redirects that are followed without a pause.
const AT_ONCE: u32 = 4;

/// A command on its way: its place among others, its slot, and who is asked instead of the slot's master.
pub struct Part {
    place: usize,
    slot: Option<u16>,
    ask: Option<Address>,
}

/// What one node is asked at a time.
pub type Group = (Address, Vec<Part>);

/// Why a node gave no answers.
pub enum Failure {
    /// It was not asked.
    Unsent(RedisError),
    /// It may have done what it was asked.
    Lost(RedisError),
}

/// What is to be asked again.
#[derive(Default)]
struct Again {
    parts: Vec<Part>,
    /// Better after a pause.
    blocked: bool,
    /// Why some were not even sent.
    error: Option<RedisError>,
}

impl Again {
    /// In its place.
    fn add(&mut self, part: Part) {
        let after = self.parts.partition_point(|other| other.place < part.place);
        self.parts.insert(after, part);
    }
}

impl Cluster {
    /// Several commands, in their order at each node; a value for each.
    pub async fn send_all(
        &self,
        commands: &[Cmd],
        deadline: Instant,
    ) -> Result<Vec<Value>, RedisError> {
        let mut answers = vec![Value::Nil; commands.len()];
        let mut parts: Vec<Part> = commands.iter().enumerate().map(part).collect();
        let (mut rounds, mut pause) = (0, PAUSE);
        loop {
            let groups = self.split(parts);
            let again = self.round(groups, commands, &mut answers, deadline).await?;
            if again.parts.is_empty() {
                return Ok(answers);
            }
            rounds += 1;
            if again.blocked || rounds > AT_ONCE {
                if !self.is_worth_waiting(deadline) {
                    // What the nodes said last is the answer.
                    return again.error.map_or(Ok(answers), Err);
                }
                smol::Timer::after(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            parts = again.parts;
        }
    }

    /// Who is asked what, in the order of the parts.
    fn split(&self, parts: Vec<Part>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for part in parts {
            let owner = || self.slots.borrow().owner(part.slot?).cloned();
            let address = part.ask.clone().or_else(owner);
            let address = address.unwrap_or_else(|| self.home());
            match groups.iter_mut().find(|(at, _)| *at == address) {
                Some((_, parts)) => parts.push(part),
                None => groups.push((address, vec![part])),
            }
        }
        groups
    }

    /// Asks all of them at once, and puts their answers in place.
    async fn round(
        &self,
        groups: Vec<Group>,
        commands: &[Cmd],
        answers: &mut [Value],
        deadline: Instant,
    ) -> Result<Again, RedisError> {
        let asked = groups
            .iter()
            .map(|group| self.send_group(group, commands, deadline));
        let results = all(asked).await;
        let mut again = Again::default();
        for ((address, parts), result) in groups.into_iter().zip(results) {
            match result {
                Ok(values) => {
                    for (part, value) in parts.into_iter().zip(values) {
                        self.judge(&part, &value, &address, &mut again);
                        if let Some(answer) = answers.get_mut(part.place) {
                            *answer = value;
                        }
                    }
                }
                Err(Failure::Unsent(error)) => {
                    for part in parts {
                        again.add(Part { ask: None, ..part });
                    }
                    again.blocked = true;
                    again.error = Some(error);
                }
                Err(Failure::Lost(error)) => return Err(error),
            }
        }
        Ok(again)
    }

    /// Asks one node, in one write.
    pub(super) async fn send_group(
        &self,
        (address, parts): &Group,
        commands: &[Cmd],
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let node = by(deadline, self.members.get(address)).await;
        let node = node.map_err(Failure::Unsent)?;
        let mut batch = Vec::with_capacity(parts.len());
        for part in parts {
            batch.extend(part.ask.as_ref().map(|_| redis::cmd("ASKING")));
            batch.extend(commands.get(part.place).cloned());
        }
        let values = node.send_all(batch, deadline).await;
        let mut values = values.map_err(Failure::Lost)?.into_iter();
        let own = parts.iter().map(|part| {
            values
                .nth(usize::from(part.ask.is_some()))
                .unwrap_or(Value::Nil)
        });
        Ok(own.collect())
    }

    /// Whether a part is to be asked again, and whom.
    fn judge(&self, part: &Part, answer: &Value, asked: &Address, again: &mut Again) {
        let mut ask = None;
        match (redirect(answer, asked), part.slot) {
            (None, _) => return,
            (Some(Redirect::Moved(to)), Some(slot)) => {
                metrics::add(Counter::Moved, 1);
                self.slots.borrow_mut().move_to(slot, to);
                self.doubt();
            }
            (Some(Redirect::Ask(to)), _) => {
                metrics::add(Counter::Asked, 1);
                ask = Some(to);
            }
            (Some(_), _) => {
                again.blocked = true;
                self.doubt();
            }
        }
        let (place, slot) = (part.place, part.slot);
        again.add(Part { place, slot, ask });
    }

    /// Not at the end of its time, nor when something has been wrong for longer than a command may take.
    fn is_worth_waiting(&self, deadline: Instant) -> bool {
        let since = self.hurt.get().unwrap_or_else(Instant::now);
        Instant::now() + LONGEST_PAUSE < deadline.min(since + self.target.timeout)
    }
}

/// A command that goes where its key is.
pub fn part((place, command): (usize, &Cmd)) -> Part {
    Part {
        place,
        slot: slot_of(command),
        ask: None,
    }
}

impl From<Failure> for RedisError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(error) | Failure::Lost(error) => error,
        }
    }
}
