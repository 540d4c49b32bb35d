//! What of a document is there without a gap, as far as this instance was told.

use super::{InRedis, Known};
use crate::ground::tasks::aside_if;
use crate::peers::documents::history::{EMPTY, LIGHT, Rejected, check, depth_with, news};
use crate::peers::documents::mend::{mended, with_waiting};
use crate::peers::documents::update::Id;
use crate::peers::documents::vector::Vector;

impl InRedis {
    /// An update was stored from here. Returns what it builds on and is not stored: then it was looked in Redis, too.
    pub(super) async fn take(&self, id: &str, update: &[u8]) -> Option<Id> {
        let mut known = (None, true);
        if update.len() <= LIGHT {
            self.with_known(id, |document| {
                if let Some(vector) = &mut document.vector {
                    let before = vector.missing();
                    let missing = vector.take(update);
                    known = (
                        missing,
                        vector.is_old() || missing.is_some() && before.is_none(),
                    );
                }
            });
        }
        match known {
            (missing, false) => missing,
            (Some(missing), true) => {
                let vector = self.read_vector(id).await;
                vector.is_none_or(|v| !v.has(missing)).then_some(missing)
            }
            (None, true) => {
                let (mut vector, update) = (self.read_vector(id).await?, update.to_vec());
                aside_if(update.len() > LIGHT, move || vector.take(&update)).await
            }
        }
    }

    /// See [`crate::peers::documents::SharedDocuments::heard`].
    pub fn heard(&self, id: &str, update: impl FnOnce() -> Option<Vec<u8>>) {
        self.with_known(id, |known| {
            if let Some(vector) = &mut known.vector {
                // What takes long is read when somebody has to know.
                let taken = update().filter(|update| update.len() <= LIGHT);
                let taken = taken.filter(|update| check(update).is_ok());
                taken.as_ref().map(|update| vector.take(update));
                if taken.is_none() || vector.is_old() {
                    known.vector = None;
                }
            }
        });
    }

    pub fn size(&self, id: &str) -> usize {
        self.known.borrow().get(id).map_or(0, |known| known.size)
    }

    pub async fn vector(&self, id: &str) -> Option<Vector> {
        match self.known_vector(id) {
            Some(vector) if vector.missing().is_none() => Some(vector),
            _ => self.read_vector(id).await,
        }
    }

    pub async fn news_of(&self, id: &str, update: &[u8]) -> Option<Vec<u8>> {
        let (vector, update) = (self.vector(id).await?, update.to_vec());
        let large = update.len() > LIGHT || vector.missing().is_some();
        let stored = match vector.missing() {
            Some(_) => self.bytes(id).await.ok()?,
            None => None,
        };
        let rest = aside_if(large, move || {
            check(&update).ok()?;
            let mut rest = vector.rest_of(&update).ok()?;
            if let Some(stored) = stored.filter(|_| vector.is_awaited(&rest)) {
                rest = with_waiting(&vector, &stored, &rest)?;
            }
            mended(&vector, rest).ok()
        });
        let rest = rest.await?;
        if rest.first() != Some(&0) || rest == EMPTY {
            return Some(rest);
        }
        let state = self.bytes(id).await.ok()?;
        let state = state.unwrap_or_else(|| EMPTY.to_vec());
        aside_if(state.len() > LIGHT, move || news(rest, || state)).await
    }

    /// Whether Yjs would throw at a checked update as it is. Of a large one it was looked for before.
    pub(super) async fn is_unmended(&self, id: &str, update: &[u8], is_news: bool) -> bool {
        if update.len() > LIGHT {
            return false;
        }
        let is_known = |known: &Known| known.vector.is_some();
        if !self.known.borrow().get(id).is_some_and(is_known) {
            self.read_vector(id).await;
        }
        let known = self.known.borrow();
        let vector = known.get(id).and_then(|known| known.vector.as_ref());
        vector.is_some_and(|v| v.is_unmended(update) || !is_news && v.is_awaited(update))
    }

    /// Whether things stand too deep in each other with a checked update.
    pub(super) async fn check_depth(&self, id: &str, update: &[u8]) -> Result<(), Rejected> {
        let may_be_deep = {
            let known = self.known.borrow();
            let vector = known.get(id).and_then(|known| known.vector.as_ref());
            vector.unwrap_or(&Vector::default()).may_be_deep(update)
        };
        if may_be_deep {
            let stored = self.bytes(id).await?.unwrap_or_else(|| EMPTY.to_vec());
            let (large, update) = (stored.len() > LIGHT, update.to_vec());
            let depth = aside_if(large, move || depth_with(&stored, &update)).await?;
            self.with_known(id, |known| {
                if let Some(vector) = &mut known.vector {
                    vector.is_deep(depth);
                }
            });
        }
        Ok(())
    }

    fn known_vector(&self, id: &str) -> Option<Vector> {
        self.known.borrow().get(id)?.vector.clone()
    }

    async fn read_vector(&self, id: &str) -> Option<Vector> {
        self.state(id).await.ok()?;
        self.known_vector(id)
    }
}
