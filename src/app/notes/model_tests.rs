//! Two writers of one note, in every interleaving of what can happen, against an upstream that records who saved what.

use super::change::{Change, Fields};
use super::note::{LONGEST, Next, Note, QUIET, RETRY};
use crate::directory::{Access, Identity, User};
use crate::ground::random_input::Random;
use crate::socket::Sid;
use crate::token::Claims;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What can happen next. Authors are "a" and "b"; "a" has two sessions, each with a token of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// A session changes a field.
    Change(usize, &'static str),
    /// Time passes until the oldest change is due, and its save starts.
    Start,
    Saved,
    Failed,
    /// A session closes the note.
    Leave(usize),
    /// The server goes down, or somebody is about to change the note from outside.
    Flush,
}

const STEPS: [Step; 9] = [
    Step::Change(0, "content"),
    Step::Change(1, "files"),
    Step::Change(2, "content"),
    Step::Change(2, "files"),
    Step::Start,
    Step::Saved,
    Step::Failed,
    Step::Leave(0),
    Step::Flush,
];

/// User and token of each session.
const SESSIONS: [(&str, &str); 3] = [("a", "a1"), ("a", "a2"), ("b", "b1")];

struct World {
    note: Note,
    now: Instant,
    sids: [Sid; 3],
    in_flight: Option<Rc<Change>>,
    /// The number of the next value.
    number: u32,
    /// Who made each value, and of which field.
    made: Vec<(&'static str, &'static str)>,
    /// The last value of each author and field, and the last of each field.
    last_of_author: BTreeMap<(&'static str, &'static str), u32>,
    last: BTreeMap<&'static str, u32>,
    /// What the upstream has seen: user, token, field, value.
    saved: Vec<(String, String, String, u32)>,
}

impl World {
    fn new() -> Self {
        let (mut note, now) = (Note::new(true), Instant::now());
        let sids = [Sid::random(), Sid::random(), Sid::random()];
        for sid in sids {
            note.open(sid, Access::Write, now);
        }
        Self {
            note,
            now,
            sids,
            in_flight: None,
            number: 0,
            made: Vec::new(),
            last_of_author: BTreeMap::new(),
            last: BTreeMap::new(),
            saved: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        self.now += Duration::from_millis(100);
        match step {
            Step::Change(session, field) => self.change(session, field),
            Step::Start => self.start(),
            Step::Saved => self.end(true),
            Step::Failed => self.end(false),
            Step::Leave(session) => self.note.close(self.sids[session]),
            Step::Flush => self.note.flush(),
        }
        assert!(self.note.is_dirty() || self.in_flight.is_none());
    }

    fn change(&mut self, session: usize, field: &'static str) {
        let (user, token) = SESSIONS[session];
        let value = self.number;
        self.number += 1;
        self.made.push((user, field));
        self.last_of_author.insert((user, field), value);
        self.last.insert(field, value);
        let raw = RawValue::from_string(value.to_string()).unwrap();
        let fields = Fields::from([(field.to_owned(), raw)]);
        let author = identity(user, token);
        let change = Change::new(author, self.sids[session], fields, self.now);
        self.note.put(change);
    }

    fn start(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if let Some(due) = self.note.due() {
            assert!(due <= self.now + LONGEST.max(RETRY), "due in time");
            self.now = self.now.max(due);
        }
        match self.note.next(self.now) {
            Next::Save(change) => self.in_flight = Some(change),
            Next::Wait(_) => panic!("it was due"),
            Next::Nothing => assert!(!self.note.is_dirty()),
        }
    }

    fn end(&mut self, saved: bool) {
        let Some(change) = self.in_flight.take() else {
            return;
        };
        if !saved {
            drop(change);
            return self.note.failed(self.now);
        }
        let Identity { user, token, .. } = &*change.author;
        for (field, value) in &change.fields {
            let value = value.get().parse().unwrap();
            let saved = (user.id.clone(), token.to_string(), field.clone(), value);
            self.saved.push(saved);
        }
        drop(change);
        self.note.done();
    }

    /// The upstream works, and everything is saved.
    fn finish(&mut self) {
        self.end(true);
        for _ in 0..4 {
            self.start();
            self.end(true);
        }
        assert!(!self.note.is_dirty(), "two authors have two fields each");
        for sid in self.sids {
            self.note.close(sid);
        }
        assert!(self.note.is_unused() && self.note.bytes() == 0);
    }

    fn check(&self) {
        let mut seen = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (user, token, field, value) in &self.saved {
            let (author, of) = self.made[*value as usize];
            assert_eq!((&**user, &**field), (author, of), "saved as another's");
            assert!(token.starts_with(author), "saved with another's token");
            let before = seen.insert((author, of), *value);
            assert!(before.is_none_or(|before| before < *value), "oldest first");
            stored.insert(of, *value);
        }
        assert_eq!(seen, self.last_of_author, "each author's last is saved");
        assert_eq!(stored, self.last, "whoever was last is saved last");
    }
}

fn identity(user: &str, token: &str) -> Rc<Identity> {
    let user = User {
        id: user.into(),
        name: user.into(),
        role: "user".into(),
        record: "{}".into(),
    };
    let (token, claims) = (token.into(), Claims::default());
    Rc::new(Identity {
        user,
        token,
        claims,
    })
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    steps.iter().for_each(|step| world.step(*step));
    world.finish();
    world.check();
}

#[test]
fn every_interleaving_of_two_writers_saves_each_as_itself() {
    let mut steps = vec![STEPS[0]; 5];
    let all = STEPS.len().pow(5);
    for number in 0..all {
        let mut rest = number;
        for step in &mut steps {
            *step = STEPS[rest % STEPS.len()];
            rest /= STEPS.len();
        }
        run(&steps);
    }
}

#[test]
fn long_interleavings_of_two_writers_save_each_as_itself() {
    let mut random = Random::new();
    for _ in 0..crate::ground::random_input::rounds() {
        let length = 6 + random.below(40);
        let steps: Vec<Step> = (0..length)
            .map(|_| STEPS[random.below(STEPS.len())])
            .collect();
        run(&steps);
    }
}

#[test]
fn a_failed_save_is_tried_again_and_takes_nothing_of_what_came_meanwhile() {
    let mut world = World::new();
    for step in [
        Step::Change(0, "content"),
        Step::Change(0, "files"),
        Step::Start,
        Step::Change(0, "files"),
        Step::Change(2, "content"),
        Step::Failed,
    ] {
        world.step(step);
    }
    assert_eq!(world.note.due(), Some(world.now + RETRY));
    world.finish();
    let saved: Vec<_> = world
        .saved
        .iter()
        .map(|(user, _, _, v)| (&**user, *v))
        .collect();
    assert_eq!(saved, [("a", 0), ("a", 2), ("b", 3)]);
}

#[test]
fn typing_on_and_on_is_saved_after_five_seconds_and_rest_after_half_a_second() {
    let mut world = World::new();
    let start = world.now;
    for _ in 0..60 {
        world.step(Step::Change(0, "content"));
    }
    let first = start + Duration::from_millis(100);
    assert_eq!(world.note.due(), Some(first + LONGEST));
    let mut world = World::new();
    world.step(Step::Change(0, "content"));
    assert_eq!(world.note.due(), Some(world.now + QUIET));
    world.step(Step::Flush);
    assert!(world.note.due() <= Some(world.now));
}

#[test]
fn another_instance_with_a_newer_state_takes_the_content_alone() {
    let mut world = World::new();
    world.step(Step::Change(0, "content"));
    world.step(Step::Change(2, "files"));
    world.note.superseded();
    world.step(Step::Start);
    world.step(Step::Saved);
    let saved: Vec<_> = world
        .saved
        .iter()
        .map(|(u, _, f, _)| (&**u, &**f))
        .collect();
    assert_eq!(saved, [("b", "files")]);
    assert!(!world.note.is_dirty());
}

#[test]
fn an_answer_about_access_holds_until_something_changes() {
    use super::note::ACCESS_HOLDS;
    let (mut note, now, sid) = (Note::new(true), Instant::now(), Sid::random());
    note.open(sid, Access::Write, now);
    assert_eq!(note.access(sid, now), Some(Access::Write));
    assert_eq!(note.access(sid, now + ACCESS_HOLDS), None);
    assert_eq!(note.emptying(), crate::directory::Emptying::Allow);
    note.changed_outside();
    assert_eq!(note.access(sid, now), None);
    assert_eq!(note.emptying(), crate::directory::Emptying::Refuse);
    note.close(sid);
    assert!(note.is_unused());
}
