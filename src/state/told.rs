//! Which limits a socket has run into: the log says each of them once a socket where everybody looks, then only in detail.

use crate::socket::Sid;
use log::Level;
use std::cell::RefCell;
use std::collections::HashMap;

/// What was said of each socket; of most of them nothing.
#[derive(Default)]
pub struct Told(RefCell<HashMap<Sid, Vec<&'static str>>>);

impl Told {
    /// At which level it is worth saying that this socket, which is connected, has run into this limit: `news` the first time.
    pub fn level(&self, sid: Sid, limit: &'static str, news: Level) -> Level {
        let mut told = self.0.borrow_mut();
        let limits = told.entry(sid).or_default();
        if limits.contains(&limit) {
            return Level::Debug;
        }
        limits.push(limit);
        news
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        self.0.borrow_mut().remove(&sid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_news_once_a_socket() {
        let told = Told::default();
        let (a, b) = (Sid::random(), Sid::random());
        let levels = [(a, "x"), (a, "x"), (a, "y"), (b, "x"), (a, "y")];
        let levels = levels.map(|(sid, limit)| told.level(sid, limit, Level::Info));
        use Level::{Debug, Info};
        assert_eq!(levels, [Info, Debug, Info, Info, Debug]);
        told.forget(a);
        assert_eq!(told.level(a, "x", Info), Info);
        told.forget(a);
        told.forget(b);
        assert!(told.0.borrow().is_empty());
    }
}
