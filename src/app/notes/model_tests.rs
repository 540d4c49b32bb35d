//! Two writers of one note, in every interleaving of what can happen, against an upstream that records who saved what.

use super::change::CONTENT;
use super::change::{Change, Fields};
use super::note::{LONGEST, Next, Note, QUIET, RETRY};
use crate::directory::{Access, Identity, User};
use crate::ground::random_input::Random;
use crate::socket::Sid;
use crate::token::Claims;
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
    /// The upstream saves what is in flight; the answer is still to come.
    Land,
    Saved,
    /// No answer came, whether or not it was saved.
    Failed,
    /// Somebody outside writes the content. It is told at once, or when what is in flight has ended.
    Outside,
    /// A session closes the note.
    Leave(usize),
    /// The server goes down, or somebody is about to change the note from outside.
    Flush,
}

const STEPS: [Step; 11] = [
    Step::Change(0, "content"),
    Step::Change(1, "files"),
    Step::Change(2, "content"),
    Step::Change(2, "files"),
    Step::Start,
    Step::Land,
    Step::Saved,
    Step::Failed,
    Step::Outside,
    Step::Leave(0),
    Step::Flush,
];

/// User and token of each session.
const OUTSIDE: (&str, &str, &str) = ("outside", "", "content");
const SESSIONS: [(&str, &str); 3] = [("a", "a1"), ("a", "a2"), ("b", "b1")];

struct World {
    note: Note,
    now: Instant,
    sids: [Sid; 3],
    in_flight: Option<Rc<Change>>,
    /// What the upstream holds, its clock, and when it saved what is in flight.
    stored: BTreeMap<String, u32>,
    clock: u64,
    landed: Option<u64>,
    /// What was written outside and is not told yet: the value and when.
    untold: Vec<(u32, u64)>,
    /// The number of the next value.
    number: u32,
    /// The user, the token and the field of each value.
    made: Vec<(&'static str, &'static str, &'static str)>,
    /// The last value of each author and field, and the last of each field.
    last_of_author: BTreeMap<(&'static str, &'static str), u32>,
    last: BTreeMap<&'static str, u32>,
    /// Saves that failed: only then may somebody be overtaken.
    failures: usize,
    /// What the upstream has seen: user, token, field, value.
    saved: Vec<(String, String, String, u32)>,
    /// Everything was made before that was made when something written outside was told last.
    told: u32,
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
            stored: BTreeMap::new(),
            clock: 0,
            landed: None,
            untold: Vec::new(),
            number: 0,
            made: Vec::new(),
            last_of_author: BTreeMap::new(),
            last: BTreeMap::new(),
            failures: 0,
            saved: Vec::new(),
            told: 0,
        }
    }

    fn step(&mut self, step: Step) {
        self.now += Duration::from_millis(100);
        match step {
            Step::Change(session, field) => self.change(session, field),
            Step::Start => self.start(),
            Step::Land => self.land(),
            Step::Outside => self.write_outside(),
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
        self.made.push((user, token, field));
        self.last_of_author.insert((token, field), value);
        self.last.insert(field, value);
        let fields = Fields([(field.to_owned(), value.to_string().into())].into());
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

    fn write_outside(&mut self) {
        let value = self.number;
        self.number += 1;
        self.clock += 1;
        self.made.push(OUTSIDE);
        self.stored.insert(CONTENT.to_owned(), value);
        self.untold.push((value, self.clock));
        if self.in_flight.is_none() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        for (value, at) in std::mem::take(&mut self.untold) {
            let fields = Fields([(CONTENT.to_owned(), value.to_string().into())].into());
            self.note.written_outside(fields, Some(at), self.now);
            self.last.insert(CONTENT, value);
            self.told = self.number;
        }
    }

    fn land(&mut self) {
        if let (Some(change), None) = (&self.in_flight, self.landed) {
            self.clock += 1;
            self.landed = Some(self.clock);
            for (field, value) in &change.fields.0 {
                self.stored.insert(field.clone(), value.parse().unwrap());
            }
        }
    }

    fn end(&mut self, saved: bool) {
        if saved {
            self.land();
        }
        let landed = self.landed.take();
        let Some(change) = self.in_flight.take() else {
            return;
        };
        if !saved {
            drop(change);
            self.failures += 1;
            self.note.failed(self.now);
            return self.tell();
        }
        let Identity { user, token, .. } = &*change.author;
        for (field, value) in &change.fields.0 {
            let value = value.parse().unwrap();
            let saved = (user.id.clone(), token.to_string(), field.clone(), value);
            self.saved.push(saved);
        }
        drop(change);
        self.note.saved(landed);
        self.tell();
    }

    /// The upstream works, and everything is saved.
    fn finish(&mut self) {
        self.end(true);
        for _ in 0..6 {
            self.start();
            self.end(true);
        }
        assert!(!self.note.is_dirty(), "three tokens have two fields each");
        for sid in self.sids {
            self.note.close(sid);
        }
        assert!(self.note.is_unused() && self.note.bytes() == 0);
    }

    fn check(&self) {
        let mut seen = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (user, token, field, value) in &self.saved {
            let (author, its_token, of) = self.made[*value as usize];
            if (author, its_token, of) == OUTSIDE {
                // Once more, since a save went over it.
                assert_eq!(field, CONTENT);
                continue;
            }
            assert_eq!((&**user, &**field), (author, of), "saved as another's");
            assert_eq!(token, its_token, "saved with another token");
            let before = seen.insert((its_token, of), *value);
            assert!(before.is_none_or(|before| before < *value), "oldest first");
            let before = stored.insert(of, *value);
            assert!(
                before.is_none_or(|before| before < *value),
                "never older over newer"
            );
        }
        let last = self
            .last
            .iter()
            .map(|(field, value)| ((*field).to_owned(), *value));
        let last: BTreeMap<String, u32> = last.collect();
        assert_eq!(
            self.stored, last,
            "whoever was last is saved last, and stays"
        );
        for ((token, field), last) in &self.last_of_author {
            let newer =
                |(_, _, of, value): &&(String, String, String, u32)| of == field && value > last;
            let overtaken = self.failures > 0 && self.saved.iter().any(|saved| newer(&saved));
            let overtaken = overtaken || *field == CONTENT && *last < self.told;
            let saved = seen.get(&(*token, *field)) == Some(last);
            assert!(saved || overtaken, "each author's last is saved");
        }
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
        as_of: Default::default(),
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
fn a_failed_save_holds_up_its_author_alone_and_never_goes_over_a_newer_one() {
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
    let others = world.now - Duration::from_millis(100) + QUIET;
    assert_eq!(
        world.note.due(),
        Some(others),
        "the other author does not wait"
    );
    world.finish();
    let saved: Vec<_> = world
        .saved
        .iter()
        .map(|(user, _, _, v)| (&**user, *v))
        .collect();
    assert_eq!(saved, [("b", 3), ("a", 2)]);
}

#[test]
fn all_that_waits_is_tried_once_when_it_is_to_be_saved_at_once() {
    let mut world = World::new();
    for step in [
        Step::Change(0, "content"),
        Step::Change(2, "files"),
        Step::Flush,
        Step::Start,
        Step::Failed,
        Step::Start,
    ] {
        assert!(!world.note.has_tried_all() || !world.note.is_dirty());
        world.step(step);
    }
    world.step(Step::Saved);
    assert!(world.note.has_tried_all() && world.note.is_dirty());
    assert_eq!(
        world.saved.len(),
        1,
        "one author's failure is not another's"
    );
}

#[test]
fn what_one_change_may_bring_is_bounded() {
    let many: String = (0..257).map(|n| format!("\"{n}\":0,")).collect();
    let json = format!("{{{}}}", many.trim_end_matches(','));
    assert!(serde_json::from_str::<Fields>(&json).is_err());
    let fields: Fields = serde_json::from_str(r#"{"a\"":[1, 2],"b":"ü"}"#).unwrap();
    assert_eq!(fields.json(), r#"{"a\"":[1, 2],"b":"ü"}"#);
    let change = Change::new(identity("u", "t"), Sid::random(), fields, Instant::now());
    assert!(change.bytes() > 2 * 100, "names and places count");
}

#[test]
fn typing_on_and_on_is_saved_after_half_a_minute_and_rest_after_half_a_second() {
    let mut world = World::new();
    let start = world.now;
    for _ in 0..400 {
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
