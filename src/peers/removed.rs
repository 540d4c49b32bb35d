//! Notes that a backend removed: each instance tells the others, whose sessions may have them open.

use super::Peers;
#[cfg(feature = "redis")]
use super::backplane::Notice;

impl Peers {
    /// The note was removed here, and its document has ended: the next one has this epoch.
    pub fn note_removed(&self, note_id: &str, epoch: u64) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                let note = note_id.into();
                peers.backplane.notify(&Notice::Removed { note, epoch });
            }
        }
    }

    /// The notes that others have removed, and those epochs, as they say; alone, never any.
    pub async fn removed_notes(&self) -> Vec<(String, u64)> {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                let removed = peers.backplane.removed().await.into_iter();
                let read = |removed: String| {
                    let (epoch, note_id) = removed.split_once('\n')?;
                    Some((note_id.to_owned(), epoch.parse().ok()?))
                };
                removed.filter_map(read).collect()
            }
        }
    }
}
