//! What could not be taken for no fault of its sender: it is asked for once it can be.
//!
//! A page of Open WebUI has no use for an answer that says no: first content that was refused leaves it empty for good, and an
//! edit stays where it is until somebody types on. Our provider asks by itself.

use super::gaps::Editor;
use super::name::Document;
use super::{AWAY, Documents, Kind, Opening};
use crate::app::core::{Fault, Sender};
use crate::socket::{Sid, Target};
use smol::Timer;
use std::time::Duration;

/// How long after a refusal its sender is asked, at first and at last.
const PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

impl Documents {
    /// A change could not be taken: its sender is asked for it after 1, 2, 4 s and so on, until it can be.
    pub(super) fn owes(&'static self, from: &Sender, document: &Document, kind: Kind) {
        let owe = |editor: &mut Editor| {
            if editor.syncs {
                return false;
            }
            editor.owed = editor.owed.max(Some(kind));
            !std::mem::replace(&mut editor.collecting, true)
        };
        if self.gaps.with(from.sid, &document.id, owe) != Some(true) {
            return;
        }
        let (from, document) = (from.clone(), Document::new(&document.id));
        self.gaps
            .asking
            .spawn("asks for what was refused", async move {
                let next = |editor: &mut Editor| {
                    editor.collecting = editor.owed.is_some();
                    editor.tries += u32::from(editor.collecting);
                    editor.owed.map(|kind| (kind, editor.tries))
                };
                while let Some((kind, tries)) =
                    self.gaps.with(from.sid, &document.id, next).flatten()
                {
                    Timer::after(LAST_PAUSE.min(PAUSE * (1 << tries.min(6)) / 2)).await;
                    match self.collect_from(&from, &document, kind).await {
                        Err(Fault::Unavailable(_)) => {}
                        Err(fault) => {
                            self.pay(from.sid, &document);
                            let _ = self.refuse_sender(&from, &document, kind, fault);
                        }
                        Ok(()) => {}
                    }
                }
            });
    }

    /// The session owes nothing any more. Returns what it owed.
    fn pay(&self, sid: Sid, document: &Document) -> Option<Kind> {
        let owed = |editor: &mut Editor| editor.owed.take();
        self.gaps.with(sid, &document.id, owed).flatten()
    }

    /// Something of the session was taken.
    pub(super) fn was_taken(&self, sid: Sid, document: &Document) {
        self.gaps.with(sid, &document.id, |editor| editor.tries = 0);
    }

    async fn collect_from(
        &'static self,
        from: &Sender,
        document: &Document,
        kind: Kind,
    ) -> Result<(), Fault> {
        self.check_write(from, document).await?;
        if kind == Kind::First {
            let view = self.view(from, document).await?;
            let opening = Opening::default();
            let sent = self.send_state_and_content(from, document, view, &opening);
            sent.await?;
            self.pay(from.sid, document);
        } else {
            let vector = self.core.documents.vector(&document.id).await;
            vector.ok_or(AWAY)?;
            self.collect_now(from.sid, document);
        }
        Ok(())
    }

    /// Asks for what the session owes.
    fn collect_now(&self, sid: Sid, document: &Document) {
        let owed = self.pay(sid, document);
        if owed == Some(Kind::Change) {
            self.tell_of_gap(sid, document, &[]);
        }
        if owed.is_some() {
            self.ask_for_content(sid, document);
        }
    }

    /// Everybody gets the state that the document has; who was refused, and does not see it from the state, is asked.
    pub(super) async fn send_state_to_all(&self, document: &Document) {
        let Ok(state) = self.core.documents.state(&document.id).await else {
            return log::debug!("who has {:?} open may lack updates", document.id);
        };
        let (is_empty, members) = (state.is_none(), self.core.hub.members(&document.room));
        let owed = |sid: Sid| self.gaps.with(sid, &document.id, |editor| editor.owed);
        // A page that has nothing would be content with an empty state: it is to get the saved content with it.
        let begins = |sid: &&Sid| is_empty && owed(**sid).flatten() == Some(Kind::First);
        let later: Vec<&str> = members.iter().filter(begins).map(Sid::as_str).collect();
        let here = Target::room(&document.room).but(&later);
        let state = self
            .states
            .event(self.core, document, state, Default::default());
        state.await.send(&self.core.hub, &here);
        for sid in members.iter().filter(|sid| !later.contains(&sid.as_str())) {
            self.collect_now(*sid, document);
        }
    }
}
