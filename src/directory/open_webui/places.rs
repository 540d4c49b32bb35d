//! Who may send a request now: so many at a time, of one user only a few, and users in turn.
//!
//! A place is taken at once while there is one. Those who wait do so in a queue a user; a place that becomes free goes to the
//! user who has waited for a turn longest and has fewer than [`OF_USER`].

use smol::channel::{Sender, bounded};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Requests at a time, and those of one user.
pub const PLACES: usize = 8;
const OF_USER: usize = 2;

/// The places, and who waits for one.
#[derive(Default)]
pub struct Places(RefCell<State>);

#[derive(Default)]
struct State {
    busy: usize,
    /// Those who have a place or wait for one.
    users: HashMap<Rc<str>, User>,
    /// Those who wait, in the order of their turns.
    turns: VecDeque<Rc<str>>,
}

#[derive(Default)]
struct User {
    busy: usize,
    waiting: VecDeque<Sender<Place>>,
}

/// A place, until it is dropped.
pub struct Place {
    places: Rc<Places>,
    user: Rc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.0.borrow_mut();
        state.busy -= 1;
        if let Some(user) = state.users.get_mut(&self.user) {
            user.busy -= 1;
        }
        drop(state);
        self.places.give();
        let mut state = self.places.0.borrow_mut();
        let rests = |user: &User| user.busy == 0 && user.waiting.is_empty();
        if state.users.get(&self.user).is_some_and(rests) {
            state.users.remove(&self.user);
        }
    }
}

impl Places {
    /// Waits for a place. Who stops waiting is passed over.
    pub async fn take(self: &Rc<Self>, user: &str) -> Option<Place> {
        let (sender, place) = bounded(1);
        self.0.borrow_mut().queue(user, sender);
        self.give();
        place.recv().await.ok()
    }

    /// Gives free places to those whose turn it is.
    fn give(self: &Rc<Self>) {
        loop {
            let next = self.0.borrow_mut().next();
            let Some((sender, user)) = next else { return };
            let place = Place {
                places: self.clone(),
                user,
            };
            // It is taken: the other end was there a moment ago, and nothing else is in the channel.
            let _ = sender.try_send(place);
        }
    }
}

impl State {
    /// Lets a user wait for a place more.
    fn queue(&mut self, user: &str, sender: Sender<Place>) {
        let name = match self.users.get_key_value(user) {
            Some((name, _)) => name.clone(),
            None => user.into(),
        };
        let waiting = &mut self.users.entry(name.clone()).or_default().waiting;
        // Those who gave up leave no trace.
        waiting.retain(|sender| !sender.is_closed());
        let first = waiting.is_empty();
        waiting.push_back(sender);
        if first {
            self.turns.retain(|user| *user != name);
            self.turns.push_back(name);
        }
    }

    /// Who gets a place now; it is counted as taken.
    fn next(&mut self) -> Option<(Sender<Place>, Rc<str>)> {
        if self.busy >= PLACES {
            return None;
        }
        let mut at = 0;
        while let Some(name) = self.turns.get(at).cloned() {
            let user = self.users.get_mut(&name)?;
            user.waiting.retain(|sender| !sender.is_closed());
            if user.waiting.is_empty() {
                self.turns.remove(at);
                if user.busy == 0 {
                    self.users.remove(&name);
                }
                continue;
            }
            if user.busy >= OF_USER {
                at += 1;
                continue;
            }
            let sender = user.waiting.pop_front()?;
            user.busy += 1;
            self.busy += 1;
            self.turns.remove(at);
            if !user.waiting.is_empty() {
                self.turns.push_back(name.clone());
            }
            return Some((sender, name));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::future::Future;
    use std::pin::Pin;

    type Taking = Pin<Box<dyn Future<Output = Option<Place>>>>;

    fn take(places: &Rc<Places>, user: &'static str) -> Taking {
        let places = places.clone();
        Box::pin(async move { places.take(user).await })
    }

    fn now(taking: &mut Taking) -> Option<Place> {
        block_on(poll_once(taking)).flatten()
    }

    #[test]
    fn a_user_has_two_places_and_the_others_get_the_rest() {
        let places = Rc::new(Places::default());
        let mut ann: Vec<Taking> = (0..10).map(|_| take(&places, "ann")).collect();
        let mut held: Vec<Place> = ann.iter_mut().filter_map(now).collect();
        assert_eq!(held.len(), OF_USER);
        let others = ["bob", "cid", "dan", "eve"];
        let mut rest: Vec<Taking> = others.map(|user| take(&places, user)).into();
        held.extend(rest.iter_mut().filter_map(now));
        assert_eq!(held.len(), 6);
        drop(held);
        // Ann's next two, and no more.
        let held: Vec<Place> = ann[2..].iter_mut().filter_map(now).collect();
        assert_eq!(held.len(), OF_USER);
    }

    #[test]
    fn users_have_a_place_in_turn() {
        let places = Rc::new(Places::default());
        let users = ["a", "b", "c", "d"];
        let mut taking: Vec<Taking> = users
            .iter()
            .flat_map(|user| [take(&places, user), take(&places, user)])
            .collect();
        let mut held: Vec<Place> = taking.iter_mut().filter_map(now).collect();
        assert_eq!(held.len(), PLACES);
        let mut many: Vec<Taking> = (0..3).map(|_| take(&places, "e")).collect();
        assert!(many.iter_mut().all(|taking| now(taking).is_none()));
        let mut one = take(&places, "f");
        assert!(now(&mut one).is_none());
        held.pop();
        let first: Vec<Place> = many.iter_mut().filter_map(now).collect();
        assert_eq!(first.len(), 1);
        held.pop();
        assert!(now(&mut one).is_some(), "f's turn came before e's second");
    }

    #[test]
    fn who_gives_up_is_passed_over() {
        let places = Rc::new(Places::default());
        let mut held: Vec<Taking> = ["a", "b", "c", "d"]
            .iter()
            .flat_map(|user| [take(&places, user), take(&places, user)])
            .collect();
        let held: Vec<Place> = held.iter_mut().filter_map(now).collect();
        for _ in 0..1000 {
            assert!(now(&mut take(&places, "e")).is_none());
        }
        let mut patient = take(&places, "e");
        assert!(now(&mut patient).is_none());
        assert!(places.0.borrow().users["e"].waiting.len() <= 2);
        drop(held);
        let place = now(&mut patient);
        assert!(place.is_some());
        drop(place);
        let state = places.0.borrow();
        assert!(state.users.is_empty() && state.turns.is_empty() && state.busy == 0);
    }
}
