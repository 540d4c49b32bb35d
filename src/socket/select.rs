//! Who gets an event: from a target to the places of sockets in the hub's table.

use super::hub::{Socket, State};
use super::partial::Client;
use super::recovery::sending::Sending;
use super::{Sid, Target, To};

impl State {
    pub(super) fn socket(&self, sid: Sid) -> Option<&Socket> {
        self.sockets.get(*self.by_sid.get(&sid)? as usize)
    }

    pub(super) fn socket_mut(&mut self, sid: Sid) -> Option<&mut Socket> {
        self.sockets.get_mut(*self.by_sid.get(&sid)? as usize)
    }

    /// A client's socket in a namespace.
    pub(super) fn socket_of(&self, client: &Client, nsp: &str) -> Option<Sid> {
        let mut sockets = client
            .sockets
            .iter()
            .map(|key| &self.sockets[*key as usize]);
        sockets.find(|socket| &*socket.nsp == nsp).map(|s| s.sid)
    }

    /// The socket whose sid this text is: each socket is alone in the room of its sid.
    pub(super) fn key_of_text(&self, nsp: &str, text: &str) -> Option<u32> {
        self.key_of(nsp, Sid::parse(text)?)
    }

    fn key_of(&self, nsp: &str, sid: Sid) -> Option<u32> {
        let key = *self.by_sid.get(&sid)?;
        (&*self.sockets[key as usize].nsp == nsp).then_some(key)
    }

    /// The members of a room or the socket of a sid, appended.
    fn collect(&self, nsp: &str, room: &str, keys: &mut Vec<u32>) {
        match self.rooms.members(nsp, room) {
            Some(members) => keys.extend_from_slice(members),
            None => keys.extend(self.key_of_text(nsp, room)),
        }
    }

    /// The sockets of a target, each once.
    pub(super) fn select(&self, target: &Target<'_>) -> Vec<u32> {
        let mut keys = Vec::new();
        match target.to {
            To::All => keys.extend(
                self.sockets
                    .iter()
                    .filter(|(_, s)| &*s.nsp == target.nsp)
                    .map(|(k, _)| k as u32),
            ),
            To::Room(room) => self.collect(target.nsp, room, &mut keys),
            To::Sid(sid) => keys.extend(self.key_of(target.nsp, sid)),
            To::Rooms(rooms) => {
                rooms
                    .iter()
                    .for_each(|room| self.collect(target.nsp, room, &mut keys));
                keys.sort_unstable();
                keys.dedup();
            }
        }
        let mut except = Vec::new();
        target
            .except
            .iter()
            .for_each(|room| self.collect(target.nsp, room, &mut except));
        except.sort_unstable();
        keys.retain(|key| except.binary_search(key).is_err());
        keys
    }

    /// Sends an event to all of them. Returns how many it was for.
    pub(super) fn send_all(
        &self,
        keys: impl Iterator<Item = u32>,
        sending: &mut Sending<'_>,
    ) -> usize {
        keys.filter(|key| {
            let socket = &self.sockets[*key as usize];
            sending.send_to(&socket.session, socket.place.as_deref())
        })
        .count()
    }
}
