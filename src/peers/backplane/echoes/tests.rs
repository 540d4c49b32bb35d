//! Echoes beside changes from outside, in every order.

use super::*;
use crate::ground::random_input::{Random, rounds};

const NOTE: &str = "n";

fn save(id: u64) -> Save {
    ("here".into(), id)
}

/// An event about the note with this `updated_at` and text.
fn event(at: u64, text: &str) -> Args<'static> {
    let data = format!(r#"{{"content":{{"md":"{text}"}}}}"#);
    Args::from_json(format!(
        r#"{{"id":"n","title":"T","updated_at":{at},"data":{data}}}"#
    ))
}

fn passes(echoes: &Echoes, args: Args<'static>, now: Instant) -> bool {
    echoes.judge(NOTE, args, now) != Verdict::Taken
}

#[test]
fn an_echo_is_taken_before_its_answer_and_after_it() {
    let (echoes, now) = (Echoes::default(), Instant::now());
    echoes.begin(NOTE, save(1), now);
    assert!(!passes(&echoes, event(7, "ours"), now));
    let free = echoes.end(NOTE, &save(1), End::At(7), now);
    assert!(free.is_empty() && echoes.next_expiry().is_none());
    echoes.begin(NOTE, save(2), now);
    assert!(echoes.end(NOTE, &save(2), End::At(8), now).is_empty());
    assert!(!passes(&echoes, event(8, "ours"), now));
    assert!(
        passes(&echoes, event(8, "ours"), now),
        "one save has one echo"
    );
    assert!(echoes.notes.borrow().is_empty());
}

#[test]
fn what_comes_from_outside_passes_in_its_order_once_the_answer_is_there() {
    let (echoes, now) = (Echoes::default(), Instant::now());
    echoes.begin(NOTE, save(1), now);
    for (at, text) in [(6, "a"), (7, "ours"), (8, "b")] {
        assert!(!passes(&echoes, event(at, text), now));
    }
    let free = echoes.end(NOTE, &save(1), End::At(7), now);
    assert_eq!(free, [event(6, "a"), event(8, "b")]);
    assert_eq!(echoes.held_bytes.get(), 0);
    assert!(passes(&echoes, event(9, "c"), now));
    assert_eq!(
        echoes.judge("another", event(1, "x"), now),
        Verdict::Pass(event(1, "x"))
    );
}

#[test]
fn a_save_without_an_answer_is_known_by_its_fields() {
    let (echoes, now) = (Echoes::default(), Instant::now());
    echoes.begin(NOTE, save(1), now);
    let end = End::of(Echo::Unknown, r#"{ "content": {"md":"\u006furs"} }"#);
    assert!(echoes.end(NOTE, &save(1), end, now).is_empty());
    let late = now + Duration::from_secs(60);
    assert!(passes(&echoes, event(7, "theirs"), late));
    assert!(!passes(&echoes, event(8, "ours"), late));
    assert!(passes(&echoes, event(9, "ours"), late));
    assert_eq!(End::of(Echo::Unknown, "[1]"), End::Silent);
}

#[test]
fn whoever_dies_in_a_save_holds_nothing_for_ever() {
    let (echoes, now) = (Echoes::default(), Instant::now());
    echoes.begin(NOTE, ("another".into(), 1), now);
    assert!(!passes(&echoes, event(7, "theirs"), now));
    let next = echoes.next_expiry().unwrap();
    assert!(echoes.expired(now).is_empty());
    assert_eq!(echoes.expired(next), [(NOTE.into(), event(7, "theirs"))]);
    assert!(echoes.notes.borrow().is_empty());
}

#[test]
fn what_is_held_is_bounded() {
    let (echoes, now) = (Echoes::default(), Instant::now());
    echoes.begin(NOTE, save(1), now);
    for n in 0..MOST as u64 {
        assert!(!passes(&echoes, event(n, "x"), now));
    }
    assert!(passes(&echoes, event(99, "x"), now));
    echoes.begin("large", save(2), now);
    let large = Args::from_json(format!("\"{}\"", "x".repeat(MOST_BYTES)));
    assert_ne!(echoes.judge("large", large, now), Verdict::Taken);
    for id in 0..MOST as u64 * 3 {
        echoes.begin(NOTE, save(id), now);
        echoes.end(NOTE, &save(id), End::At(1000 + id), now);
        assert!(echoes.notes.borrow()[NOTE].in_flight.len() <= MOST);
        assert!(echoes.notes.borrow()[NOTE].expected.len() <= MOST);
    }
}

/// Saves of two instances and changes from outside, in any order that can be; the answer may come before the echo.
#[test]
fn no_echo_passes_and_nothing_else_is_lost() {
    let mut random = Random::new();
    let now = Instant::now();
    for _ in 0..rounds() {
        let echoes = Echoes::default();
        let (mut clock, mut open, mut late): (u64, Vec<Save>, Vec<u64>) =
            (0, Vec::new(), Vec::new());
        let (mut told, mut heard) = (Vec::new(), Vec::new());
        let emit = |at, heard: &mut Vec<Args<'static>>| {
            if let Verdict::Pass(args) = echoes.judge(NOTE, event(at, "x"), now) {
                heard.push(args);
            }
        };
        for id in 0..60 {
            clock += 1;
            match random.below(4) {
                0 => {
                    open.push((["here", "there"][random.below(2)].into(), id));
                    echoes.begin(NOTE, open[open.len() - 1].clone(), now);
                }
                1 => {
                    told.push(event(clock, "x"));
                    emit(clock, &mut heard);
                }
                2 if !open.is_empty() => {
                    let save = open.swap_remove(random.below(open.len()));
                    let before = random.below(2) == 0;
                    if before {
                        emit(clock, &mut heard);
                    } else {
                        late.push(clock);
                    }
                    heard.extend(echoes.end(NOTE, &save, End::At(clock), now));
                }
                _ if !late.is_empty() => emit(late.remove(0), &mut heard),
                _ => {}
            }
        }
        for save in open {
            heard.extend(echoes.end(NOTE, &save, End::Silent, now));
        }
        late.into_iter().for_each(|at| emit(at, &mut heard));
        assert_eq!(heard, told);
    }
}
