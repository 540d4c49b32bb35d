//! Who comes back to a document that has ended, with a program that does not count documents: a page of Open WebUI, or any Yjs
//! client. What it has would stand beside what is there now.
//!
//! A document holds what is left of those before it: that all of them is deleted. Whoever opens it is not told at once, but asked
//! for what it has: an empty state, to which a fresh page answers with first content and gets the state in the ack, and another one
//! with all it has. What it shows meanwhile is saved by nobody. If what it has is of a document that has ended, it is asked for its
//! content, which becomes a version of the note, should it not be known; what it wrote offline ends as well; and then it is shown
//! what is there, in which its own text is deleted. Was nobody here, its editor is empty then, and begins with what is saved.

use super::broadcast::Broadcast;
use super::gaps::Editor;
use super::old::Old;
use super::refusals::not_stored;
use super::states::Extra;
use super::{AWAY, Documents, Kind, Opening, Update};
use crate::app::core::{Fault, Sender, UNAVAILABLE};
use crate::app::documents::Document;
use crate::ground::tasks::aside_if;
use crate::peers::documents::bytes::ints;
use crate::peers::documents::{Away, EMPTY, LIGHT, Part, Rejected};
use crate::socket::Args;
use smol::Timer;
use std::time::Duration;

/// How long is waited for what somebody has: a moment, in which a page answers over a slow link, and more for as many characters
/// a second as come over it,
const ANSWER: Duration = Duration::from_secs(2);
const PACE: u64 = 50_000;
/// and for its content, which comes half a second after it is asked for.
pub(super) const CONTENT: Duration = Duration::from_secs(4);

impl Documents {
    /// Whether who opens the document is asked first what they have of it. Readers have nothing to keep.
    pub(super) fn asks_first(&self, document: &Document, opening: &Opening, writes: bool) -> bool {
        let counts = opening.epoch.is_some() || opening.vector.is_some();
        writes && !counts && !self.core.documents.ended(&document.id).is_empty()
    }

    /// The session was asked what it has; `in_vain`, if it is a fresh page, since it was given nothing to begin with.
    pub(super) fn was_asked(&'static self, from: &Sender, document: &Document, in_vain: bool) {
        let asked = match in_vain {
            true => Old::AskedInVain,
            false => Old::Asked,
        };
        self.gaps.has(from.sid, document, asked);
        self.show_after(ANSWER, from, document, asked);
    }

    /// A page that was given nothing to begin with shows that its cursor was nowhere yet: nobody typed there while it was away. If its
    /// client wrote nothing of what has ended either, there is no text of its own to wait for, and it is shown what is there. Should
    /// it have read what has ended, its answer comes after that, and ends as well.
    pub(super) fn greeted_in_vain(&'static self, from: &Sender, document: &Document, client: u64) {
        if self.core.documents.ended(&document.id).knows(client) {
            return;
        }
        let (from, document) = (from.clone(), Document::new(&document.id));
        self.gaps.asking.spawn("shows a document", async move {
            if self.gaps.old(from.sid, &document) == Old::AskedInVain {
                self.show(&from, &document, Old::Shown).await;
            }
        });
    }

    fn show_after(&'static self, pause: Duration, from: &Sender, document: &Document, while_: Old) {
        let more = self.core.documents.ended(&document.id).len() / PACE;
        let pause = pause + Duration::from_secs(more.min(60));
        let (from, document) = (from.clone(), Document::new(&document.id));
        self.gaps.asking.spawn("shows a document", async move {
            Timer::after(pause).await;
            if self.gaps.old(from.sid, &document) == while_ {
                let then = match while_ {
                    Old::Known => Old::Left,
                    // Its answer may come all the same.
                    _ => Old::Shown,
                };
                self.show(&from, &document, then).await;
            }
        });
    }

    /// What the sender of a change has of one that has ended.
    pub(super) fn has_of_ended(&self, from: &Sender, document: &Document) -> Old {
        let old = self.gaps.old(from.sid, document);
        if old == Old::Left && self.gaps.has_state(from.sid, document, &self.core.hub) {
            self.gaps.has(from.sid, document, Old::No);
            return Old::No;
        }
        old
    }

    /// A change by who was asked what they have: `None` when it is one of this document.
    pub(super) async fn take_of_ended(
        &'static self,
        from: &Sender,
        document: &Document,
        old: Old,
        update: &mut Update,
    ) -> Option<Result<Args<'static>, Fault>> {
        let bytes = match &update.bytes {
            _ if old == Old::Waits => return self.take_waiting(from, document, update),
            _ if old == Old::Writes => return self.take_written(from, document, update),
            Some(bytes) if !update.initialize => bytes,
            // A fresh page gets what is there in the ack.
            Some(_) => {
                self.gaps.has(from.sid, document, Old::No);
                return None;
            }
            None if matches!(old, Old::Shown | Old::Left) => return None,
            None if old == Old::Known => {
                let kept = self
                    .keep_version(from, document, update.fields.take())
                    .await;
                self.show(from, document, Old::Left).await;
                return Some(kept);
            }
            // It shows what it had, or nothing yet.
            None => {
                update.drop_content();
                return None;
            }
        };
        let is_asked = old.is_asked();
        if is_asked {
            self.gaps.has(from.sid, document, Old::Answered);
        }
        let part = match old {
            // What was typed before it has what it was shown ends with what it was typed into.
            Old::Known | Old::Left => Part::OfEnded,
            _ => {
                let since = |editor: &mut Editor| editor.since;
                let since = self.gaps.with(from.sid, &document.id, since).flatten();
                let documents = &self.core.documents;
                documents.part_of_ended(&document.id, bytes, since).await
            }
        };
        match part {
            Part::OfEnded => {}
            // Its answer is still to come, with this in it, and tells into what it was typed.
            Part::Builds if is_asked => {
                self.gaps.has(from.sid, document, old);
                self.show_after(ANSWER, from, document, old);
                self.owes(from, document, Kind::Change);
                return Some(Ok(not_stored(UNAVAILABLE)));
            }
            _ if old == Old::Shown => return None,
            // It has what is here, or something new: its content is asked for once it has both.
            _ => {
                self.show(from, document, Old::No).await;
                update.drop_content();
                return None;
            }
        }
        if self.core.directory.emits_itself() && old != Old::Left {
            let bytes = update.bytes.take().unwrap_or_default();
            self.comes_back(from, document, bytes, update.fields.take());
            return Some(Ok(Args::none()));
        }
        if let Err(rejected) = self.bury(from, document, bytes).await {
            self.show(from, document, Old::Left).await;
            return Some(Ok(self.refuse(from, document, rejected, Kind::Change)));
        }
        self.keep_later(document);
        if let Some(fields) = update.fields.take() {
            let kept = self.keep_version(from, document, Some(fields)).await;
            self.show(from, document, Old::Left).await;
            return Some(kept);
        }
        if matches!(old, Old::Shown | Old::Left) {
            self.show(from, document, Old::Left).await;
        } else if self.gaps.has(from.sid, document, Old::Known) == Old::Answered {
            self.show_update(from.sid, document, "[0,0]");
            self.show_after(CONTENT, from, document, Old::Known);
        }
        Some(Ok(Args::none()))
    }

    /// What the sender brings to close a gap in what has ended ends as well.
    pub(super) async fn bury_gap(&'static self, from: &Sender, document: &Document, update: &[u8]) {
        let Some(gap) = self.core.documents.gap_of_ended(&document.id, update).await else {
            return;
        };
        if let Err(rejected) = self.bury(from, document, &gap).await {
            return log::debug!("{} closes no gap in what has ended: {rejected:?}", from.sid);
        }
        if let Err(fault) = self.try_show(from, document).await {
            log::debug!("{} is not shown {:?}: {fault:?}", from.sid, document.id);
        }
    }

    /// What is of a document that has ended is deleted for all who may build on it.
    pub(super) async fn bury(
        &'static self,
        from: &Sender,
        document: &Document,
        update: &[u8],
    ) -> Result<(), Rejected> {
        let documents = &self.core.documents;
        // What is known to be deleted is said to nobody: who comes back at the same moment has not said what they had.
        let news = documents.news_of(&document.id, update).await;
        let news = news.as_deref().unwrap_or(update);
        if news == EMPTY {
            return Ok(());
        }
        let buried = documents.bury(&document.id, news).await?;
        if buried != EMPTY {
            let broadcast = Broadcast::new(&self.core.peers, from, document, &buried);
            broadcast.prepare().await;
            let outgoing = || broadcast.outgoing();
            let added = documents.add_buried(&document.id, &buried, &outgoing);
            added.await?;
            broadcast.emit_here();
        }
        // What was lost on the way before it is in the sender's editor alone.
        if let Some(known) = documents.known(&document.id).await
            && let Some(missing) = known.lacked_before(update)
        {
            self.close_gap(from.sid, document, missing);
        }
        Ok(())
    }

    /// Shows what is there to who was asked: what it had is deleted in that. Afterwards it is one that has this.
    pub(super) async fn show(&'static self, from: &Sender, document: &Document, then: Old) {
        let shown = match self.gaps.has(from.sid, document, then) {
            Old::No => return,
            _ => self.try_show(from, document).await,
        };
        if let Err(fault) = shown {
            self.gaps.has(from.sid, document, Old::No);
            log::debug!("{} is not shown {:?}: {fault:?}", from.sid, document.id);
            // A page takes nothing that is typed into it until it is asked for what it has.
            self.owes(from, document, Kind::Change);
        }
    }

    pub(super) async fn try_show(&self, from: &Sender, document: &Document) -> Result<(), Fault> {
        let documents = &self.core.documents;
        let vector = documents.vector(&document.id).await.ok_or(AWAY)?;
        if !vector.is_empty() {
            let state = self.states.again(self.core, document).await;
            return self.send_state(from, document, &state.map_err(|Away| AWAY)?);
        }
        // Nobody has begun it anew: its editor is emptied, and told what is saved.
        let remains = documents.remains(&document.id).await.ok_or(AWAY)?;
        let json = aside_if(remains.len() > LIGHT, move || ints(&remains)).await;
        let content = self.view(from, document).await?.map(|view| view.content);
        let extra = Extra {
            content: content.as_ref().map(|content| content.get()),
            ..Extra::default()
        };
        let state = self.states.event(self.core, document, None, extra).await;
        self.check_open(from.sid, document)?;
        self.show_update(from.sid, document, &json);
        self.send_state(from, document, &state)
    }
}
