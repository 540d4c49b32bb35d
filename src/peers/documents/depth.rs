//! How deep things stand in each other: Yjs calls itself for each of them when the outermost is deleted, and throws in each editor, and
//! at who comes later, if they are thousands.

use super::update::{Block, Id, walk};

/// More than editors nest, and fewer than Yjs throws at, in any browser.
pub const MAX_DEPTH: usize = 500;

/// Where some blocks stand.
struct Place {
    first: Id,
    end: u64,
    /// What they stand in, or else beside.
    by: Option<Id>,
    within: bool,
    /// Once it is known; while it is looked for, too, since blocks that wait may go round in a circle.
    depth: Option<usize>,
}

/// How many things the deepest one of a checked update is in.
pub fn depth(update: &[u8]) -> usize {
    let mut places = Vec::new();
    // It is checked.
    let _ = walk(update, || {}, |block| places.push(Place::of(&block)));
    places.sort_unstable_by_key(|place| (place.first.client, place.first.clock));
    let mut deepest = 0;
    for at in 0..places.len() {
        let mut way = Vec::new();
        let mut next = Some(at);
        let mut depth = 0;
        while let Some(place) = next.and_then(|at| places.get_mut(at)) {
            if let Some(known) = place.depth {
                depth = known;
                break;
            }
            place.depth = Some(0);
            let by = place.by;
            way.extend(next);
            next = by.and_then(|id| find(&places, id));
        }
        for place in way.into_iter().rev() {
            if let Some(place) = places.get_mut(place) {
                depth += usize::from(place.within);
                place.depth = Some(depth);
            }
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn find(places: &[Place], id: Id) -> Option<usize> {
    let is_before =
        |place: &Place| (place.first.client, place.first.clock) <= (id.client, id.clock);
    let at = places.partition_point(is_before).checked_sub(1)?;
    let place = places.get(at)?;
    (place.first.client == id.client && id.clock < place.end).then_some(at)
}

impl Place {
    fn of(block: &Block<'_>) -> Self {
        Self {
            first: block.id,
            end: block.id.clock + block.len,
            by: block.parent.or(block.origin).or(block.right_origin),
            within: block.parent.is_some(),
            depth: None,
        }
    }
}
