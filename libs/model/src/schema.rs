use ahash::HashMap;

use crate::PropertyKind;

/// Typed number columns `n0..` in the events table. An empty one is not free: 44 empty slots cost a third of the insert rate.
pub const NUMBER_SLOTS: u16 = 16;
/// Typed string columns `s0..` in the events table.
pub const TEXT_SLOTS: u16 = 16;

/// Where a property's values lie in the events table. Only `storage` and `formula` turn it into column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Column `n<i>`: Nullable(Float64).
    Number(u16),
    /// Column `s<i>`: LowCardinality(Nullable(String)).
    Text(u16),
    /// The map `n_more`, under the property's name and kind.
    NumberMap,
    /// The map `s_more`, under the property's name.
    TextMap,
}

/// One registered property of an app. Registrations are only ever added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The name, as sent.
    pub name: String,
    /// What its values are.
    pub kind: PropertyKind,
    /// Where they lie.
    pub slot: Slot,
}

/// An app's property registry as read at one moment: (name, kind) -> slot.
#[derive(Debug, Clone, Default)]
pub struct AppSchema {
    by_name: HashMap<String, Vec<Property>>,
    len: usize,
}

impl AppSchema {
    /// Builds the registry from its rows.
    pub fn new(properties: impl IntoIterator<Item = Property>) -> Self {
        let mut schema = Self::default();
        for property in properties {
            schema.len += 1;
            schema.by_name.entry(property.name.clone()).or_default().push(property);
        }
        for kinds in schema.by_name.values_mut() {
            kinds.sort_by_key(|p| p.kind);
        }
        schema
    }

    /// Where values of this name and kind lie, if any was ever registered.
    pub fn slot(&self, name: &str, kind: PropertyKind) -> Option<Slot> {
        self.by_name.get(name)?.iter().find(|p| p.kind == kind).map(|p| p.slot)
    }

    /// The properties of this name, one for each kind it was sent as.
    pub fn named(&self, name: &str) -> &[Property] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// All names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// All properties, in no order.
    pub fn properties(&self) -> impl Iterator<Item = &Property> {
        self.by_name.values().flatten()
    }

    /// How many properties are registered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Property {
    /// The key under which an overflowing value lies in its map: the name; for bools and times the kind too, since
    /// all three numeric kinds share one map.
    pub fn map_key(&self) -> String {
        let mut key = String::new();
        push_map_key(&self.name, self.kind, &mut key);
        key
    }
}

/// Appends the key under which an overflowing value of this name and kind lies in its map.
pub fn push_map_key(name: &str, kind: PropertyKind, out: &mut String) {
    out.push_str(name);
    if matches!(kind, PropertyKind::Bool | PropertyKind::Time) {
        out.push('\0');
        out.push_str(kind.name());
    }
}
