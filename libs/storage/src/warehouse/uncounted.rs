use super::{
    columns::{Fixed, Texts, Words},
    native::{WireColumn, write_block},
    schema,
};

/// Why a record of the log adds no row to the events or the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An event whose identity was seen before.
    Duplicate,
    /// An event that ingest refused and kept.
    DeadLetter,
    /// A record that can't be read.
    Damaged,
    /// An event, of whatever kind, of a user who was erased. Nothing is kept of it but its place and time. One that was stored
    /// before stands beside this row until it is deleted.
    Erased,
    /// An Identify of a user who was erased; otherwise as [`Reason::Erased`].
    ErasedIdentify,
    /// A record that a writer put where it no longer belongs ([`crate::Placement::partitions_at`]): never acknowledged.
    Misplaced,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Duplicate, Self::DeadLetter, Self::Damaged, Self::Erased, Self::ErasedIdentify, Self::Misplaced];
    /// Those that stand in the place of a record that may still have its row.
    pub const OF_ERASED: [Self; 2] = [Self::Erased, Self::ErasedIdentify];

    /// As it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::DeadLetter => "dead letter",
            Self::Damaged => "damaged",
            Self::Erased => "erased",
            Self::ErasedIdentify => "erased identify",
            Self::Misplaced => "misplaced",
        }
    }
}

/// A record that doesn't count. Of one that can't be read only its place and time are known.
#[derive(Debug, Clone, Copy)]
pub struct UncountedRow<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The tenant's app.
    pub app: &'a str,
    /// Why it doesn't count.
    pub reason: Reason,
    /// Who did it; empty if nobody is known.
    pub user_id: &'a str,
    /// The id of the event.
    pub event_id: &'a str,
    /// When ingest received it, or where that can't be read, when the log took it, UTC ms.
    pub received_at_ms: i64,
    /// The record itself, where it is to be looked at; else empty.
    pub record: &'a [u8],
    /// The life of the log that the offset belongs to.
    pub incarnation: u64,
    /// The log partition that it came from.
    pub partition: u32,
    /// Its place in that partition.
    pub offset: u64,
}

/// Records that don't count on their way to the warehouse, column by column: one block.
#[derive(Debug)]
pub struct UncountedColumns {
    rows: usize,
    tenant: Words,
    app: Words,
    reason: Words,
    user: Texts,
    event_id: Texts,
    received_at: Fixed<8>,
    record: Texts,
    incarnation: Fixed<8>,
    partition: Fixed<4>,
    offset: Fixed<8>,
}

impl Default for UncountedColumns {
    fn default() -> Self {
        Self {
            rows: 0,
            tenant: Words::required(),
            app: Words::required(),
            reason: Words::required(),
            user: Texts::default(),
            event_id: Texts::default(),
            received_at: Fixed::default(),
            record: Texts::default(),
            incarnation: Fixed::default(),
            partition: Fixed::default(),
            offset: Fixed::default(),
        }
    }
}

impl UncountedColumns {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a record.
    pub fn push(&mut self, row: &UncountedRow<'_>) {
        self.tenant.push(row.tenant);
        self.app.push(row.app);
        self.reason.push(row.reason.name());
        self.user.push(row.user_id);
        self.event_id.push(row.event_id);
        self.received_at.push(row.received_at_ms.to_le_bytes());
        self.record.push_bytes(row.record);
        self.incarnation.push(row.incarnation.to_le_bytes());
        self.partition.push(row.partition.to_le_bytes());
        self.offset.push(row.offset.to_le_bytes());
        self.rows += 1;
    }

    /// The columns as one block in the Native format.
    pub fn to_native(&self) -> Vec<u8> {
        use schema::{TEXT, TIME, U32, U64, WORD};
        let columns: [(&str, &str, &dyn WireColumn); 10] = [
            ("tenant", WORD, &self.tenant),
            ("app", WORD, &self.app),
            ("reason", WORD, &self.reason),
            ("user", TEXT, &self.user),
            ("event_id", TEXT, &self.event_id),
            ("received_at", TIME, &self.received_at),
            ("record", TEXT, &self.record),
            ("_incarnation", U64, &self.incarnation),
            ("_partition", U32, &self.partition),
            ("_offset", U64, &self.offset),
        ];
        write_block(&columns, self.rows)
    }
}
