//! Expressions of one row or of one group.

use std::borrow::Borrow;

use model::{Property, PropertyKind, Slot};

use super::{Emitter, params};
use crate::{
    functions::{Param, Scalar},
    typed::{Arithmetic, Expr, Field, Node},
    types::Type,
};

/// Longer chains of AND and OR are written as balanced trees, so that no reader of the text needs a deep stack.
pub(super) const FLAT_CHAIN: usize = 16;

impl Emitter {
    pub(super) fn expr(&mut self, expr: &Expr) {
        if self.is_full() {
            return;
        }
        match &expr.node {
            Node::Null => self.push("NULL"),
            Node::Bool(b) => self.push(if *b { "true" } else { "false" }),
            Node::Integer(i) => self.bound("Int64", i.to_string()),
            Node::Number(x) => self.bound("Float64", params::number(*x)),
            Node::Text(text) => {
                let place = self.params.text(text);
                self.push(&place);
            }
            Node::Time(ms) => self.instant(*ms),
            Node::Field(Field::Timestamp) if self.daily => self.push("day"),
            Node::Field(field) => self.push(column(*field)),
            Node::Property(property) => self.property(property),
            Node::Column(column) => self.push(&format!("t{}.c{}", self.first_table + column.table, column.place)),
            Node::Negate(inner) => self.around("(-", inner, ")"),
            Node::Not(inner) => self.around("(NOT ", inner, ")"),
            Node::IsNull(inner) => self.around("(", inner, " IS NULL)"),
            Node::IsBool(inner, true) => self.around("ifNull(", inner, ", false)"),
            Node::IsBool(inner, false) => self.around("(NOT ifNull(", inner, ", true))"),
            Node::All(terms) => self.chain(terms, " AND "),
            Node::Any(terms) => self.chain(terms, " OR "),
            Node::Arithmetic(op, left, right) => self.arithmetic(*op, left, right),
            Node::Compare(op, left, right) => self.infix(left, op.symbol(), right),
            Node::IsDistinct(left, right) => self.is_distinct(left, right),
            Node::In(value, list) => self.in_list(value, list),
            Node::Locked(lock, values) => self.locked(*lock, values),
            Node::InPlan(value, plan) => {
                self.push("(");
                self.key(value);
                self.push(" IN (");
                self.plan(plan);
                self.push("))");
            }
            Node::Scalar(plan) => {
                self.push("(");
                self.plan(plan);
                self.push(")");
            }
            Node::Window(window) => self.window(window),
            Node::Like { text, pattern, ignore_case } => {
                let pattern = self.params.text(pattern);
                let op = if *ignore_case { " ILIKE " } else { " LIKE " };
                self.around("(", text, &format!("{op}{pattern})"));
            }
            Node::Case { branches, otherwise } => self.case(branches, otherwise.as_deref()),
            Node::Call(function, args) => self.call(function, args),
            Node::Cast(value, zone) => self.cast(value, expr.ty, zone),
            Node::Key(i) => self.key_of_group(*i),
            Node::Aggregate(i) => self.push(&format!("a{i}")),
            Node::Truncate(..) | Node::Part(..) | Node::Shift(..) | Node::Difference(..) | Node::InZone(..) => {
                self.calendar(&expr.node);
            }
        }
    }

    pub(super) fn bound(&mut self, kind: &'static str, value: String) {
        let place = self.params.bind(kind, value);
        self.push(&place);
    }

    pub(super) fn instant(&mut self, ms: i64) {
        self.bound("DateTime64(3, 'UTC')", params::instant(ms).into_owned());
    }

    pub(super) fn around(&mut self, before: &str, inner: &Expr, after: &str) {
        self.push(before);
        self.expr(inner);
        self.push(after);
    }

    fn infix(&mut self, left: &Expr, op: &str, right: &Expr) {
        self.around("(", left, " ");
        self.push(op);
        self.around(" ", right, ")");
    }

    fn property(&mut self, property: &Property) {
        // Bools and times lie as numbers among numbers.
        let (before, after) = match property.kind {
            PropertyKind::Number | PropertyKind::String => ("", ""),
            PropertyKind::Bool => ("(", " != 0)"),
            PropertyKind::Time => ("fromUnixTimestamp64Milli(CAST(", " AS Nullable(Int64)), 'UTC')"),
        };
        self.push(before);
        match property.slot {
            Slot::Number(i) => self.push(&format!("n{i}")),
            Slot::Text(i) => self.push(&format!("s{i}")),
            Slot::NumberMap => self.map_value("n_more", property),
            Slot::TextMap => self.map_value("s_more", property),
        }
        self.push(after);
    }

    /// What a map holds under the key; NULL if it doesn't hold the key.
    fn map_value(&mut self, map: &str, property: &Property) {
        let key = self.params.text(&property.map_key());
        self.push(&format!("if(mapContains({map}, {key}), arrayElement({map}, {key}), NULL)"));
    }

    /// Terms with AND or OR between them.
    pub(super) fn chain<E: Borrow<Expr>>(&mut self, terms: &[E], word: &str) {
        if terms.len() > FLAT_CHAIN {
            let (left, right) = terms.split_at(terms.len() / 2);
            self.push("(");
            self.chain(left, word);
            self.push(word);
            self.chain(right, word);
        } else {
            self.push("(");
            self.list(terms, word, |e, term| e.expr(term.borrow()));
        }
        self.push(")");
    }

    fn arithmetic(&mut self, op: Arithmetic, left: &Expr, right: &Expr) {
        let is_safe = match right.node {
            Node::Number(x) => x > 0.0,
            Node::Integer(i) => i > 0,
            _ => false,
        };
        match op {
            Arithmetic::Add => self.infix(left, "+", right),
            Arithmetic::Subtract => self.infix(left, "-", right),
            Arithmetic::Multiply => self.infix(left, "*", right),
            Arithmetic::Divide if is_safe => self.infix(left, "/", right),
            Arithmetic::Divide => {
                self.around("(", left, " / ");
                self.around("nullIf(", right, ", 0))");
            }
            Arithmetic::Remainder if is_safe => self.infix(left, "%", right),
            // Of integers the engine would divide by what a NULL has in its place too.
            Arithmetic::Remainder => {
                self.around("moduloOrNull(", left, ", ");
                self.expr(right);
                self.push(")");
            }
        }
    }

    /// Not equal, where NULL is a value like others.
    fn is_distinct(&mut self, left: &Expr, right: &Expr) {
        self.around("(ifNull(", left, " != ");
        self.expr(right);
        self.around(", true) AND NOT ((", left, " IS NULL) AND (");
        self.expr(right);
        self.push(" IS NULL)))");
    }

    /// A list of texts or numbers is one bound array; times and bools are bound one by one.
    fn locked(&mut self, lock: usize, values: &[Expr]) {
        let many = values.len() > 1;
        self.push(if many { "(coalesce(" } else { "(" });
        self.list(values, ", ", |e, value| match value.ty {
            Type::String => e.expr(value),
            Type::Bool => e.bool_text(value),
            _ => e.around("toString(", value, ")"),
        });
        self.push(match values.len() {
            0 => "NULL", // no event has it
            1 => "",
            _ => ")",
        });
        self.push(&format!(" IN ({{lock{lock}:Array(String)}}))"));
    }

    fn in_list(&mut self, value: &Expr, list: &[Expr]) {
        self.push("(");
        self.key(value);
        self.push(" IN (");
        let array = match value.ty {
            Type::String => {
                let texts = list.iter().filter_map(|item| match &item.node {
                    Node::Text(text) => Some(text.as_str()),
                    _ => None,
                });
                Some(self.params.texts(texts))
            }
            Type::Number => Some(self.numbers("Array(Float64)", list)),
            Type::Integer => Some(self.numbers("Array(Int64)", list)),
            _ => None,
        };
        match array {
            Some(array) => self.push(&array),
            None => self.list(list, ", ", Self::expr),
        }
        self.push("))");
    }

    fn numbers(&mut self, kind: &'static str, list: &[Expr]) -> String {
        let texts: Vec<_> = list
            .iter()
            .filter_map(|item| match item.node {
                Node::Number(x) => Some(params::number(x)),
                Node::Integer(i) => Some(i.to_string()),
                _ => None,
            })
            .collect();
        self.params.bind(kind, format!("[{}]", texts.join(",")))
    }

    fn case(&mut self, branches: &[(Expr, Expr)], otherwise: Option<&Expr>) {
        self.push("CASE");
        for (when, then) in branches {
            self.around(" WHEN ", when, " THEN ");
            self.expr(then);
        }
        match otherwise {
            Some(otherwise) => self.around(" ELSE ", otherwise, " END"),
            None => self.push(" ELSE NULL END"),
        }
    }

    /// Fills a function's template: `$1` is the first argument, `$*` all, `$@` all with NULL as the empty text.
    fn call(&mut self, function: &Scalar, args: &[Expr]) {
        let mut pieces = function.template.split('$');
        self.push(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (which, rest) = piece.split_at(1);
            match which {
                "*" => self.list(args, ", ", Self::expr),
                "@" => self.list(args, ", ", |e, arg| e.around("ifNull(", arg, ", '')")),
                digit => {
                    let place = digit.parse::<usize>().unwrap_or(1) - 1;
                    if let Some(arg) = args.get(place) {
                        self.argument(function, place, arg);
                    }
                }
            }
            self.push(rest);
        }
    }

    /// Literal arguments stand as digits, since the engine wants constants there.
    fn argument(&mut self, function: &Scalar, place: usize, arg: &Expr) {
        match (&arg.node, function.params.get(place)) {
            (Node::Integer(i), Some(Param::Literal(..))) => self.push(&i.to_string()),
            _ => self.expr(arg),
        }
    }
}

const fn column(field: Field) -> &'static str {
    match field {
        Field::Timestamp => "ts",
        Field::ReceivedAt => "received_at",
        Field::EventId => "event_id",
        Field::EventType => "event",
        Field::UserId => "nullIf(user, '')",
        Field::AppId => "app",
        Field::Country => "country",
        Field::UserPlan => "plan",
        Field::Incarnation => "_incarnation",
        Field::Partition => "_partition",
        Field::Offset => "_offset",
    }
}
