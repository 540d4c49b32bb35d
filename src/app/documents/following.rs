//! What other instances do to documents while this one can't hear it.

use super::Documents;
use super::name::Document;

impl Documents {
    /// Keeps the sessions here in step with what other instances do, as long as the server runs. What those published
    /// while this one could not hear it is lost, and so is what was refused while Redis was away: so everybody gets the
    /// state, and sends what that lacks.
    pub fn follow(&'static self) {
        self.following.spawn("follows documents", async move {
            loop {
                for id in self.core.documents.missed().await {
                    self.send_state_to_all(&Document::new(&id)).await;
                }
            }
        });
        self.following.spawn("follows removed notes", async move {
            loop {
                for (note_id, epoch) in self.core.peers.removed_notes().await {
                    self.note_removed_elsewhere(&note_id, epoch).await;
                }
            }
        });
        self.following.spawn("follows ended documents", async move {
            loop {
                for id in self.core.documents.outdated().await {
                    self.open_anew(&Document::new(&id)).await;
                }
            }
        });
    }
}
