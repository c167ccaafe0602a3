//! CAST and `::`.

use super::{Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault, names, tables::Rows};
use crate::{ast::Word, grain::Grain, suggest::did_you_mean};

const TYPES: [&str; 6] = ["number", "integer", "string", "bool", "time", "date"];

/// Whether a value of one type can be turned into one of the other.
pub(super) const fn allowed(from: Type, to: Type) -> bool {
    matches!(
        (from, to),
        (Type::Null, _)
            | (Type::Number | Type::Integer | Type::Bool, Type::Number | Type::Integer | Type::Bool | Type::String)
            | (Type::String, Type::Number | Type::Integer | Type::String | Type::Time)
            | (Type::Time, Type::Time | Type::String)
    )
}

impl Resolver<'_> {
    pub(super) fn cast(&mut self, value: &ast::Expr, to: &Word, span: Span) -> Outcome<Expr> {
        let is_date = to.text.eq_ignore_ascii_case("date");
        let Some(wanted) = Type::named(&to.text).or(is_date.then_some(Type::Time)) else {
            let message = format!(
                "there is no type `{}`; the types are {}{}",
                crate::diagnostics::excerpt(&to.text),
                TYPES.join(", "),
                did_you_mean(&to.text, TYPES)
            );
            return fault(to.span, Rule::TypeMismatch, message);
        };
        let typed = match self.kind_named(value, wanted) {
            Some(property) => property,
            None => self.expr(value, Some(wanted))?,
        };
        let converted = self.convert(typed, wanted, span)?;
        if is_date { self.truncate(Grain::Day, converted, span) } else { Ok(converted) }
    }

    /// `amount::number` names the property of that kind, where there is one.
    fn kind_named(&mut self, value: &ast::Expr, wanted: Type) -> Option<Expr> {
        let ast::Node::Name(name) = &value.node else { return None };
        if let Some(at) = self.names_trait(value) {
            return Some(self.of_user(at, name, value.span, Some(wanted)));
        }
        let of_events = match &name.qualifier {
            Some(qualifier) => qualifier.text.eq_ignore_ascii_case("properties") || self.is_events(&qualifier.text),
            None => matches!(*self.tables_with(name).as_slice(), [at] if matches!(self.tables[at].rows, Rows::Events)),
        };
        if !of_events {
            return None;
        }
        if names::field(name).is_some() {
            return None;
        }
        let property = names::chosen(self.context.schema.named(&name.name), wanted)?;
        Some(names::property_expr(property, value.span))
    }

    fn convert(&self, value: Expr, wanted: Type, span: Span) -> Outcome<Expr> {
        if matches!(value.node, Node::Text(_)) && wanted != Type::String {
            let read = self.literal_as(value, wanted, &self.zone)?;
            return if read.ty == wanted { Ok(Expr { span, ..read }) } else { self.convert(read, wanted, span) };
        }
        if value.ty == wanted {
            return Ok(Expr { span, ..value });
        }
        if value.ty.fits(wanted) {
            let ty = if value.ty == Type::Null { wanted } else { value.ty };
            return Ok(Expr { span, ty, ..value }.into_type(wanted, &self.zone));
        }
        if !allowed(value.ty, wanted) {
            let message = format!("{} can't be turned into {}", value.ty.described(), wanted.described());
            return fault(value.span, Rule::TypeMismatch, message);
        }
        let zone = self.zone_of(&value);
        Ok(Expr::new(Node::Cast(Box::new(value), zone), wanted, span))
    }
}
