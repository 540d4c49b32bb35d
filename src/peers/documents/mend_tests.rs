//! What Yjs would throw at: it never reaches others as it is.

use super::depth::depth;
use super::fuzz;
use super::history::{History, Rejected, check};
use super::reader::put_number;
use super::tests::{read, session};
use super::vector::Vector;

/// What is left of an update of client 7, of which this many clocks are known.
fn rest(block: &[u8], known: u8) -> Vec<u8> {
    let known = Vector::of(&[1, 1, 7, 0, 0, known, 0]);
    let update = [&[1, 1, 7, 0], block, &[0]].concat();
    let rest = known.rest_of(&update).unwrap();
    check(&rest).unwrap();
    rest
}

#[test]
fn of_a_block_that_is_known_in_part_the_rest_is_left_behind_what_is_known() {
    let behind = |known: u8, kind: u8, contents: &[u8]| {
        [&[1, 1, 7, known, 0x80 | kind, 7, known - 1], contents, &[0]].concat()
    };
    let text = ["a😀b", "\u{fffd}b", "b"];
    let block = [&[4, 1, 1, b't', 6], text[0].as_bytes()].concat();
    assert_eq!(
        rest(&block, 2),
        behind(2, 4, &[&[4], text[1].as_bytes()].concat())
    );
    assert_eq!(rest(&block, 3), behind(3, 4, &[1, b'b']));
    assert_eq!(rest(&block, 4), [0, 0]);
    let values = [8, 1, 1, b't', 3, 126, 119, 1, b'x', 120];
    assert_eq!(rest(&values, 1), behind(1, 8, &[2, 119, 1, b'x', 120]));
    assert_eq!(rest(&values, 2), behind(2, 8, &[1, 120]));
    // An entry of a map, with and without its left neighbour; behind a right one.
    assert_eq!(
        rest(&[0x28, 1, 1, b'm', 1, b'k', 2, 126, 120], 1),
        behind(1, 0x28, &[1, 120])
    );
    assert_eq!(rest(&[0x81, 9, 3, 5], 2), behind(2, 1, &[3]));
    assert_eq!(rest(&[0xc1, 9, 3, 8, 2, 5], 2), behind(2, 0x41, &[8, 2, 3]));
    assert_eq!(rest(&[0x41, 8, 2, 5], 4), behind(4, 0x41, &[8, 2, 1]));
    assert_eq!(rest(&[0, 5], 2), [1, 1, 7, 2, 0, 3, 0]);
    // What comes after it stays as it is.
    let two = [2, 7, 0, 0, 5, 0x84, 7, 4, 1, b'x', 0];
    let known = Vector::of(&[1, 1, 7, 0, 0, 2, 0]);
    let left = known.rest_of(&[&[1], &two[..]].concat()).unwrap();
    assert_eq!(left, [1, 2, 7, 2, 0, 3, 0x84, 7, 4, 1, b'x', 0]);
}

fn append(history: &mut History, update: &[u8]) -> Vec<u8> {
    fuzz::append(history, update).unwrap()
}

/// A map within the map "m", whose name is a letter, by client 26.
fn map(name: u8) -> [u8; 12] {
    [1, 1, 26, 0, 0x27, 1, 1, b'm', 1, name, 1, 0]
}

#[test]
fn an_entry_of_a_map_with_several_values_shows_the_last_alone() {
    let several: [(&[u8], &[u8]); 3] = [
        // Text and values that say where they are.
        (
            &[0x24, 0, 26, 0, 1, b'k', 3, b'a', b'b', b'c'],
            &[1, 26, 1, 1, 2],
        ),
        (&[0x28, 0, 26, 0, 1, b'k', 2, 126, 120], &[1, 26, 1, 1, 1]),
        // Behind another one.
        (
            &[
                0x28, 0, 26, 0, 1, b'k', 1, 126, 0x84, 26, 1, 3, b'a', b'b', b'c',
            ],
            &[1, 26, 1, 2, 2],
        ),
    ];
    for (blocks, deleted) in several {
        let count = 1 + u8::from(blocks.len() > 10);
        let update = [&[1, count, 26, 1], blocks].concat();
        let mut history = History::default();
        append(&mut history, &map(b'n'));
        let mended = append(&mut history, &[&update[..], &[0]].concat());
        assert_eq!(mended, [&update[..], deleted].concat());
        assert!(history.state().ends_with(deleted));
        // What says so itself stays as it is, and so does a state that was stored without.
        let mut history = History::default();
        append(&mut history, &map(b'n'));
        history.append_mended(&mended).unwrap();
        let mut history = History::default();
        history.append(&map(b'n')).unwrap();
        history.append(&[&update[..], &[0]].concat()).unwrap();
        assert!(history.state().ends_with(deleted));
    }
    // The one that it stands behind comes later: with that it comes once more, and before its first values are seen.
    let mut history = History::default();
    let late = [1, 27, 0, 0x84, 26, 1, 3, b'a', b'b', b'c'];
    append(&mut history, &[&[1], &late[..], &[0]].concat());
    append(&mut history, &map(b'n'));
    let first = [1, 26, 1, 0x28, 0, 26, 0, 1, b'k', 1, 126];
    let mended = append(&mut history, &[&[1], &first[..], &[0]].concat());
    assert_eq!(
        mended,
        [&[2], &late[..], &first[..], &[1, 27, 1, 0, 2]].concat()
    );
    // In lists and texts several are what they are.
    let list = [1, 1, 28, 0, 8, 1, 1, b'a', 3, 126, 126, 126, 0];
    assert_eq!(append(&mut history, &list), list);
}

#[test]
fn what_is_known_and_what_editors_write_is_taken_as_it_is_or_its_rest() {
    for seed in 1..10 {
        let (updates, text) = session(seed, 200);
        let mut history = History::default();
        for (index, update) in updates.iter().enumerate() {
            history.append_mended(update).unwrap();
            if index % 10 == 0 {
                assert_eq!(append(&mut history, update)[0], 0);
            }
        }
        assert_eq!(read(&[history.state()]), text);
    }
}

#[test]
fn what_waits_for_an_update_comes_with_it_behind_what_is_there_then() {
    let mut history = History::default();
    // Says that it stands in "t", from the third letter on.
    append(
        &mut history,
        &[1, 1, 7, 2, 4, 1, 1, b't', 4, b'a', b'b', b'c', b'd', 0],
    );
    // Nothing is there up to the fourth.
    let news = append(&mut history, &[1, 1, 7, 0, 0, 4, 0]);
    assert_eq!(news, [1, 2, 7, 0, 0, 4, 0x84, 7, 3, 2, b'c', b'd', 0]);
    assert!(history.vector().missing().is_none());
    // What it brings itself over another gap is kept.
    let mut history = History::default();
    append(&mut history, &[1, 1, 7, 2, 0, 2, 0]);
    let both = [2, 1, 8, 5, 0, 1, 1, 7, 0, 1, 1, 1, b't', 2, 0];
    let news = append(&mut history, &both);
    assert_eq!(news, [2, 1, 8, 5, 0, 1, 2, 7, 0, 1, 1, 1, b't', 2, 0, 2, 0]);
    assert_eq!(history.vector().missing().map(|id| id.client), Some(8));
}

/// Lists in lists in the list "a", by client 7: behind so many that are there, or of another one, so many.
fn nested(of: Option<(u64, u64)>, more: u64) -> Vec<u8> {
    let mut update = vec![1];
    put_number(&mut update, more);
    put_number(&mut update, of.map_or(7, |(client, _)| client + 1));
    update.push(0);
    for clock in 0..more {
        let (client, parent) = match (clock.checked_sub(1), of) {
            (Some(before), _) => (of.map_or(7, |(client, _)| client + 1), before),
            (None, Some(of)) => of,
            (None, None) => {
                update.extend([7, 1, 1, b'a', 0]);
                continue;
            }
        };
        update.extend([7, 0]);
        put_number(&mut update, client);
        put_number(&mut update, parent);
        update.push(0);
    }
    update.push(0);
    update
}

#[test]
fn things_stand_in_each_other_as_deep_as_yjs_deletes_them() {
    let mut history = History::default();
    assert_eq!(depth(&nested(None, 300)), 299);
    append(&mut history, &nested(None, 300));
    let more = nested(Some((7, 299)), 300);
    assert_eq!(history.append_mended(&more), Err(Rejected::Malformed));
    assert_eq!(
        History::default().append_first(&nested(None, 600)),
        Err(Rejected::Malformed)
    );
    append(&mut history, &nested(Some((7, 299)), 200));
    // Behind something that stands there.
    let text = [1, 1, 30, 0, 4, 0, 8, 199, 1, 1, b'x', 0];
    append(&mut history, &text);
    let behind = |client: u8, of: [u8; 2]| [1, 1, client, 0, 0x87, of[0], of[1], 0, 0];
    append(&mut history, &behind(31, [30, 0]));
    let within = [1, 2, 32, 0, 7, 0, 31, 0, 0, 7, 0, 32, 0, 0, 0];
    assert_eq!(history.append_mended(&within), Err(Rejected::Malformed));
    // Many beside each other are not deep, and what waits in a circle is none.
    for client in 40..100 {
        let beside = [
            &[1, 20, client, 0][..],
            &[7, 1, 1, b'a', 0].repeat(20),
            &[0],
        ]
        .concat();
        append(&mut history, &beside);
    }
    let circle = [2, 1, 2, 0, 7, 0, 1, 0, 0, 1, 1, 0, 7, 0, 2, 0, 0, 0];
    append(&mut history, &circle);
    assert!(history.append_mended(&within).is_err());
}
