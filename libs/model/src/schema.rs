use std::ops::Range;

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
    /// By name, then by kind.
    properties: Vec<Property>,
    /// Where those of a name are.
    by_name: HashMap<String, Range<usize>>,
}

impl AppSchema {
    /// Builds the registry from its rows.
    pub fn new(properties: impl IntoIterator<Item = Property>) -> Self {
        let mut properties: Vec<_> = properties.into_iter().collect();
        properties.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        let mut by_name: HashMap<String, Range<usize>> = HashMap::default();
        for (at, property) in properties.iter().enumerate() {
            by_name.entry(property.name.clone()).or_insert(at..at).end = at + 1;
        }
        Self { properties, by_name }
    }

    /// Where values of this name and kind lie, if any was ever registered.
    pub fn slot(&self, name: &str, kind: PropertyKind) -> Option<Slot> {
        self.slots().of(name, kind)
    }

    /// For the properties of one event.
    pub fn slots(&self) -> Slots<'_> {
        Slots { schema: self, next: 0 }
    }

    /// The properties of this name, one for each kind it was sent as.
    pub fn named(&self, name: &str) -> &[Property] {
        self.by_name.get(name).map_or(&[], |of_name| &self.properties[of_name.clone()])
    }

    /// All names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// All properties, in no order.
    pub fn properties(&self) -> impl Iterator<Item = &Property> {
        self.properties.iter()
    }

    /// How many properties are registered.
    pub fn len(&self) -> usize {
        self.properties.len()
    }

    /// Whether none is registered.
    pub fn is_empty(&self) -> bool {
        self.properties.is_empty()
    }
}

/// Looks properties up that come in the order of their names: the next one is mostly what follows the one before.
#[derive(Debug)]
pub struct Slots<'a> {
    schema: &'a AppSchema,
    next: usize,
}

impl Slots<'_> {
    /// Where values of this name and kind lie, if any was ever registered.
    pub fn of(&mut self, name: &str, kind: PropertyKind) -> Option<Slot> {
        let AppSchema { properties, by_name } = self.schema;
        let is_next = properties.get(self.next).is_some_and(|next| next.kind == kind && next.name == name);
        if !is_next {
            let mut of_name = by_name.get(name)?.clone();
            self.next = of_name.find(|at| properties[*at].kind == kind)?;
        }
        let slot = properties[self.next].slot;
        self.next += 1;
        Some(slot)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_found_in_any_order() {
        use PropertyKind::{Bool, Number, String};
        let known = [("price", Number), ("name", String), ("price", Bool), ("age", Number), ("zone", String)];
        let slot = |(i, (name, kind)): (usize, &(&str, _))| Property {
            name: (*name).to_owned(),
            kind: *kind,
            slot: Slot::Text(i as u16),
        };
        let schema = AppSchema::new(known.iter().enumerate().map(slot));
        assert_eq!((schema.len(), schema.named("price").len(), schema.named("cost").len()), (5, 2, 0));
        let asked: Vec<_> = known.iter().chain(&[("cost", Number), ("name", Number)]).collect();
        // Every pair of two after each other, and so every jump.
        for first in &asked {
            let mut slots = schema.slots();
            for (name, kind) in asked.iter().flat_map(|second| [*first, *second]) {
                let expected = known.iter().position(|property| property == &(*name, *kind));
                assert_eq!(slots.of(name, *kind), expected.map(|i| Slot::Text(i as u16)), "{name} {kind:?}");
            }
        }
    }
}
