//! Conditions: comparisons, lists, patterns and their logic.

use super::{Expr, Node, Outcome, Place, Resolver, Rule, Span, Type, ast, fault};
use crate::{ast::CompareOp, time, typed::Field};

impl Resolver<'_> {
    /// The nodes that always give a bool.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Outcome<Expr> {
        let span = expr.span;
        let node = match &expr.node {
            ast::Node::Not(inner) => Node::Not(Box::new(self.expr_of(inner, Type::Bool)?)),
            ast::Node::All(terms) => Node::All(self.conditions(terms)?),
            ast::Node::Any(terms) => Node::Any(self.conditions(terms)?),
            ast::Node::IsNull(inner) => Node::IsNull(Box::new(self.expr(inner, None)?)),
            ast::Node::IsBool(inner, want) => Node::IsBool(Box::new(self.expr_of(inner, Type::Bool)?), *want),
            ast::Node::IsDistinct(left, right) => {
                let (left, right) = self.operands(left, right)?;
                let (left, right) = self.meet(left, right)?;
                Node::IsDistinct(Box::new(left), Box::new(right))
            }
            ast::Node::In(value, list) => return self.in_list(value, list, span),
            ast::Node::InQuery(value, query) => return self.in_query(value, query, span),
            ast::Node::Between(value, low, high) => {
                let low = self.comparison(CompareOp::Ge, value, low, span)?;
                self.charge(&low)?;
                let high = self.comparison(CompareOp::Le, value, high, span)?;
                Node::All(vec![low, high])
            }
            ast::Node::Like { text, pattern, ignore_case } => {
                let text = Box::new(self.expr_of(text, Type::String)?);
                Node::Like { text, pattern: like_pattern(pattern)?, ignore_case: *ignore_case }
            }
            _ => return fault(span, Rule::Syntax, "this is no condition"),
        };
        Ok(Expr::new(node, Type::Bool, span))
    }

    fn conditions(&mut self, terms: &[ast::Expr]) -> Outcome<Vec<Expr>> {
        terms.iter().map(|term| self.expr_of(term, Type::Bool)).collect()
    }

    pub(super) fn comparison(
        &mut self,
        op: CompareOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Outcome<Expr> {
        let (left, right) = self.operands(left, right)?;
        let (left, right) = self.meet(left, right)?;
        if left.ty == Type::Bool && !matches!(op, CompareOp::Eq | CompareOp::Ne) {
            return fault(span, Rule::TypeMismatch, "bools have no order; compare them with = or !=");
        }
        Ok(self.compare(op, left, right, span))
    }

    /// The comparison with a constant on its right; one with a bucket's start becomes one with the instant itself,
    /// so that the warehouse reads only the parts in question.
    fn compare(&self, op: CompareOp, left: Expr, right: Expr, span: Span) -> Expr {
        let (op, left, right) =
            if left.is_constant() && !right.is_constant() { (op.flipped(), right, left) } else { (op, left, right) };
        // Over groups the bucket is a key, and the instant is gone.
        if self.place == Place::Where || self.inside_aggregate {
            if let Some(direct) = by_instant(op, &left, &right, span) {
                return direct;
            }
            if let Node::InZone(inner, _) = left.node {
                return Expr::new(Node::Compare(op, inner, Box::new(right)), Type::Bool, span);
            }
        }
        Expr::new(Node::Compare(op, Box::new(left), Box::new(right)), Type::Bool, span)
    }

    fn in_list(&mut self, value: &ast::Expr, list: &[ast::Expr], span: Span) -> Outcome<Expr> {
        let all = std::iter::once(value).chain(list);
        let typed = self.unified(all, None)?;
        let mut typed = typed.into_iter();
        let Some(value) = typed.next() else { return fault(span, Rule::Syntax, "this list is empty") };
        let (constants, others): (Vec<_>, Vec<_>) = typed.partition(Expr::is_constant);
        let (nulls, constants): (Vec<_>, Vec<_>) = constants.into_iter().partition(|e| e.node == Node::Null);
        let mut tests = Vec::new();
        for other in others {
            let value = self.copy(&value)?;
            tests.push(self.compare(CompareOp::Eq, value, other, span));
        }
        if !nulls.is_empty() {
            // `x IN (1, NULL)` is true or unknown, never false.
            tests.push(Expr::new(Node::Null, Type::Bool, span));
        }
        if !constants.is_empty() {
            let node = match <[Expr; 1]>::try_from(constants) {
                Ok([one]) => return Ok(joined(self.compare(CompareOp::Eq, value, one, span), tests, span)),
                Err(constants) => Node::In(Box::new(value), constants),
            };
            return Ok(joined(Expr::new(node, Type::Bool, span), tests, span));
        }
        let Some(first) = tests.pop() else { return fault(span, Rule::Syntax, "this list is empty") };
        Ok(joined(first, tests, span))
    }
}

fn joined(first: Expr, mut rest: Vec<Expr>, span: Span) -> Expr {
    if rest.is_empty() {
        return first;
    }
    rest.insert(0, first);
    Expr::new(Node::Any(rest), Type::Bool, span)
}

/// `date_trunc(grain, timestamp) op constant` as a condition on the timestamp.
fn by_instant(op: CompareOp, left: &Expr, right: &Expr, span: Span) -> Option<Expr> {
    let (Node::Truncate(grain, zone, inner), Node::Time(ms)) = (&left.node, &right.node) else { return None };
    let field = match &inner.node {
        Node::Field(Field::Timestamp | Field::ReceivedAt) => inner,
        Node::InZone(inner, _) if matches!(inner.node, Node::Field(Field::Timestamp)) => inner,
        _ => return None,
    };
    let next = time::next_bucket(*ms, *grain, zone)?;
    let aligned = time::bucket_start(*ms, *grain, zone)? == *ms;
    let first = if aligned { *ms } else { next };
    let instant = |op, ms| {
        let right = Expr::new(Node::Time(ms), Type::Time, right.span);
        Expr::new(Node::Compare(op, field.clone(), Box::new(right)), Type::Bool, span)
    };
    let node = match op {
        CompareOp::Ge => return Some(instant(CompareOp::Ge, first)),
        CompareOp::Gt => return Some(instant(CompareOp::Ge, next)),
        CompareOp::Lt => return Some(instant(CompareOp::Lt, first)),
        CompareOp::Le => return Some(instant(CompareOp::Lt, next)),
        CompareOp::Eq if aligned => Node::All(vec![instant(CompareOp::Ge, *ms), instant(CompareOp::Lt, next)]),
        CompareOp::Ne if aligned => Node::Any(vec![instant(CompareOp::Lt, *ms), instant(CompareOp::Ge, next)]),
        CompareOp::Eq | CompareOp::Ne => Node::Bool(op == CompareOp::Ne),
    };
    Some(Expr::new(node, Type::Bool, span))
}

/// A backslash before anything but `%`, `_` and itself stands for nothing in SQL, for itself in the engine: leave it out.
fn like_pattern(pattern: &ast::Expr) -> Outcome<String> {
    let text = super::literal_text(pattern, "the pattern of LIKE")?.text;
    let mut normal = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            normal.push(c);
            continue;
        }
        match chars.next() {
            Some(escaped @ ('%' | '_' | '\\')) => normal.extend(['\\', escaped]),
            Some(plain) => normal.push(plain),
            None => {
                let message = "the pattern ends in a lone backslash; write \\\\ for a backslash";
                return fault(pattern.span, Rule::WrongArguments, message);
            }
        }
    }
    Ok(normal)
}
