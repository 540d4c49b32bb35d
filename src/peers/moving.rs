//! Sessions that lost their connection at another instance.

use super::Peers;
#[cfg(feature = "redis")]
use super::backplane::Moves;
#[cfg(feature = "redis")]
use super::shared::SharedPools;
#[cfg(feature = "redis")]
use crate::config::Config;
use crate::socket::Find;
#[cfg(feature = "redis")]
use crate::token::Key;
#[cfg(feature = "redis")]
use std::rc::Rc;

/// The sessions that come from other instances and go to them: of those the entries in the pool are written there.
#[cfg(feature = "redis")]
pub fn moves(config: &Config, shared: &Rc<SharedPools>) -> Rc<Moves> {
    let (key, shared) = (Key::new(config.secret_key.expose()), shared.clone());
    Moves::new(key, move |sid| shared.moved(sid))
}

impl Peers {
    /// Looks for a session of this private id there, whose client has got the event `offset`; `None` when nobody can be asked.
    pub fn find(&self, pid: &str, offset: Option<&str>) -> Option<Find> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "redis")]
            Self::Redis(peers) => peers.backplane.find(pid, offset),
        }
    }
}
