//! Names: fields, properties, and in some clauses the columns of the result.

use model::Property;

use super::{Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault, tables::Rows};
use crate::{
    diagnostics::excerpt,
    suggest::did_you_mean,
    typed::{FIELDS, Field},
};

impl Resolver<'_> {
    pub(super) fn name(&mut self, name: &ast::Name, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        let Some(qualifier) = &name.qualifier else { return self.bare_name(name, span, hint) };
        if let Some(at) = self.tables.iter().position(|table| table.is_called(&qualifier.text)) {
            let bare = ast::Name { qualifier: None, ..name.clone() };
            return self.of_table(at, &bare, span, hint);
        }
        if qualifier.text.eq_ignore_ascii_case("properties") {
            return match self.events() {
                Some(_) => self.property(&name.name, span, hint),
                None => fault(qualifier.span, Rule::UnknownTable, "only `events` has properties"),
            };
        }
        let shown = excerpt(&qualifier.text);
        let only = self.tables.len() == 1 && self.events().is_some();
        let message =
            format!("`{shown}` is no table of this query{}", if only { "; the table is `events`" } else { "" });
        fault(qualifier.span, Rule::UnknownTable, message)
    }

    /// Which of the tables are the events.
    fn events(&self) -> Option<usize> {
        self.tables.iter().position(|table| matches!(table.rows, Rows::Events))
    }

    fn bare_name(&mut self, name: &ast::Name, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        if self.place.sees_columns()
            && !self.inside_aggregate
            && let Some(column) = self.column(name)
        {
            return Ok(Expr { span, ..self.copy(&column)? });
        }
        let shared = self.using.iter().any(|shared| shared.eq_ignore_ascii_case(&name.name));
        match *self.tables_with(name).as_slice() {
            [at] => self.of_table(at, name, span, hint),
            [first, ..] if shared => self.of_table(first, name, span, hint),
            [_, ..] => {
                let shown = excerpt(&name.name);
                let message = format!("more than one table has `{shown}`; say which is meant, as in events.{shown}");
                fault(span, Rule::AmbiguousName, message)
            }
            [] => {
                if !name.quoted
                    && let Some(now) = self.current(&name.name, span)
                {
                    return now;
                }
                let at = self.events().unwrap_or(0);
                if self.tables.is_empty() {
                    fault(span, Rule::UnknownField, self.unknown(&name.name))
                } else {
                    self.of_table(at, name, span, hint)
                }
            }
        }
    }

    /// The result column of that name. In GROUP BY one that counts or sums can't be meant.
    fn column(&self, name: &ast::Name) -> Option<Expr> {
        let same = |known: &str| known == name.name || (!name.quoted && known.eq_ignore_ascii_case(&name.name));
        let (_, column) = self.columns.iter().find(|(known, _)| same(known))?;
        (self.place != super::Place::GroupBy || !has_aggregate(column)).then(|| column.clone())
    }

    pub(super) fn field_or_property(&mut self, name: &ast::Name, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        if let Some(field) = field(name) {
            return Ok(Expr::new(Node::Field(field), field.ty(), span));
        }
        if self.context.schema.named(&name.name).is_empty()
            && !name.quoted
            && let Some(now) = self.current(&name.name, span)
        {
            return now;
        }
        self.property(&name.name, span, hint)
    }

    pub(super) fn property(&self, name: &str, span: Span, hint: Option<Type>) -> Outcome<Expr> {
        let kinds = self.context.schema.named(name);
        let chosen = match kinds {
            [] => return fault(span, Rule::UnknownField, self.unknown(name)),
            [one] => one,
            several => match hint.and_then(|wanted| chosen(several, wanted)) {
                Some(one) => one,
                None => return fault(span, Rule::AmbiguousProperty, ambiguous(name, several)),
            },
        };
        Ok(property_expr(chosen, span))
    }

    /// Whether the expression is a name that only its place can decide.
    pub(super) fn has_several_kinds(&self, expr: &ast::Expr) -> bool {
        if self.names_trait(expr).is_some() {
            return true;
        }
        let ast::Node::Name(name) = &expr.node else { return false };
        field(name).is_none() && self.context.schema.named(&name.name).len() > 1
    }

    fn unknown(&self, name: &str) -> String {
        let shown = excerpt(name);
        if self.columns.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            let place = self.place.name();
            return format!("`{shown}` is a name given in SELECT; {place} sees only fields and properties");
        }
        let fields = FIELDS.iter().map(|(known, _)| *known);
        let near = did_you_mean(name, fields.chain(self.context.schema.names()));
        format!("the app has no field or property `{shown}`{near}")
    }
}

/// The property of this kind, when one of the kinds is asked for by name or by its place.
pub(super) fn chosen(several: &[Property], wanted: Type) -> Option<&Property> {
    let wanted = if wanted == Type::Integer { Type::Number } else { wanted };
    several.iter().find(|p| Type::of(p.kind) == wanted)
}

pub(super) fn property_expr(property: &Property, span: Span) -> Expr {
    Expr::new(Node::Property(property.clone()), Type::of(property.kind), span)
}

/// Bare names of fields are read in any case, quoted ones to the letter.
pub(crate) fn field(name: &ast::Name) -> Option<Field> {
    if name.qualifier.as_ref().is_some_and(|q| q.text.eq_ignore_ascii_case("properties")) {
        return None;
    }
    let same = |known: &str| known == name.name || (!name.quoted && known.eq_ignore_ascii_case(&name.name));
    FIELDS.iter().find(|(known, _)| same(known)).map(|(_, field)| *field)
}

fn ambiguous(name: &str, several: &[Property]) -> String {
    let kinds: Vec<_> = several.iter().map(|p| p.kind.name()).collect();
    let example = kinds.first().copied().unwrap_or("number");
    let shown = excerpt(name);
    format!("`{shown}` was sent as {}; say which is meant, as in {shown}::{example}", kinds.join(" and as "))
}

/// Whether the value is one of a group, or of rows around it.
pub(crate) fn has_aggregate(expr: &Expr) -> bool {
    expr.any(|node| matches!(node, Node::Aggregate(_) | Node::Window(_)))
}
