//! Rooms of all namespaces: who is in them, by the sockets' places in the hub's table.

use std::collections::HashMap;
use std::rc::Rc;

/// Rooms by namespace and name. A room exists while it has a member.
#[derive(Default)]
pub struct Rooms {
    by_namespace: HashMap<Rc<str>, HashMap<Rc<str>, Vec<u32>>>,
}

/// A list of members that has shrunk to a quarter of a buffer larger than this gives the rest back.
const KEPT: usize = 64;

impl Rooms {
    /// The one copy of a namespace's name.
    pub fn namespace(&mut self, nsp: &str) -> Rc<str> {
        if let Some((name, _)) = self.by_namespace.get_key_value(nsp) {
            return name.clone();
        }
        let name: Rc<str> = nsp.into();
        self.by_namespace.insert(name.clone(), HashMap::new());
        name
    }

    /// Adds a member; the one copy of the room's name, and whether it is the first member.
    /// The caller knows that the member is not in it yet.
    pub fn enter(&mut self, nsp: &Rc<str>, room: &str, key: u32) -> (Rc<str>, bool) {
        let rooms = self.by_namespace.entry(nsp.clone()).or_default();
        if let Some((name, _)) = rooms.get_key_value(room) {
            let name = name.clone();
            rooms.entry(name.clone()).or_default().push(key);
            return (name, false);
        }
        let name: Rc<str> = room.into();
        let members = vec![key];
        rooms.insert(name.clone(), members);
        (name, true)
    }

    /// The same by a copy of the room's name that is there.
    pub fn enter_as(&mut self, nsp: &Rc<str>, room: Rc<str>, key: u32) {
        let rooms = self.by_namespace.entry(nsp.clone()).or_default();
        rooms.entry(room).or_default().push(key);
    }

    /// Takes a member out; whether it was the last one.
    pub fn leave(&mut self, nsp: &str, room: &str, key: u32) -> bool {
        let Some(rooms) = self.by_namespace.get_mut(nsp) else {
            return false;
        };
        let Some(members) = rooms.get_mut(room) else {
            return false;
        };
        if let Some(at) = members.iter().position(|k| *k == key) {
            members.swap_remove(at);
        }
        if members.capacity() > KEPT && members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        let emptied = members.is_empty();
        if emptied {
            rooms.remove(room);
        }
        emptied
    }

    /// The members of a room; `None` when there is no such room.
    pub fn members(&self, nsp: &str, room: &str) -> Option<&[u32]> {
        self.by_namespace.get(nsp)?.get(room).map(Vec::as_slice)
    }

    /// Each room of a namespace with its number of members.
    pub fn occupied(&self, nsp: &str) -> Vec<(Rc<str>, usize)> {
        let rooms = self.by_namespace.get(nsp).into_iter().flatten();
        rooms
            .map(|(name, members)| (name.clone(), members.len()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_lives_as_long_as_it_has_a_member() {
        let mut rooms = Rooms::default();
        let nsp = rooms.namespace("/");
        assert!(rooms.enter(&nsp, "a", 1).1);
        assert!(!rooms.enter(&nsp, "a", 2).1);
        assert_eq!(rooms.members("/", "a"), Some(&[1, 2][..]));
        assert!(!rooms.leave("/", "a", 1));
        assert!(!rooms.leave("/", "a", 9));
        assert!(rooms.leave("/", "a", 2));
        assert_eq!(rooms.members("/", "a"), None);
        assert!(rooms.occupied("/").is_empty());
    }
}
