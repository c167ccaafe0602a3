use model::{PropertyKind, record::ValueRef};

use super::{
    columns::{Entries, Fixed, Texts, Words},
    events::map_key,
    native::{WireColumn, write_block},
    schema,
};

/// What is known of a user after one Identify, beside the traits.
#[derive(Debug, Clone, Copy)]
pub struct UserRow<'a> {
    /// Whose user it is.
    pub tenant: &'a str,
    /// The tenant's app.
    pub app: &'a str,
    /// The user.
    pub user_id: &'a str,
    /// The trait `country`, where it is a string.
    pub country: Option<&'a str>,
    /// The trait `plan`, where it is a string.
    pub plan: Option<&'a str>,
    /// When ingest received the Identify, UTC ms.
    pub received_at_ms: i64,
    /// The life of the log that the offset belongs to.
    pub incarnation: u64,
    /// The log partition that it came from.
    pub partition: u32,
    /// Its place in that partition.
    pub offset: u64,
}

/// States of users on their way to the warehouse, column by column: one block.
#[derive(Debug)]
pub struct UserColumns {
    rows: usize,
    tenant: Words,
    app: Words,
    user: Texts,
    country: Words,
    plan: Words,
    n_more: Entries<Fixed<8>>,
    s_more: Entries<Texts>,
    received_at: Fixed<8>,
    incarnation: Fixed<8>,
    partition: Fixed<4>,
    offset: Fixed<8>,
    map_key: String,
}

impl Default for UserColumns {
    fn default() -> Self {
        Self {
            rows: 0,
            tenant: Words::required(),
            app: Words::required(),
            user: Texts::default(),
            country: Words::nullable(),
            plan: Words::nullable(),
            n_more: Entries::default(),
            s_more: Entries::default(),
            received_at: Fixed::default(),
            incarnation: Fixed::default(),
            partition: Fixed::default(),
            offset: Fixed::default(),
            map_key: String::new(),
        }
    }
}

impl UserColumns {
    /// How many states there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a state. All traits of the user follow by [`UserColumns::set`].
    pub fn push(&mut self, row: &UserRow<'_>) {
        self.tenant.push(row.tenant);
        self.app.push(row.app);
        self.user.push(row.user_id);
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
    }

    /// Gives the latest state a trait; each name comes once for each kind.
    ///
    /// # Panics
    /// Before the first [`UserColumns::push`].
    pub fn set(&mut self, name: &str, kind: PropertyKind, value: ValueRef<'_>) {
        let row = self.rows.checked_sub(1).expect("a trait belongs to a user");
        match value {
            ValueRef::Number(x) => {
                let key = map_key(name, kind, &mut self.map_key);
                self.n_more.add(row, key, |values| values.push(x.to_le_bytes()));
            }
            ValueRef::Text(text) => self.s_more.add(row, name, |values| values.push(text)),
        }
    }

    /// The columns as one block in the Native format.
    pub fn to_native(&self) -> Vec<u8> {
        use schema::{NULLABLE_WORD, NUMBER_MAP, TEXT, TEXT_MAP, TIME, U32, U64, WORD};
        let columns: [(&str, &str, &dyn WireColumn); 11] = [
            ("tenant", WORD, &self.tenant),
            ("app", WORD, &self.app),
            ("user", TEXT, &self.user),
            ("country", NULLABLE_WORD, &self.country),
            ("plan", NULLABLE_WORD, &self.plan),
            ("n_more", NUMBER_MAP, &self.n_more),
            ("s_more", TEXT_MAP, &self.s_more),
            ("received_at", TIME, &self.received_at),
            ("_incarnation", U64, &self.incarnation),
            ("_partition", U32, &self.partition),
            ("_offset", U64, &self.offset),
        ];
        write_block(&columns, self.rows)
    }
}
