//! What other instances do to documents while this one can't hear it.

use super::name::Document;
use super::{Away, Documents};
use crate::socket::Target;

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
    }

    async fn send_state_to_all(&self, document: &Document) {
        let id = &document.id;
        match self.states.again(self.core, document).await {
            Ok(state) => {
                let here = Target::room(&document.room);
                state.send(&self.core.hub, &here);
                self.collect(document);
            }
            Err(Away) => log::debug!("who has {id:?} open may lack updates"),
        }
    }
}
