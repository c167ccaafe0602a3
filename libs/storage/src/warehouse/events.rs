use model::{DAY_MS, NUMBER_SLOTS, PropertyKind, Slot, TEXT_SLOTS, record::ValueRef};

use super::{
    columns::{Entries, Fixed, Numbers, Texts, Words},
    native::{WireColumn, write_block},
    schema,
};
use crate::place;

/// Why a row or a value can't be taken: a defect of the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// The event belongs to another day than the columns.
    #[error("an event at {timestamp_ms} ms is not of the day that starts at {day_ms} ms")]
    OtherDay {
        /// When the event happened.
        timestamp_ms: i64,
        /// The day of the columns.
        day_ms: i64,
    },
    /// The registry puts the property where its value can't lie.
    #[error("a {kind} value doesn't belong in {slot:?}")]
    WrongSlot {
        /// What the value is.
        kind: &'static str,
        /// Where it was to lie.
        slot: Slot,
    },
}

/// What every event has.
#[derive(Debug, Clone, Copy)]
pub struct EventRow<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The tenant's app.
    pub app: &'a str,
    /// What happened.
    pub event_type: &'a str,
    /// When it happened, UTC ms.
    pub timestamp_ms: i64,
    /// Who did it; empty when nobody is known.
    pub user_id: &'a str,
    /// The client's id of it.
    pub event_id: &'a str,
    /// The user's country when the event came.
    pub country: Option<&'a str>,
    /// The user's plan when the event came.
    pub plan: Option<&'a str>,
    /// When ingest received it, UTC ms.
    pub received_at_ms: i64,
    /// The life of the log that the offset belongs to.
    pub incarnation: u64,
    /// The log partition that it came from.
    pub partition: u32,
    /// Its place in that partition.
    pub offset: u64,
}

/// Events of one UTC day on their way to the warehouse, column by column: one block, one insert, one atomic part.
#[derive(Debug)]
pub struct EventColumns {
    day_ms: i64,
    rows: usize,
    tenant: Words,
    app: Words,
    event: Words,
    ts: Fixed<8>,
    user: Texts,
    event_id: Texts,
    country: Words,
    plan: Words,
    received_at: Fixed<8>,
    numbers: Vec<Numbers>,
    texts: Vec<Words>,
    n_more: Entries<Fixed<8>>,
    s_more: Entries<Texts>,
    incarnation: Fixed<8>,
    partition: Fixed<4>,
    offset: Fixed<8>,
    map_key: String,
}

impl EventColumns {
    /// Empty columns for the UTC day that `timestamp_ms` lies in.
    pub fn for_day_of(timestamp_ms: i64) -> Self {
        Self {
            day_ms: timestamp_ms.div_euclid(DAY_MS).saturating_mul(DAY_MS),
            rows: 0,
            tenant: Words::required(),
            app: Words::required(),
            event: Words::required(),
            ts: Fixed::default(),
            user: Texts::default(),
            event_id: Texts::default(),
            country: Words::nullable(),
            plan: Words::nullable(),
            received_at: Fixed::default(),
            numbers: (0..NUMBER_SLOTS).map(|_| Numbers::default()).collect(),
            texts: (0..TEXT_SLOTS).map(|_| Words::nullable()).collect(),
            n_more: Entries::default(),
            s_more: Entries::default(),
            incarnation: Fixed::default(),
            partition: Fixed::default(),
            offset: Fixed::default(),
            map_key: String::new(),
        }
    }

    /// The start of the day, UTC ms.
    pub fn day_ms(&self) -> i64 {
        self.day_ms
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds an event. Its properties follow by [`EventColumns::set`]. `OtherDay` if it isn't of this day; nothing is added then.
    pub fn push(&mut self, row: &EventRow<'_>) -> Result<(), ColumnsError> {
        let timestamp_ms = row.timestamp_ms;
        if timestamp_ms.div_euclid(DAY_MS) != self.day_ms.div_euclid(DAY_MS) {
            return Err(ColumnsError::OtherDay { timestamp_ms, day_ms: self.day_ms });
        }
        self.tenant.push(row.tenant);
        self.app.push(row.app);
        self.event.push(row.event_type);
        self.ts.push(timestamp_ms.to_le_bytes());
        self.user.push(row.user_id);
        self.event_id.push(row.event_id);
        if let Some(country) = row.country {
            self.country.set(self.rows, country);
        }
        if let Some(plan) = row.plan {
            self.plan.set(self.rows, plan);
        }
        self.received_at.push(row.received_at_ms.to_le_bytes());
        self.incarnation.push(row.incarnation.to_le_bytes());
        self.partition.push(row.partition.to_le_bytes());
        self.offset.push(row.offset.to_le_bytes());
        self.rows += 1;
        Ok(())
    }

    /// Gives the latest event a property. In a column of its own the last of several values counts; each name comes
    /// once for each kind by the rules of ingest. `WrongSlot` if the value can't lie there; nothing is set then.
    ///
    /// # Panics
    /// Before the first [`EventColumns::push`].
    pub fn set(&mut self, slot: Slot, name: &str, kind: PropertyKind, value: ValueRef<'_>) -> Result<(), ColumnsError> {
        let row = self.rows.checked_sub(1).expect("a property belongs to an event");
        match (slot, value) {
            (Slot::Number(i), ValueRef::Number(x)) if i < NUMBER_SLOTS => self.numbers[usize::from(i)].set(row, x),
            (Slot::Text(i), ValueRef::Text(text)) if i < TEXT_SLOTS => self.texts[usize::from(i)].set(row, text),
            (Slot::NumberMap, ValueRef::Number(x)) => {
                let key = map_key(name, kind, &mut self.map_key);
                self.n_more.add(row, key, |values| values.push(x.to_le_bytes()));
            }
            (Slot::TextMap, ValueRef::Text(text)) => self.s_more.add(row, name, |values| values.push(text)),
            _ => return Err(ColumnsError::WrongSlot { kind: kind.name(), slot }),
        }
        Ok(())
    }

    /// The columns as one block in the Native format.
    pub fn to_native(&self) -> Vec<u8> {
        use schema::{NULLABLE_NUMBER, NULLABLE_WORD, NUMBER_MAP, TEXT, TEXT_MAP, TIME, U32, U64, WORD};
        let slot_names: Vec<String> =
            (0..NUMBER_SLOTS).map(Slot::Number).chain((0..TEXT_SLOTS).map(Slot::Text)).map(place::name).collect();
        let (number_names, text_names) = slot_names.split_at(usize::from(NUMBER_SLOTS));
        let mut columns: Vec<(&str, &str, &dyn WireColumn)> = vec![
            ("tenant", WORD, &self.tenant),
            ("app", WORD, &self.app),
            ("event", WORD, &self.event),
            ("ts", TIME, &self.ts),
            ("user", TEXT, &self.user),
            ("event_id", TEXT, &self.event_id),
            ("country", NULLABLE_WORD, &self.country),
            ("plan", NULLABLE_WORD, &self.plan),
            ("received_at", TIME, &self.received_at),
            ("n_more", NUMBER_MAP, &self.n_more),
            ("s_more", TEXT_MAP, &self.s_more),
            ("_incarnation", U64, &self.incarnation),
            ("_partition", U32, &self.partition),
            ("_offset", U64, &self.offset),
        ];
        for (name, column) in number_names.iter().zip(&self.numbers) {
            columns.push((name, NULLABLE_NUMBER, column));
        }
        for (name, column) in text_names.iter().zip(&self.texts) {
            columns.push((name, NULLABLE_WORD, column));
        }
        write_block(&columns, self.rows)
    }
}

/// The key in the number map, without an allocation of its own: see [`model::Property::map_key`].
pub(super) fn map_key<'a>(name: &'a str, kind: PropertyKind, scratch: &'a mut String) -> &'a str {
    if matches!(kind, PropertyKind::Number | PropertyKind::String) {
        return name;
    }
    scratch.clear();
    model::push_map_key(name, kind, scratch);
    scratch
}
