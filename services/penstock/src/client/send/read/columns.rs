//! What the columns of a table are for. Those called as an event's fields are the fields, all others properties.

use api::{convert::time_to_wire, v1};
use model::Error;

use super::types::Kind;
use crate::cli::SendArguments;

const FIELDS: [&str; 5] = ["event_id", "event_type", "user_id", "timestamp", "app_id"];

/// What a column is for.
pub(super) enum Column {
    /// The field at this place of [`FIELDS`].
    Field(usize),
    Property(String, Kind),
}

/// The columns of these names; `usual` says what the property at a place is if nobody said it. An error is what the file has wrong.
pub(super) fn of(
    names: &[String],
    arguments: &SendArguments,
    usual: impl Fn(usize) -> Kind,
) -> Result<Vec<Column>, String> {
    let said = arguments.columns.iter().map(|(field, column)| (field, column, FIELDS.contains(&field.as_str())));
    for (field, column, is_field) in said.chain(arguments.types.iter().map(|(column, kind)| (kind, column, true))) {
        match names.contains(column) {
            false => return Err(format!("has no column {column:?}; its columns are {}", names.join(", "))),
            true if !is_field => {
                let fields = FIELDS.join(", ");
                return Err(format!("can't be read: {field:?} is not a field; the fields are {fields}"));
            }
            true => {}
        }
    }
    let column = |(place, name): (usize, &String)| {
        let mapped = arguments.columns.iter().find(|(_, column)| column == name).map(|(field, _)| field);
        let is_taken = || arguments.columns.iter().any(|(field, _)| field == name);
        let field = mapped.or_else(|| Some(name).filter(|_| !is_taken()));
        if let Some(field) = field.and_then(|field| FIELDS.iter().position(|f| f == field)) {
            return Ok(Column::Field(field));
        }
        let kind = match arguments.types.iter().find(|(column, _)| column == name) {
            Some((_, kind)) => Kind::named(kind).ok_or_else(|| {
                format!("can't be read: {kind:?} is not a type; write --type {name}=number, string, bool or time")
            })?,
            None => usual(place),
        };
        Ok(Column::Property(name.clone(), kind))
    };
    let columns: Vec<_> = names.iter().enumerate().map(column).collect::<Result<_, String>>()?;
    let has_type = columns.iter().any(|column| matches!(column, Column::Field(1)));
    if !has_type && arguments.event_type.is_none() {
        return Err("has no column event_type: give --event-type NAME, or --column event_type=COLUMN".to_owned());
    }
    Ok(columns)
}

impl Column {
    /// Of the field or property.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Field(field) => FIELDS[*field],
            Self::Property(name, _) => name,
        }
    }

    /// Gives the event what a cell says.
    pub(super) fn put(&self, text: &str, event: &mut v1::Event) -> Result<(), Error> {
        match self {
            Self::Field(0) => text.clone_into(&mut event.event_id),
            Self::Field(1) => text.clone_into(&mut event.event_type),
            Self::Field(2) => text.clone_into(&mut event.user_id),
            Self::Field(3) => event.timestamp = Some(time_to_wire(Kind::instant(self.name(), text)?)),
            Self::Field(_) => text.clone_into(&mut event.app_id),
            Self::Property(name, kind) => {
                event.properties.insert(name.clone(), v1::Value { kind: Some(kind.read(name, text)?) });
            }
        }
        Ok(())
    }

    /// The same with a value that has a type already.
    pub(super) fn put_value(&self, value: v1::value::Kind, event: &mut v1::Event) -> Result<(), Error> {
        use v1::value::Kind as Wire;
        match (self, value) {
            (Self::Field(3), Wire::Time(time)) => event.timestamp = Some(time),
            (Self::Property(name, kind), value) if kind.holds(&value) => {
                event.properties.insert(name.clone(), v1::Value { kind: Some(value) });
            }
            (_, Wire::String(text)) => self.put(&text, event)?,
            (_, Wire::Number(x)) => self.put(&x.to_string(), event)?,
            (_, Wire::Integer(i)) => self.put(&i.to_string(), event)?,
            (_, Wire::Bool(b)) => self.put(&b.to_string(), event)?,
            (_, Wire::Time(time)) => {
                let ms = api::convert::instant(&time).unwrap_or_default();
                self.put(&jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_string(), event)?;
            }
            (_, Wire::Null(_)) => {}
        }
        Ok(())
    }
}
