//! A change of a document: what is news of it is stored, and passed on.

use super::broadcast::Broadcast;
use super::{Document, Documents, Kind};
use crate::app::core::Sender;
use crate::ground::tasks::aside;
use crate::peers::documents::lean::lean;
use crate::peers::documents::update::Contents;
use crate::peers::documents::{LIGHT, Rejected};
use crate::socket::Args;

/// Longer updates may hold what is stored: that is left out.
const SHORT: usize = 512;

/// How often what is news of an update is looked for.
const ATTEMPTS: usize = 4;

impl Documents {
    pub(super) async fn append(
        &'static self,
        from: &Sender,
        document: &Document,
        mut update: Vec<u8>,
        with_content: bool,
    ) -> Args<'static> {
        let documents = &self.core.documents;
        if update.len() > LIGHT {
            update = aside(move || lean(&update).unwrap_or(update)).await;
        }
        // Who was told of a gap, or comes back, may send all they have.
        let mut news = self.gaps.was_told(from.sid, document) || update.len() > SHORT;
        let mut attempts = 0;
        loop {
            let mut is_news = false;
            if news && let Some(news) = documents.news_of(&document.id, &update).await {
                (update, is_news) = (news, true);
            }
            let broadcast = Broadcast::new(&self.core.peers, from, document, &update);
            broadcast.prepare().await;
            let outgoing = || broadcast.outgoing();
            let appended = documents.append(&document.id, &update, is_news, &outgoing);
            let appended = appended.await;
            attempts += 1;
            // Somebody else may bring the same at the same time.
            if appended == Err(Rejected::Unmended) && attempts < ATTEMPTS {
                news = true;
                continue;
            }
            return self.answer_appended(from, document, appended, &broadcast, with_content);
        }
    }

    fn answer_appended(
        &'static self,
        from: &Sender,
        document: &Document,
        appended: Result<Contents, Rejected>,
        broadcast: &Broadcast<'_>,
        with_content: bool,
    ) -> Args<'static> {
        match appended {
            Ok(contents) if contents.is_empty() => Args::none(),
            Ok(contents) => {
                broadcast.emit_here();
                if let Some(note_id) = document.note() {
                    self.notes.brought(note_id, from.sid, false);
                }
                if !with_content {
                    self.ask_for_content(from.sid, document);
                }
                self.answer_stored(from.sid, document, &contents)
            }
            Err(rejected) => self.refuse(from, document, rejected, Kind::Change),
        }
    }
}
