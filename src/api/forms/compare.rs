//! Whether one value says all that an earlier or shorter one said.

use super::json::{Fields, is_null, items, text};

/// Deepest value that is compared member by member; deeper ones must be the same text.
const DEPTH_MAX: usize = 16;

/// True if `whole` says all that `part` says: each member, entry by entry, and maybe more members.
pub(super) fn covers(whole: &str, part: &str) -> bool {
    compare(whole, part, Scalars::Same, DEPTH_MAX)
}

/// True if the final object has a member for each that the object had at its begin, at any depth,
/// unless that said nothing. Values may have changed: the last one holds.
pub(super) fn grows(begun: &Fields<'_>, whole: &Fields<'_>) -> bool {
    members(whole, begun, Scalars::Any, DEPTH_MAX)
}

/// True for null and for what is empty.
pub(super) fn is_nothing(value: &str) -> bool {
    match value.as_bytes().first() {
        Some(b'[') => items(value).is_some_and(|items| items.is_empty()),
        Some(b'{') => Fields::read(value).is_some_and(|fields| fields.is_empty()),
        _ => is_null(value) || value == "\"\"",
    }
}

/// Whether values without members must be the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalars {
    Same,
    Any,
}

fn compare(whole: &str, part: &str, scalars: Scalars, depth: usize) -> bool {
    if whole == part {
        return true;
    }
    if scalars == Scalars::Any && is_nothing(part) {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    match (whole.as_bytes().first(), part.as_bytes().first()) {
        (Some(b'['), Some(b'[')) => {
            let (Some(whole), Some(part)) = (items(whole), items(part)) else {
                return false;
            };
            let fits = match scalars {
                Scalars::Same => whole.len() == part.len(),
                Scalars::Any => whole.len() >= part.len(),
            };
            let mut pairs = whole.iter().zip(&part);
            fits && pairs.all(|(whole, part)| compare(whole, part, scalars, depth))
        }
        (Some(b'{'), Some(b'{')) => match (Fields::read(whole), Fields::read(part)) {
            (Some(whole), Some(part)) => members(&whole, &part, scalars, depth),
            _ => false,
        },
        (_, Some(b'[' | b'{')) => false,
        _ if scalars == Scalars::Any => true,
        (Some(b'"'), Some(b'"')) => text(whole).is_some() && text(whole) == text(part),
        _ => false,
    }
}

fn members(whole: &Fields<'_>, part: &Fields<'_>, scalars: Scalars, depth: usize) -> bool {
    part.iter().all(|(key, value)| match whole.get(key) {
        Some(whole) => compare(whole, value, scalars, depth),
        None => is_nothing(value),
    })
}
