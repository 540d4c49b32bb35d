//! From one process of this instance to the next.

use super::Peers;
use crate::ground::written::{Reader, Writer};
use std::os::fd::OwnedFd;

impl Peers {
    /// The end: as long as there are others, they take up those who are away.
    pub async fn let_others_take(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.let_others_take().await,
        }
    }

    /// Whether the next process can go on where this one ends. `keeps`: somebody keeps a socket for it.
    pub fn can_be_left(&self, keeps: bool) -> bool {
        match self {
            Self::Alone(_) => true,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => keeps && peers.backplane.can_be_left(),
        }
    }

    /// What the next process hears by, with the socket that it goes on with; alone, there is nothing to hear. `None`: what is
    /// published until it is there nobody hears.
    pub async fn hand_over(&self) -> Option<(Vec<u8>, Option<OwnedFd>)> {
        match self {
            Self::Alone(_) => Some((Vec::new(), None)),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => {
                let mut out = Writer::default();
                let socket = peers.backplane.hand_over(&mut out).await?;
                Some((out.0, Some(socket)))
            }
        }
    }

    /// Goes on with what the last process left, whose socket is one of these. `None`: something may have been missed.
    pub fn take_over(&self, left: &mut Reader<'_>, sockets: Vec<OwnedFd>) -> Option<()> {
        match self {
            Self::Alone(_) => left.rest.is_empty().then_some(()),
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.take_over(left, sockets),
        }
    }

    /// Waits until all is here that was published meanwhile.
    pub async fn caught_up(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.caught_up().await,
        }
    }
}
