//! Documents of notes that have ended, and who may still have them.

use super::super::bury::{Part, bury, part_of_ended};
use super::super::history::{History, LIGHT, Rejected, check};
use super::super::on_disk::OnDisk;
use super::super::vector::Vector;
use super::{Kept, Memory};
use crate::ground::tasks::aside_if;

impl Memory {
    /// What somebody may have of a document that has ended, of which this one holds what is left.
    pub fn ended(&self, id: &str) -> Vector {
        let documents = self.documents.borrow();
        let on_disk = documents.get(id).and_then(|d| d.kept.on_disk.as_ref());
        on_disk.map_or_else(Vector::default, |on_disk| on_disk.ended())
    }

    /// What an update has to do with the one that has ended.
    pub async fn part_of_ended(&self, id: &str, update: &[u8]) -> Part {
        let kept = self.kept(id);
        let Some(on_disk) = &kept.on_disk else {
            return Part::Nothing;
        };
        let (large, ended, update) = (update.len() > LIGHT, on_disk.ended(), update.to_vec());
        let look = move || part_of_ended(&update, &ended).unwrap_or(Part::Nothing);
        aside_if(large, look).await
    }

    /// What nobody knows yet of such an update is stored with all of it deleted, which is returned.
    pub async fn bury(&self, id: &str, update: &[u8]) -> Result<Vec<u8>, Rejected> {
        let kept = self.kept(id);
        let _order = self.turn(&kept).await?;
        let (large, update) = (update.len() > LIGHT, update.to_vec());
        let known = kept.with(|_| false, |h| h.vector().clone()).await;
        let look = move || {
            check(&update)?;
            let news = known.rest_of(&update).and_then(|news| bury(&news));
            let news = news.map_err(|_| Rejected::Malformed)?;
            let ended = Vector::ends_of(&news);
            Ok::<_, Rejected>((news, ended))
        };
        let (news, ended) = aside_if(large, look).await?;
        let appended = self.try_append(&kept, &news, History::append).await;
        self.changed(id, &kept, appended)?;
        if let Some(on_disk) = &kept.on_disk {
            on_disk.bury(&ended, &kept.history).await;
        }
        Ok(news)
    }

    pub async fn known(&self, id: &str) -> Option<Vector> {
        let kept = self.documents.borrow().get(id)?.kept.clone();
        let _order = self.turn(&kept).await.ok()?;
        Some(kept.with(|_| false, |h| h.vector().clone()).await)
    }

    /// All that is stored.
    pub async fn remains(&self, id: &str) -> Result<Vec<u8>, Rejected> {
        let kept = self.kept(id);
        let _order = self.turn(&kept).await?;
        let read = |history: &mut History| history.state().to_vec();
        Ok(kept.with(|history| history.takes_long(0), read).await)
    }

    /// Its note is gone. Whoever has the document, or comes back with it, learns that it has ended should a note be made with the
    /// same id.
    pub async fn end(&self, id: &str) {
        let had = self.documents.borrow().contains_key(id);
        let kept = self.kept(id);
        if let (Ok(_order), Some(on_disk)) = (self.turn(&kept).await, &kept.on_disk) {
            match had || on_disk.was_found() {
                true => self.end_known(&kept, on_disk).await,
                false => on_disk.forget(),
            }
        }
        self.forget_unused(id, &kept);
    }

    /// It ends, and whoever comes back with it is known. The caller holds the order.
    pub(super) async fn end_known(&self, kept: &Kept, on_disk: &OnDisk) {
        let end = |history: &mut History| {
            let all = history.vector().clone();
            history.bury();
            all
        };
        let all = kept.with(|_| true, end).await;
        on_disk.end_known(&all, &kept.history).await;
        self.new_version(kept);
        self.count(kept);
    }
}
