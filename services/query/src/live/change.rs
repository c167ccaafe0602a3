//! How one answer differs from another.

use std::collections::HashMap;

use api::v1;
use prost::Message;

/// What is to be taken away from the rows before, and then put in, to have those after.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) upserted: Vec<v1::Row>,
    /// Keys.
    pub(super) removed: Vec<v1::Row>,
}

impl Change {
    /// Rows are told apart by the values of these columns, or by all if there are none. None if the answer after is no larger than
    /// this would be, or if keys are not unique, as they should be.
    pub(super) fn between(before: &[v1::Row], after: &[v1::Row], key_columns: &[u32]) -> Option<Self> {
        let mut left: HashMap<Vec<u8>, Vec<&v1::Row>> = HashMap::with_capacity(before.len());
        for row in before {
            left.entry(key(row, key_columns).encode_to_vec()).or_default().push(row);
        }
        let is_unique = |rows: usize, keys: usize| key_columns.is_empty() || rows == keys;
        if !is_unique(before.len(), left.len()) {
            return None;
        }
        let mut keys = HashMap::with_capacity(after.len());
        let mut upserted = Vec::new();
        for row in after {
            let key = key(row, key_columns).encode_to_vec();
            let known = left.get_mut(&key).and_then(Vec::pop);
            if known != Some(row) {
                upserted.push(row.clone());
            }
            keys.insert(key, ());
        }
        if !is_unique(after.len(), keys.len()) {
            return None;
        }
        let removed: Vec<_> = left.into_values().flatten().map(|row| key(row, key_columns)).collect();
        (upserted.len() + removed.len() < after.len()).then_some(Self { upserted, removed })
    }
}

fn key(row: &v1::Row, columns: &[u32]) -> v1::Row {
    if columns.is_empty() {
        return row.clone();
    }
    let value = |column: &u32| row.values.get(*column as usize).cloned().unwrap_or_default();
    v1::Row { values: columns.iter().map(value).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use v1::value::Kind;

    use super::*;

    fn rows(rows: &[&[i64]]) -> Vec<v1::Row> {
        let value = |n: &i64| v1::Value { kind: Some(Kind::Integer(*n)) };
        rows.iter().map(|row| v1::Row { values: row.iter().map(value).collect() }).collect()
    }

    #[test]
    fn rows_with_a_key_are_put_in_the_place_of_those_before() {
        let before = rows(&[&[1, 10], &[2, 20], &[3, 30], &[4, 40]]);
        let after = rows(&[&[4, 40], &[2, 21], &[1, 10], &[5, 50]]);
        let change = Change::between(&before, &after, &[0]).unwrap();
        assert_eq!(change, Change { upserted: rows(&[&[2, 21], &[5, 50]]), removed: rows(&[&[3]]) });
        let same = Change::between(&before, &before, &[0]).unwrap();
        assert_eq!(same, Change { upserted: vec![], removed: vec![] });
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        let before = rows(&[&[1], &[1], &[1], &[2], &[3]]);
        let after = rows(&[&[1], &[1], &[3], &[3], &[4], &[4]]);
        let mut change = Change::between(&before, &rows(&[&[1], &[1], &[2], &[3], &[3]]), &[]).unwrap();
        assert_eq!(change, Change { upserted: rows(&[&[3]]), removed: rows(&[&[1]]) });
        change = Change::between(&before, &[after.clone(), rows(&[&[2]])].concat(), &[]).unwrap();
        assert_eq!(change.upserted, rows(&[&[3], &[4], &[4]]));
        assert_eq!(change.removed, rows(&[&[1]]));
    }

    #[test]
    fn what_is_no_smaller_than_the_answer_is_left() {
        assert_eq!(Change::between(&rows(&[&[7]]), &rows(&[&[8]]), &[]), None);
        assert_eq!(Change::between(&rows(&[&[1, 1], &[1, 2]]), &rows(&[&[1, 1], &[2, 2], &[3, 3]]), &[0]), None);
    }
}
