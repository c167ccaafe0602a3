//! The names of the places where property values lie: the columns of the events table, and the registry's own words.

use model::{NUMBER_SLOTS, Slot, TEXT_SLOTS};

/// The column of the events table that holds the slot's values: `n0`, `s3`, or for the maps `n_more`, `s_more`.
pub fn name(slot: Slot) -> String {
    match slot {
        Slot::Number(i) => format!("n{i}"),
        Slot::Text(i) => format!("s{i}"),
        Slot::NumberMap => "n_more".to_owned(),
        Slot::TextMap => "s_more".to_owned(),
    }
}

/// The slot whose column has this name, if there is one.
pub(crate) fn parse(name: &str) -> Option<Slot> {
    match name {
        "n_more" => return Some(Slot::NumberMap),
        "s_more" => return Some(Slot::TextMap),
        _ => {}
    }
    let (first, number) = (name.get(..1)?, name.get(1..)?.parse::<u16>().ok()?);
    match first {
        "n" if number < NUMBER_SLOTS => Some(Slot::Number(number)),
        "s" if number < TEXT_SLOTS => Some(Slot::Text(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_name() {
        let numbers = (0..NUMBER_SLOTS).map(Slot::Number);
        for slot in numbers.chain((0..TEXT_SLOTS).map(Slot::Text)).chain([Slot::NumberMap, Slot::TextMap]) {
            assert_eq!(parse(&name(slot)), Some(slot));
        }
        for foreign in ["", "n", "n16", "s16", "x1", "n-1", "é", "user"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
