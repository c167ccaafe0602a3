//! Answers that change.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Answer, Value,
    rows::{Info, Row},
    v1::{self, Column, subscribe_response::Push},
};

/// A push of a subscription: the whole answer as it is now, and what is different from before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Update {
    /// The answer as it is now.
    pub answer: Answer,
    /// Rows that are new or in the place of another; all of them in the first update.
    pub changed: Vec<Row>,
    /// The keys of rows that are gone, by the columns of `keys`.
    pub removed: Vec<Row>,
    /// The columns whose values tell rows apart: the groups. None: all together do.
    pub keys: Vec<String>,
}

/// The state of a subscription, push by push.
#[derive(Debug, Default)]
pub(crate) struct Live {
    columns: Arc<[Column]>,
    info: Info,
    /// Of rows, by their columns' numbers; empty where all columns together tell rows apart, and equal rows are counted.
    keys: Vec<usize>,
    key_columns: Arc<[Column]>,
    order: Vec<String>,
    rows: HashMap<String, Vec<Row>>,
}

impl Live {
    /// What a push says; `None` for a heartbeat.
    pub(crate) fn push(&mut self, push: v1::SubscribeResponse) -> Option<Update> {
        let (upserted, removed) = match push.push? {
            Push::State(state) => {
                let result = state.result.unwrap_or_default();
                *self = Self {
                    columns: result.columns.into(),
                    info: Info::of_wire(result.info.unwrap_or_default()),
                    keys: state.key_columns.into_iter().map(|key| key as usize).collect(),
                    ..Self::default()
                };
                self.key_columns = match self.keys.is_empty() {
                    true => Arc::clone(&self.columns),
                    false => self.keys.iter().filter_map(|key| self.columns.get(*key).cloned()).collect(),
                };
                (result.rows, Vec::new())
            }
            Push::Change(change) => {
                self.info = Info::of_wire(change.info.unwrap_or_default());
                (change.upserted, change.removed)
            }
            Push::Heartbeat(_) => return None,
        };
        let removed: Vec<_> = removed.into_iter().map(|row| Row::of_wire(&self.key_columns, row.values)).collect();
        removed.iter().for_each(|row| self.remove(&text(row.values())));
        let changed: Vec<_> = upserted.into_iter().map(|row| Row::of_wire(&self.columns, row.values)).collect();
        changed.iter().for_each(|row| self.put(row.clone()));
        let rows = self.order.iter().filter_map(|key| self.rows.get(key)).flatten().cloned().collect();
        let keys = match self.keys.is_empty() {
            true => Vec::new(),
            false => self.key_columns.iter().map(|column| column.name.clone()).collect(),
        };
        let answer = Answer { columns: Arc::clone(&self.columns), rows, info: self.info.clone() };
        Some(Update { answer, changed, removed, keys })
    }

    fn put(&mut self, row: Row) {
        let key = match self.keys.is_empty() {
            true => text(row.values()),
            false => text(self.keys.iter().filter_map(|key| row.values().get(*key))),
        };
        if !self.rows.contains_key(&key) {
            self.order.push(key.clone());
        }
        let same = self.rows.entry(key).or_default();
        if !self.keys.is_empty() {
            same.clear();
        }
        same.push(row);
    }

    fn remove(&mut self, key: &str) {
        let Some(same) = self.rows.get_mut(key) else { return };
        same.pop();
        if same.is_empty() {
            self.rows.remove(key);
            self.order.retain(|other| other != key);
        }
    }
}

/// Tells rows apart by their values.
fn text<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(|value| format!("{value:?} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[i64]]) -> Vec<v1::Row> {
        let value = |n: &i64| v1::Value { kind: Some(v1::value::Kind::Integer(*n)) };
        rows.iter().map(|row| v1::Row { values: row.iter().map(value).collect() }).collect()
    }

    fn state(key_columns: Vec<u32>, of: &[&[i64]]) -> v1::SubscribeResponse {
        let columns = ["a", "b"].map(|name| Column { name: name.to_owned(), ..Column::default() }).to_vec();
        let result = Some(v1::Result { columns, rows: rows(of), info: None });
        v1::SubscribeResponse { push: Some(Push::State(v1::LiveState { result, key_columns })) }
    }

    fn change(upserted: &[&[i64]], removed: &[&[i64]]) -> v1::SubscribeResponse {
        let change = v1::LiveChange { upserted: rows(upserted), removed: rows(removed), info: None };
        v1::SubscribeResponse { push: Some(Push::Change(change)) }
    }

    fn now(update: &Update) -> Vec<(i64, i64)> {
        update.answer.rows().unwrap()
    }

    #[test]
    fn rows_with_keys_take_the_place_of_one_another() {
        let mut live = Live::default();
        assert_eq!(now(&live.push(state(vec![0], &[&[1, 10], &[2, 20]])).unwrap()), [(1, 10), (2, 20)]);
        let update = live.push(change(&[&[2, 21], &[3, 30]], &[&[1]])).unwrap();
        assert_eq!(now(&update), [(2, 21), (3, 30)]);
        assert_eq!((update.keys.as_slice(), update.removed[0].get("a")), (&["a".to_owned()][..], Some(&1.into())));
    }

    #[test]
    fn equal_rows_without_keys_are_counted() {
        let mut live = Live::default();
        live.push(state(vec![], &[&[1, 1], &[1, 1], &[2, 2]]));
        assert_eq!(now(&live.push(change(&[], &[&[1, 1]])).unwrap()), [(1, 1), (2, 2)]);
        let heartbeat = v1::SubscribeResponse { push: Some(Push::Heartbeat(v1::Heartbeat::default())) };
        assert!(live.push(heartbeat).is_none());
    }
}
