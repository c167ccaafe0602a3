//! Casts. A value that can't be read as the type is NULL: one odd event must not fail a query.

use super::Emitter;
use crate::{time::Zone, typed::Expr, types::Type};

impl Emitter {
    pub(super) fn cast(&mut self, value: &Expr, to: Type, zone: &Zone) {
        match (value.ty, to) {
            (Type::String, Type::Number) => self.around("ifNotFinite(toFloat64OrNull(", value, "), NULL)"),
            (Type::String, Type::Integer) => self.around("toInt64OrNull(", value, ")"),
            (Type::String, Type::Time) => {
                self.around("toTimeZone(parseDateTime64BestEffortOrNull(", value, ", 3, ");
                let zone = self.params.text(zone.name());
                self.push(&format!("{zone}), 'UTC')"));
            }
            (Type::Time, Type::String) => {
                self.around("toString(toTimeZone(", value, ", ");
                let zone = self.params.text(zone.name());
                self.push(&format!("{zone}))"));
            }
            (Type::Number, Type::Integer) => {
                // Halves to even, as PostgreSQL does here, though not in ROUND.
                self.around("accurateCastOrNull(round(", value, "), 'Int64')");
            }
            (Type::Number | Type::Integer, Type::Bool) => self.around("(", value, " != 0)"),
            (Type::Bool, Type::String) => self.bool_text(value),
            (_, Type::Number) => self.around("toFloat64(", value, ")"),
            (_, Type::Integer) => self.around("toInt64(", value, ")"),
            (_, Type::String) => self.around("toString(", value, ")"),
            _ => self.expr(value),
        }
    }

    pub(super) fn bool_text(&mut self, value: &Expr) {
        let (yes, no) = (self.params.text("true"), self.params.text("false"));
        self.around("CASE WHEN ", value, &format!(" THEN {yes} WHEN NOT "));
        self.around("", value, &format!(" THEN {no} ELSE NULL END"));
    }
}
