//! What a process leaves for the next one, as it was and with every kind of damage.

use super::kept::Settings;
use crate::engine::{Closed, Engine, Step};
use crate::ground::random_input::{Random, rounds};
use crate::ground::tasks::{Executor, block_on};
use crate::socket::{Args, Event, Handler, Hub, Memo, Reason, Sid, Target, To};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

struct Open;

impl Handler for Open {
    fn connect(&self, _: Sid, _: &str, _: &Args<'_>) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
    fn connected(&self, _: Sid, _: &str, _: Args<'_>) -> Step {
        None
    }
    fn event(&self, _: Event<'_>) -> Step {
        None
    }
    fn disconnected(&self, _: Sid, _: &str, _: Reason) {}
    fn remember(&self, sid: Sid) -> Option<Memo> {
        Some(Rc::new(sid))
    }
    fn write_memo(&self, _: &Memo) -> Vec<u8> {
        b"memo".to_vec()
    }
    fn read_memo(&self, bytes: &[u8]) -> Option<Memo> {
        (bytes == b"memo").then(|| Rc::new(()) as Memo)
    }
}

fn hub(executor: Executor, bytes: usize) -> Rc<Hub> {
    let hub = Hub::new();
    hub.set_handler(Rc::new(Open));
    let settings = Settings {
        browsers: true,
        time: Duration::from_secs(100),
        bytes,
        silence: Duration::ZERO,
    };
    hub.recover(executor, settings);
    hub
}

/// A server with sockets in rooms, and events for them, that has just ended.
fn ended(executor: Executor, sockets: usize) -> Rc<Hub> {
    let hub = hub(executor, 1 << 20);
    let engine = Engine::new(executor, super::model_tests::engine_settings(), hub.clone());
    for number in 0..sockets {
        assert!(engine.open_alone().hear("40").is_none());
        let sid = hub.sids()[number];
        for room in ["a", "b", "é"] {
            hub.enter(sid, room);
        }
        hub.emit(&Target::room("a"), "e", &Args::from_json("1"));
        hub.leave(sid, "b");
        let binary = Args::from_json(r#"{"_placeholder":true,"num":0}"#);
        let binary = binary.with_attachments(vec![vec![0xff; 9]]);
        let all = Target {
            nsp: "/",
            to: To::Rooms(&["a", "é"]),
            except: &["b"],
        };
        hub.emit(&all, "e", &binary);
        let everybody = Target { to: To::All, ..all };
        hub.emit(&everybody, "e", &Args::from_json("\"text\""));
    }
    hub.goes_on();
    engine.shutdown();
    hub
}

#[test]
fn what_is_taken_over_can_be_handed_over_again_as_it_was() {
    block_on(|executor| async move {
        let left = ended(executor, 7).hand_over().unwrap();
        let next = hub(executor, 1 << 20);
        assert_eq!(next.take_over(&left, Duration::ZERO), Some(7));
        let again = next.hand_over().unwrap();
        // Times may have gone on.
        assert_eq!(again.len(), left.len());
        let differ = again.iter().zip(&left).filter(|(a, b)| a != b).count();
        assert!(differ < again.len() / 8, "{differ} of {}", again.len());
        assert!(next.is_awaited("a") && !next.is_awaited("b"));
        // Numbers go on.
        assert_eq!(next.last_number() & 0xff, u64::from(left[0]));
    });
}

#[test]
fn what_is_too_old_or_too_much_is_let_go() {
    block_on(|executor| async move {
        let left = ended(executor, 20).hand_over().unwrap();
        let late = hub(executor, 1 << 20);
        assert_eq!(late.take_over(&left, Duration::from_secs(101)), Some(0));
        assert!(late.hand_over().is_none() && !late.is_awaited("a"));
        let small = hub(executor, 16 << 10);
        let fit = small.take_over(&left, Duration::ZERO).unwrap();
        assert!(fit > 0 && fit < 20, "{fit}");
    });
}

#[test]
fn ten_thousand_sessions_that_are_cut_stay_within_the_bound_and_are_forgotten() {
    const BYTES: usize = 1 << 20;
    block_on(|executor| async move {
        let hub = hub(executor, BYTES);
        let engine = Engine::new(executor, super::model_tests::engine_settings(), hub.clone());
        let kept = hub.recovery.get().unwrap();
        let bytes = || kept.away.borrow().bytes() + kept.ring.borrow().bytes();
        for number in 0..10_000 {
            let session = engine.open_alone();
            assert!(session.hear("40").is_none());
            let sid = hub.sids()[0];
            for room in [
                "all",
                &format!("user:{number}"),
                &format!("chat:{}", number / 7),
            ] {
                hub.enter(sid, room);
            }
            hub.emit(&Target::room("all"), "e", &Args::from_json("[1]"));
            session.close(Closed::Transport);
            assert!(bytes() <= BYTES, "{}", bytes());
        }
        let away = kept.away.borrow().in_order().count();
        assert!(
            away > 500 && hub.is_awaited("user:9999") && !hub.is_awaited("user:0"),
            "{away}"
        );
        assert!(!hub.sweep(super::kept::now() + Duration::from_secs(101)));
        assert_eq!(bytes(), 0);
        assert!(hub.awaited().is_empty());
        engine.shutdown();
    });
}

#[test]
fn whatever_is_in_it_nothing_breaks() {
    block_on(|executor| async move {
        let left = ended(executor, 3).hand_over().unwrap();
        for length in 0..left.len() {
            let torn = hub(executor, 1 << 20);
            assert_eq!(torn.take_over(&left[..length], Duration::ZERO), None);
            assert!(torn.hand_over().is_none());
        }
        let mut random = Random::new();
        let mut read = 0;
        for _ in 0..rounds() {
            let mut bytes = left.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.below(256) as u8,
                    2 => drop(bytes.drain(at..(at + random.below(9)).min(bytes.len()))),
                    _ => bytes.splice(at..at, [0xff; 8]).for_each(drop),
                }
            }
            let next = hub(executor, 1 << 20);
            if next.take_over(&bytes, Duration::ZERO).is_some() {
                read += 1;
                // What reads as something can be used as it is.
                next.emit(&Target::room("a"), "e", &Args::from_json("1"));
                drop(next.hand_over());
            }
        }
        assert!(read > 0);
    });
}
