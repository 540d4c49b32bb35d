//! What is known of those who come back to a document that has ended.

use crate::app::notes::Fields;
use crate::peers::documents::history::MAX_BYTES;
use crate::peers::documents::update::Id;
use std::collections::VecDeque;
use std::time::Instant;

/// What is known of who opens a document of which an earlier one has ended.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Old {
    /// It has this one.
    #[default]
    No,
    /// It was asked for what it has,
    Asked,
    /// and was given nothing that a fresh page would begin with: such a one has no answer.
    AskedInVain,
    /// It has answered, which is being looked at.
    Answered,
    /// It has the earlier one, and was asked for its content.
    Known,
    /// It was shown this one before it answered: it may be a page that has read the earlier one.
    Shown,
    /// It has the earlier one, and waits until others who came back before have been shown this one.
    Waits,
    /// It has the earlier one, which goes on with it, and is told what was written.
    Writes,
    /// It had the earlier one, and was shown this one, which may be on its way.
    Left,
}

impl Old {
    /// It was asked for what it has, and has not answered.
    pub fn is_asked(self) -> bool {
        matches!(self, Self::Asked | Self::AskedInVain)
    }

    /// It is still to be shown what is there.
    pub fn waits(self) -> bool {
        self.is_asked() || matches!(self, Self::Answered | Self::Known | Self::Waits)
    }
}

/// What came of somebody who waits to be shown what is there.
#[derive(Default)]
pub struct Came {
    updates: VecDeque<Vec<u8>>,
    /// What it says that it shows.
    pub content: Option<Fields>,
    /// When something changed last in its editor, as far as is known.
    pub stirred: Option<Instant>,
    /// Where what it wrote begins, should its document go on: what was written outside.
    pub begins: Option<Id>,
}

impl Came {
    /// `false` when that would be too much.
    pub fn add(&mut self, update: Vec<u8>) -> bool {
        let size: usize = self.updates.iter().map(Vec::len).sum();
        let fits = self.updates.is_empty() || size + update.len() <= MAX_BYTES;
        if fits {
            self.updates.push_back(update);
        }
        fits
    }

    /// The next one of its updates.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        self.updates.pop_front()
    }
}
