//! Units of formulas: what comes of those of the metrics that a formula names.
//!
//! A unit is a product of words over another, as in `USD / users`. Metrics have one, and rates; numbers, and what is counted or
//! summed of properties, take that of what stands beside them. Values of unlike units can't be added, compared or chosen between. A
//! quotient of like ones has none, and times 100 it is in `%`.

use std::fmt;

use crate::{
    ast::{BinaryOp, Call, Expr, Node},
    diagnostics::{Outcome, Rule, Span, excerpt, fault},
    parse,
    resolve::Formula,
};

/// The unit of a share times 100.
const PERCENT: &str = "%";

/// The unit of a formula's value, as in `USD / users`; empty if it has none. Refused where unlike ones meet. What the formula names
/// must have been resolved: no formula rests on itself.
pub(crate) fn unit(expr: &Expr, formulas: &[Formula]) -> Outcome<String> {
    let mut units = Units { formulas, known: vec![None; formulas.len()] };
    Ok(match units.of(expr)? {
        Of::Known(unit) => unit.to_string(),
        Of::Any | Of::Ratio => String::new(),
    })
}

/// What is known of a value's unit.
#[derive(Debug, Clone)]
enum Of {
    /// It goes with any.
    Any,
    /// A quotient of like units.
    Ratio,
    Known(Unit),
}

/// Words, each with its power, which is not 0; in the order in which they were met.
#[derive(Debug, Clone, Default)]
struct Unit(Vec<(String, i32)>);

struct Units<'f> {
    formulas: &'f [Formula],
    /// Those of the formulas that were met.
    known: Vec<Option<Of>>,
}

impl Units<'_> {
    fn of(&mut self, expr: &Expr) -> Outcome<Of> {
        Ok(match &expr.node {
            Node::Metric(name) => return self.formula(name, expr.span),
            Node::Negate(inner) | Node::Cast { value: inner, .. } => return self.of(inner),
            Node::Binary(op, left, right) => return self.binary(*op, left, right, expr.span),
            Node::Between(value, low, high) => {
                self.alike([&**value, low, high], expr.span)?;
                Of::Any
            }
            Node::Not(inner) => {
                self.of(inner)?;
                Of::Any
            }
            Node::All(terms) | Node::Any(terms) => {
                terms.iter().try_for_each(|term| self.of(term).map(drop))?;
                Of::Any
            }
            Node::Case { branches, otherwise, .. } => {
                branches.iter().try_for_each(|(when, _)| self.of(when).map(drop))?;
                let results = branches.iter().map(|(_, then)| then).chain(otherwise.as_deref());
                return self.alike(results, expr.span);
            }
            Node::Call(call) => return self.call(call, expr.span),
            _ => Of::Any,
        })
    }

    /// The unit that a formula was given, or else that of its text.
    fn formula(&mut self, name: &str, span: Span) -> Outcome<Of> {
        let formulas = self.formulas;
        let Some(at) = formulas.iter().position(|formula| formula.name == name) else { return Ok(Of::Any) };
        if let Some(known) = &self.known[at] {
            return Ok(known.clone());
        }
        let of = match Unit::read(&formulas[at].unit) {
            Some(unit) => Of::Known(unit),
            None => match parse::expression(&formulas[at].formula).and_then(|expr| self.of(&expr)) {
                Ok(of) => of,
                Err(inner) => return fault(span, inner.rule, format!("in `{{{}}}`: {}", excerpt(name), inner.message)),
            },
        };
        self.known[at] = Some(of.clone());
        Ok(of)
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Outcome<Of> {
        let hundred = |expr: &Expr| matches!(expr.node, Node::Integer(100)) || expr.node == Node::Number(100.0);
        Ok(match op {
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Remainder => return self.alike([left, right], span),
            BinaryOp::Compare(_) | BinaryOp::Concat => {
                self.alike([left, right], span)?;
                Of::Any
            }
            BinaryOp::Multiply => match (self.of(left)?, self.of(right)?) {
                (Of::Ratio, _) if hundred(right) => Of::Known(Unit::word(PERCENT)),
                (_, Of::Ratio) if hundred(left) => Of::Known(Unit::word(PERCENT)),
                (Of::Known(left), Of::Known(right)) => left.times(&right, 1),
                (Of::Known(unit), _) | (_, Of::Known(unit)) => Of::Known(unit),
                (Of::Ratio, Of::Ratio) => Of::Ratio,
                _ => Of::Any,
            },
            BinaryOp::Divide => match (self.of(left)?, self.of(right)?) {
                (Of::Known(unit), _) if unit.is_percent() && hundred(right) => Of::Ratio,
                (Of::Known(left), Of::Known(right)) => left.times(&right, -1),
                (Of::Known(unit), _) => Of::Known(unit),
                (_, Of::Known(unit)) => Unit::default().times(&unit, -1),
                (Of::Ratio, Of::Ratio) => Of::Ratio,
                _ => Of::Any,
            },
        })
    }

    fn call(&mut self, call: &Call, span: Span) -> Outcome<Of> {
        let args = &call.args;
        Ok(match (call.name.text.to_ascii_lowercase().as_str(), args.as_slice()) {
            ("coalesce" | "ifnull" | "nullif" | "greatest" | "least" | "mod", _) => return self.alike(args, span),
            ("if", [condition, results @ ..]) => {
                self.of(condition)?;
                return self.alike(results, span);
            }
            (
                "abs" | "round" | "floor" | "ceil" | "ceiling" | "trunc" | "moving_avg" | "cumulative" | "change",
                [value, ..],
            ) => return self.of(value),
            ("percent_change", [value]) => {
                self.of(value)?;
                Of::Known(Unit::word(PERCENT))
            }
            ("share", [value]) => {
                self.of(value)?;
                Of::Ratio
            }
            ("rate", [value, unit]) => {
                let unit = if let Node::Text(text) = &unit.node { text.to_ascii_lowercase() } else { String::new() };
                let unit = Unit::word(unit.strip_suffix('s').unwrap_or(&unit));
                match self.of(value)? {
                    Of::Known(of) => of.times(&unit, -1),
                    Of::Any | Of::Ratio => Unit::default().times(&unit, -1),
                }
            }
            _ => {
                args.iter().try_for_each(|arg| self.of(arg).map(drop))?;
                Of::Any
            }
        })
    }

    /// The unit that all of them have, as far as they have one.
    fn alike<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, span: Span) -> Outcome<Of> {
        let mut all: Option<Of> = None;
        for expr in exprs {
            all = Some(match (all, self.of(expr)?) {
                (Some(Of::Known(one)), Of::Known(other)) if !one.is_like(&other) => {
                    let message = format!(
                        "values in `{}` and in `{}` don't go together; bring them to one unit first, or divide by one \
                         of them",
                        excerpt(&one.to_string()),
                        excerpt(&other.to_string())
                    );
                    return fault(span, Rule::TypeMismatch, message);
                }
                (Some(known @ Of::Known(_)), _) | (_, known @ Of::Known(_)) => known,
                (None, of) => of,
                (Some(Of::Ratio), Of::Ratio) => Of::Ratio,
                _ => Of::Any,
            });
        }
        Ok(all.unwrap_or(Of::Any))
    }
}

impl Unit {
    /// Reads a unit as people write it, as in `USD/users`; `None` of an empty text.
    fn read(text: &str) -> Option<Self> {
        let mut unit = Self::default();
        for (i, product) in text.split('/').enumerate() {
            for word in product.split(['*', '·']).map(str::trim).filter(|word| !matches!(*word, "" | "1")) {
                unit.raise(word, if i == 0 { 1 } else { -1 });
            }
        }
        (!text.trim().is_empty()).then_some(unit)
    }

    fn word(word: &str) -> Self {
        Self(vec![(word.to_owned(), 1)])
    }

    fn raise(&mut self, word: &str, by: i32) {
        match self.0.iter_mut().find(|(known, _)| known == word) {
            Some((_, power)) => *power += by,
            None => self.0.push((word.to_owned(), by)),
        }
        self.0.retain(|(_, power)| *power != 0);
    }

    /// The product with a power of the other. Percent of something is of its unit.
    fn times(mut self, other: &Self, power: i32) -> Of {
        if self.is_percent() != other.is_percent() {
            self.0.retain(|(word, _)| word != PERCENT);
        }
        let percent = self.is_percent();
        for (word, own) in other.0.iter().filter(|(word, _)| word != PERCENT || percent) {
            self.raise(word, own * power);
        }
        if self.0.is_empty() { Of::Ratio } else { Of::Known(self) }
    }

    fn is_percent(&self) -> bool {
        matches!(self.0.as_slice(), [(word, 1)] if word == PERCENT)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|part| other.0.contains(part))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |sign: i32| {
            let some = self.0.iter().filter(move |(_, power)| power.signum() == sign);
            some.flat_map(|(word, power)| std::iter::repeat_n(word.as_str(), power.unsigned_abs() as usize))
        };
        let over: Vec<_> = words(1).collect();
        f.write_str(if over.is_empty() && !self.0.is_empty() { "1" } else { "" })?;
        f.write_str(&over.join(" · "))?;
        words(-1).try_for_each(|word| write!(f, " / {word}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn formulas() -> Vec<Formula> {
        [
            ("revenue", "SUM(amount)", "USD"),
            ("tax", "SUM(tax)", "USD"),
            ("buyers", "COUNT(DISTINCT user_id)", "users"),
            ("euros", "SUM(amount)", "EUR"),
            ("speed", "AVG(speed)", "km/h"),
            ("bought", "COUNT(*)", ""),
            ("share", "{tax} / {revenue} * 100", ""),
            ("arpu", "{revenue} / {buyers}", ""),
            ("bad", "{revenue} + {euros}", ""),
        ]
        .map(|(name, formula, unit)| Formula {
            name: name.to_owned(),
            formula: formula.to_owned(),
            unit: unit.to_owned(),
            ..Formula::default()
        })
        .into()
    }

    fn of(text: &str) -> Result<String, String> {
        let expr = parse::expression(text).unwrap();
        unit(&expr, &formulas()).map_err(|fault| fault.message)
    }

    #[test]
    fn units_combine() {
        for (text, want) in [
            ("COUNT(*)", ""),
            ("{revenue}", "USD"),
            ("{revenue} + {tax} - 5", "USD"),
            ("-{revenue} * 2", "USD"),
            ("{revenue} / {buyers}", "USD / users"),
            ("{revenue} / COUNT(*)", "USD"),
            ("COUNT(*) / {buyers}", "1 / users"),
            ("{tax} / {revenue}", ""),
            ("{tax} / {revenue} * 100", "%"),
            ("100 * ({tax} / {revenue})", "%"),
            ("{share}", "%"),
            ("{share} / 100", ""),
            ("{share} * {euros}", "EUR"),
            ("{arpu} * {buyers}", "USD"),
            ("{arpu} / {arpu}", ""),
            ("{speed} * {speed}", "km · km / h / h"),
            ("{revenue} * {buyers} / {tax}", "users"),
            ("MOVING_AVG({revenue}, 7)", "USD"),
            ("PERCENT_CHANGE({revenue})", "%"),
            ("SHARE({revenue}) * 100", "%"),
            ("RANK({revenue})", ""),
            ("RATE({revenue}, 'hours')", "USD / hour"),
            ("RATE(COUNT(*), 'minute')", "1 / minute"),
            ("ROUND(COALESCE({revenue}, 0), 2)", "USD"),
            ("CASE WHEN {revenue} > {tax} THEN {revenue} ELSE 0 END", "USD"),
            ("SQRT({revenue})", ""),
        ] {
            assert_eq!(of(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn unlike_units_are_refused_with_a_reason() {
        for text in [
            "{revenue} + {euros}",
            "{revenue} - {buyers} * 2",
            "COALESCE({revenue}, {euros})",
            "CASE WHEN {revenue} > {euros} THEN 1 END",
            "CASE WHEN COUNT(*) > 1 THEN {revenue} ELSE {buyers} END",
            "GREATEST({arpu}, {revenue})",
            "{bad} * 2",
        ] {
            let why = of(text).unwrap_err();
            assert!(why.contains("don't go together"), "{text}: {why}");
        }
        assert!(of("{revenue} + {euros}").unwrap_err().starts_with("values in `USD` and in `EUR`"));
        assert!(of("{bad} * 2").unwrap_err().starts_with("in `{bad}`: values in `USD`"));
    }
}
