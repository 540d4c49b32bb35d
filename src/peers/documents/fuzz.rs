//! What random bytes must not upset: updates, and a document made of them.

use super::bury::{bury, part_of_ended};
use super::history::{History, Rejected, check};
use super::vector::{Vector, deletes_more};
use yrs::Update;
use yrs::updates::decoder::Decode;

/// Stores what others would get of an update, which is returned.
pub fn append(history: &mut History, update: &[u8]) -> Result<Vec<u8>, Rejected> {
    match history.append_mended(update) {
        Err(Rejected::Unmended) => {}
        taken => return taken.map(|_| update.to_vec()),
    }
    let news = history.news_of(update).expect("what is checked has news");
    let again = history.append_news(&news);
    assert_ne!(again, Err(Rejected::Unmended), "{update:?}");
    again.map(|_| news)
}

/// What is taken yrs reads, too, and what is made of all that can be taken again. Each update begins with its length, two bytes.
pub fn updates(mut data: &[u8]) {
    let mut history = History::default();
    while let [low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (update, after) = rest.split_at(length);
        data = after;
        if let Ok(mended) = append(&mut history, update) {
            Update::decode_v1(&mended).expect("what is checked is read");
        }
    }
    let state = history.state().to_vec();
    check(&state).expect("our state is taken");
    let left = bury(&state).expect("our state can be buried");
    check(&left).expect("what is left is taken");
    part_of_ended(&state, &Vector::ends_of(&left)).expect("our state is looked at");
    assert_eq!(deletes_more(&state, &state), Ok(false));
}

/// A state vector that is read is written as it came, but for order and what is there twice.
pub fn vector(data: &[u8]) {
    let Ok(vector) = Vector::decode(data) else {
        return;
    };
    let again = Vector::decode(&vector.encode()).expect("our vector is read");
    assert!(again.is_within(&vector) && vector.is_within(&again));
}
