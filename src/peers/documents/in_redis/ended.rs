//! Who comes back with a document that has ended. What is left of it, that all of it is deleted, is stored with the first content of
//! the next one, never alone: a process that knows nothing of such documents would take it for an empty one.

use super::InRedis;
use super::kept::GoesOn;
use crate::ground::names::note_of_document;
use crate::ground::tasks::aside_if;
use crate::peers::documents::bury::{Part, bury, part_of_ended};
use crate::peers::documents::history::{EMPTY, LIGHT, check, check_aside, merge, news};
use crate::peers::documents::update::Id;
use crate::peers::documents::vector::Vector;
use crate::peers::documents::{Away, Rejected, Tell};
use crate::peers::shared::lease::Lease;
use std::rc::Rc;

impl InRedis {
    /// When its note's document was begun, where that is known.
    pub fn epoch(&self, id: &str) -> Option<u64> {
        note_of_document(id)?;
        self.known.borrow().get(id)?.before.epoch
    }

    /// What somebody may have of a document that has ended.
    pub fn ended(&self, id: &str) -> Vector {
        let known = self.known.borrow();
        let ended = known.get(id).map(|known| known.before.ended.clone());
        ended.unwrap_or_default()
    }

    pub async fn part_of_ended(&self, id: &str, update: &[u8]) -> Part {
        let (large, update, ended) = (update.len() > LIGHT, update.to_vec(), self.ended(id));
        let look = move || part_of_ended(&update, &ended).unwrap_or(Part::Nothing);
        match aside_if(large, look).await {
            // It goes on, and its sender, who came before it did, has heard what was deleted since.
            Part::Knows if self.goes_on(id).await => Part::OfEnded,
            part => part,
        }
    }

    pub fn look_again(&self, id: &str) {
        self.with_known(id, |known| known.vector = None);
    }

    /// Where one that had ended goes on with what was written outside.
    pub fn goes_on_since(&self, id: &str) -> Option<Id> {
        match self.known.borrow().get(id)?.before.goes_on {
            GoesOn::From(since) => Some(since),
            GoesOn::No | GoesOn::Unwritten => None,
        }
    }

    /// What nobody knows yet of an update of one that has ended, with all of it deleted.
    pub async fn bury(&self, id: &str, update: &[u8]) -> Result<Vec<u8>, Rejected> {
        check_aside(update).await?;
        let mut known = self.vector(id).await.ok_or(Away)?;
        if let Some(remains) = self.left_before(id).filter(|_| known.is_empty()) {
            known.join(&Vector::ends_of(&remains));
        }
        let (large, update) = (update.len() > LIGHT, update.to_vec());
        let look = move || bury(&known.rest_of(&update)?);
        let buried = aside_if(large, look).await;
        let buried = buried.map_err(|_| Rejected::Malformed)?;
        let all = self.remains(id).await.ok_or(Away)?;
        let large = all.len() + buried.len() > LIGHT;
        let news = aside_if(large, move || news(buried, || all)).await;
        news.ok_or(Rejected::Malformed)
    }

    /// That is stored, if a document has begun, and else is a part of what the next one begins with.
    pub async fn add_buried(
        self: &Rc<Self>,
        id: &str,
        buried: &[u8],
        tell: Tell<'_>,
    ) -> Result<(), Rejected> {
        if self.len(id).await.map_err(|_| Away)? > 0 {
            return self.append(id, buried, true, tell).await.map(drop);
        }
        let all = self.with_remains(id, buried.to_vec()).await;
        self.with_known(id, |known| known.before.remains = Some(all));
        Ok(())
    }

    /// Does something for the document while no other instance does; `None` when nobody can tell.
    pub async fn in_turn<T>(&self, id: &str, what: &str, work: impl AsyncFn() -> T) -> Option<T> {
        let work = async |_: &Lease| Ok(work().await);
        let done = self
            .locks
            .with(&self.key(id, &format!("{what}:lock")), work)
            .await;
        done.ok()
    }

    /// An update, and what is left of the documents before one that has not begun.
    pub async fn with_remains(&self, id: &str, update: Vec<u8>) -> Vec<u8> {
        let Some(remains) = self.left_before(id) else {
            return update;
        };
        let large = remains.len() + update.len() > LIGHT;
        let both = move || match (check(&update), merge(vec![&remains, &update])) {
            (Ok(_), Some(merged)) => merged.bytes,
            _ => update,
        };
        aside_if(large, both).await
    }

    /// Everything stored, or what is left of the documents before.
    pub async fn remains(&self, id: &str) -> Option<Vec<u8>> {
        let state = self.bytes(id).await.ok()?;
        let remains = || self.left_before(id).unwrap_or_else(|| EMPTY.to_vec());
        Some(state.unwrap_or_else(remains))
    }

    fn left_before(&self, id: &str) -> Option<Vec<u8>> {
        self.known.borrow().get(id)?.before.remains.clone()
    }
}
