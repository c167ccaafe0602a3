//! Answers, and rows as the caller's own types.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{Error as Unread, MapDeserializer},
};
use serde::forward_to_deserialize_any;

use crate::{
    Error, Value,
    v1::{self, Column, Route},
};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) columns: Arc<[Column]>,
    pub(crate) rows: Vec<Row>,
    pub(crate) info: Info,
}

impl Answer {
    /// Its columns, in the order asked for.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What is known of it beside its rows.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Its rows as they are.
    #[must_use]
    pub fn values(&self) -> &[Row] {
        &self.rows
    }

    /// Its rows as the caller's type: see [`Row::to`].
    ///
    /// # Errors
    /// [`Error::Row`] says which column is not what it was to be read as.
    pub fn rows<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.rows.iter().map(Row::to).collect()
    }

    pub(crate) fn of_wire(result: v1::Result) -> Self {
        let columns: Arc<[Column]> = result.columns.into();
        let rows = result.rows.into_iter().map(|row| Row::of_wire(&columns, row.values)).collect();
        Self { columns, rows, info: Info::of_wire(result.info.unwrap_or_default()) }
    }
}

/// What is known of an answer beside its rows.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Info {
    /// Every event acknowledged before this instant is in the answer.
    pub complete_until: Option<SystemTime>,
    /// The position reached: see [`Ask::after_token`](crate::Ask::after_token).
    pub token: String,
    /// Where it came from.
    pub route: Route,
    /// The time from the request's arrival to the last row.
    pub elapsed: Duration,
    /// How much of it was waiting for its turn.
    pub queued: Duration,
    /// Rows that were read from tables.
    pub read_rows: u64,
    /// The same in bytes.
    pub read_bytes: u64,
    /// Whether rows were left out because the row cap was reached.
    pub truncated: bool,
    /// Whether it is an earlier answer: see [`Ask::max_staleness`](crate::Ask::max_staleness).
    pub stale: bool,
}

impl Info {
    pub(crate) fn of_wire(info: v1::ResultInfo) -> Self {
        let route = info.route();
        let (watermark, cost) = (info.watermark.unwrap_or_default(), info.cost.unwrap_or_default());
        Self {
            complete_until: watermark.complete_until.and_then(|at| at.try_into().ok()),
            token: watermark.position_token,
            route,
            elapsed: Duration::from_micros(cost.elapsed_us),
            queued: Duration::from_micros(cost.queued_us),
            read_rows: cost.read_rows,
            read_bytes: cost.read_bytes,
            truncated: info.truncated,
            stale: info.stale,
        }
    }
}

/// A row of an answer: one value for each column.
#[derive(Debug, Clone)]
pub struct Row {
    columns: Arc<[Column]>,
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn of_wire(columns: &Arc<[Column]>, values: Vec<v1::Value>) -> Self {
        Self { columns: Arc::clone(columns), values: values.into_iter().map(Value::of_wire).collect() }
    }

    /// The column's value; `None` if there is no such column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.named().find_map(|(name, value)| (name == column).then_some(value))
    }

    /// Its values, in the columns' order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// As the caller's type: a struct or map takes columns by name, a tuple by place. An [`Option`] takes null. An instant is text as in RFC 3339,
    /// as [jiff](https://docs.rs/jiff) and chrono read it, or a [`SystemTime`].
    ///
    /// # Errors
    /// [`Error::Row`] says which column is not what it was to be read as.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(self).map_err(|unread| {
            let columns: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::Row(format!("{unread} (the columns are {})", columns.join(", ")))
        })
    }

    fn named(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(|column| column.name.as_str()).zip(&self.values)
    }
}

impl<'de> Deserializer<'de> for &Row {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_map(ByName { left: self.columns.iter().zip(&self.values), value: None })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_seq(InOrder(self.columns.iter().zip(&self.values)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Unread> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct map struct enum
        identifier ignored_any
    }
}

type Left<'r> = std::iter::Zip<std::slice::Iter<'r, Column>, std::slice::Iter<'r, Value>>;

struct ByName<'r> {
    left: Left<'r>,
    value: Option<One<'r>>,
}

impl<'de> MapAccess<'de> for ByName<'_> {
    type Error = Unread;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unread> {
        let Some((column, value)) = self.left.next() else { return Ok(None) };
        self.value = Some(One { column, value });
        seed.deserialize(column.name.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unread> {
        match self.value.take() {
            Some(one) => one.read(seed),
            None => Err(serde::de::Error::custom("a value was asked for before its column")),
        }
    }
}

struct InOrder<'r>(Left<'r>);

impl<'de> SeqAccess<'de> for InOrder<'_> {
    type Error = Unread;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unread> {
        self.0.next().map(|(column, value)| One { column, value }.read(seed)).transpose()
    }
}

/// One value, and where it stands.
#[derive(Clone, Copy)]
struct One<'r> {
    column: &'r Column,
    value: &'r Value,
}

impl One<'_> {
    fn read<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Unread> {
        let named = |unread| serde::de::Error::custom(format!("the column {}: {unread}", self.column.name));
        seed.deserialize(self).map_err(named)
    }
}

impl<'de> Deserializer<'de> for One<'_> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Number(number) => visitor.visit_f64(*number),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::String(text) => visitor.visit_str(text),
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::Time(time) => visitor.visit_string(prost_types::Timestamp::from(*time).to_string()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        if *self.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        match self.value {
            Value::String(text) => text.as_str().into_deserializer().deserialize_enum(name, variants, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    /// [`SystemTime`] is a struct to serde.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        let Value::Time(time) = self.value else { return self.deserialize_any(visitor) };
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if name == "SystemTime" => {
                let fields =
                    [("secs_since_epoch", since.as_secs()), ("nanos_since_epoch", u64::from(since.subsec_nanos()))];
                visitor.visit_map(MapDeserializer::new(fields.into_iter()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn row(values: &[(&str, Value)]) -> Row {
        let columns = values.iter().map(|(name, _)| Column { name: (*name).to_owned(), ..Column::default() }).collect();
        Row { columns, values: values.iter().map(|(_, value)| value.clone()).collect() }
    }

    fn seven() -> Row {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        row(&[
            ("name", "DE".into()),
            ("plan", "Pro".into()),
            ("count", 7.into()),
            ("sum", 1.5.into()),
            ("none", Value::Null),
            ("at", at.into()),
            ("same", at.into()),
        ])
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Plan {
        Pro,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Seven {
        #[serde(rename = "name")]
        country: String,
        plan: Plan,
        count: u8,
        sum: f32,
        none: Option<f64>,
        at: SystemTime,
        same: String,
    }

    #[test]
    fn a_row_is_read_as_a_struct_a_tuple_or_a_map() {
        let read: Seven = seven().to().unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let same = "1970-01-01T00:00:01.500Z".to_owned();
        let wanted = Seven { country: "DE".into(), plan: Plan::Pro, count: 7, sum: 1.5, none: None, at, same };
        assert_eq!(read, wanted);
        let tuple: (String, f64) = row(&[("a", "x".into()), ("b", 7.into())]).to().unwrap();
        assert_eq!(tuple, ("x".to_owned(), 7.0));
        let map: serde_json::Value = row(&[("a", true.into()), ("b", Value::Null)]).to().unwrap();
        assert_eq!(map, serde_json::json!({"a": true, "b": null}));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_column() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Wanted {
            count: u8,
        }
        for (row, wanted) in [
            (row(&[("count", 300.into())]), "the column count"),
            (row(&[("count", Value::Null)]), "the column count"),
            (row(&[("events", 3.into())]), "missing field `count` (the columns are events)"),
        ] {
            let error = row.to::<Wanted>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
