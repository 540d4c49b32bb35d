//! Documents that have ended, wherever they are kept.

use super::bury::{self, Part};
use super::history::{LIGHT, check};
use super::update::Id;
use super::vector::Vector;
use super::{Rejected, SharedDocuments, Tell};
use crate::ground::tasks::aside_if;

impl SharedDocuments {
    /// What somebody may have of one that has ended, of which this one holds what is left.
    pub fn ended(&self, id: &str) -> Vector {
        match self {
            Self::Memory(memory) => memory.ended(id),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.ended(id),
        }
    }

    /// Whether an update holds more than was known of the one that has ended.
    pub fn adds_to_ended(&self, id: &str, update: &[u8]) -> bool {
        let ended = self.ended(id);
        bury::holds(update, |block| !ended.has(block.last()))
    }

    /// What an update has to do with the one that has ended. `since`: where that had gone on when its sender came.
    pub async fn part_of_ended(&self, id: &str, update: &[u8], since: Option<Id>) -> Part {
        if since.is_some_and(|id| bury::holds(update, |block| block.covers(id))) {
            return Part::Nothing;
        }
        match self {
            Self::Memory(memory) => memory.part_of_ended(id, update).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.part_of_ended(id, update)).await,
        }
    }

    /// What is stored without a gap, though it be nothing but what is left of one that has ended; `None` when nobody can tell.
    pub async fn known(&self, id: &str) -> Option<Vector> {
        match self {
            Self::Memory(memory) => memory.known(id).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.vector(id)).await,
        }
    }

    /// What an update brings that its author wrote before something that has ended: that has ended with it.
    pub async fn gap_of_ended(&self, id: &str, update: &[u8]) -> Option<Vec<u8>> {
        let known = self.known(id).await?;
        known.missing()?;
        let (large, update, ended) = (update.len() > LIGHT, update.to_vec(), self.ended(id));
        let look = move || {
            check(&update).ok()?;
            let gap = known.rest_within(&update, Some(&ended)).ok()?;
            bury::holds(&gap, |_| true).then_some(gap)
        };
        aside_if(large, look).await
    }

    /// Such an update has ended, too: what is left of it, that all of it is deleted. It is stored then, where others need
    /// not be told: see [`SharedDocuments::add_buried`].
    pub async fn bury(&self, id: &str, update: &[u8]) -> Result<Vec<u8>, Rejected> {
        match self {
            Self::Memory(memory) => memory.bury(id, update).await,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.bury(id, update)).await,
        }
    }

    /// The one that has ended goes on after all, if no other one has begun. Whether what was written outside is still to be put in it.
    pub async fn revive(&self, id: &str) -> bool {
        match self {
            Self::Memory(_) => false,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.revive(id)).await,
        }
    }

    /// What other instances stored was not heard here for a while.
    pub fn look_again(&self, id: &str) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.look_again(id),
        }
    }

    /// Where it goes on, if it had ended: whoever has this has what was written outside.
    pub fn goes_on_since(&self, id: &str) -> Option<Id> {
        match self {
            Self::Memory(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.goes_on_since(id),
        }
    }

    /// That is put in it, from here on.
    pub async fn goes_on_from(&self, id: &str, begins: Option<Id>) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.goes_on_from(id, begins)).await,
        }
    }

    /// Stores what is left of such an update, and tells others as [`SharedDocuments::append`] does.
    pub async fn add_buried(
        &self,
        id: &str,
        buried: &[u8],
        tell: Tell<'_>,
    ) -> Result<(), Rejected> {
        match self {
            Self::Memory(_) => Ok(()),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.add_buried(id, buried, tell)).await,
        }
    }

    /// Does something for the document while nobody else does; `None` when nobody can tell.
    pub async fn in_turn<T>(&self, id: &str, what: &str, work: impl AsyncFn() -> T) -> Option<T> {
        match self {
            Self::Memory(_) => Some(work().await),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.in_turn(id, what, work)).await,
        }
    }

    /// What is stored as a document's first content: with what is left of the one before it, where that is not stored already.
    pub async fn with_remains(&self, id: &str, first: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Memory(_) => first,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.with_remains(id, first).await,
        }
    }

    /// Everything stored, what is left of one that has ended included, though nothing else may be.
    pub async fn remains(&self, id: &str) -> Option<Vec<u8>> {
        match self {
            Self::Memory(memory) => memory.remains(id).await.ok(),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::pin(redis.remains(id)).await,
        }
    }
}
