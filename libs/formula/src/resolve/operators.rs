//! Arithmetic, concatenation and CASE.

use super::{Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault};
use crate::{ast::BinaryOp, functions::CONCATENATION, interval::Interval, time, typed::Arithmetic};

impl Resolver<'_> {
    pub(super) fn binary(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Outcome<Expr> {
        let arithmetic = match op {
            BinaryOp::Compare(op) => return self.comparison(op, left, right, span),
            BinaryOp::Concat => return self.concatenation(left, right, span),
            BinaryOp::Add => Arithmetic::Add,
            BinaryOp::Subtract => Arithmetic::Subtract,
            BinaryOp::Multiply => Arithmetic::Multiply,
            BinaryOp::Divide => Arithmetic::Divide,
            BinaryOp::Remainder => Arithmetic::Remainder,
        };
        match (arithmetic, &left.node, &right.node) {
            (Arithmetic::Add, _, ast::Node::Interval(by)) => self.shifted(left, *by, span),
            (Arithmetic::Add, ast::Node::Interval(by), _) => self.shifted(right, *by, span),
            (Arithmetic::Subtract, _, ast::Node::Interval(by)) => self.shifted(left, by.negated(), span),
            _ => self.arithmetic(arithmetic, left, right, span),
        }
    }

    fn arithmetic(&mut self, op: Arithmetic, left: &ast::Expr, right: &ast::Expr, span: Span) -> Outcome<Expr> {
        let left = self.number(left)?;
        let right = self.number(right)?;
        let whole = left.ty == Type::Integer && right.ty == Type::Integer;
        // A product of two integers can leave 64 bits, a quotient is seldom whole: both are floats.
        let ty = match op {
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Remainder if whole => Type::Integer,
            _ => Type::Number,
        };
        let (left, right) = (left.into_type(ty, &self.zone), right.into_type(ty, &self.zone));
        Ok(Expr::new(Node::Arithmetic(op, Box::new(left), Box::new(right)), ty, span))
    }

    fn number(&mut self, expr: &ast::Expr) -> Outcome<Expr> {
        let typed = self.expr(expr, Some(Type::Number))?;
        let typed = self.literal_as(typed, Type::Number, &self.zone)?;
        match typed.ty {
            Type::Null => Ok(Expr::new(typed.node, Type::Number, typed.span)),
            ty if ty.is_numeric() => Ok(typed),
            Type::Time => fault(
                typed.span,
                Rule::TypeMismatch,
                "times are not numbers; write time + INTERVAL 1 DAY, or date_diff('second', a, b) for the distance",
            ),
            other => fault(
                typed.span,
                Rule::TypeMismatch,
                format!(
                    "this is {}, but arithmetic needs numbers{}",
                    other.described(),
                    super::conversion(other, Type::Number)
                ),
            ),
        }
    }

    pub(super) fn negate(&mut self, inner: &ast::Expr, span: Span) -> Outcome<Expr> {
        if let ast::Node::Interval(_) = inner.node {
            return fault(span, Rule::TypeMismatch, "write the minus before the interval's number, or subtract it");
        }
        let inner = self.number(inner)?;
        let ty = inner.ty;
        Ok(Expr::new(Node::Negate(Box::new(inner)), ty, span))
    }

    fn concatenation(&mut self, left: &ast::Expr, right: &ast::Expr, span: Span) -> Outcome<Expr> {
        let sides = vec![self.expr_of(left, Type::String)?, self.expr_of(right, Type::String)?];
        Ok(Expr::new(Node::Call(&CONCATENATION, sides), Type::String, span))
    }

    /// A time and an interval: a constant moves now, everything else in the engine.
    fn shifted(&mut self, time: &ast::Expr, by: Interval, span: Span) -> Outcome<Expr> {
        let time = self.expr_of(time, Type::Time)?;
        let zone = self.zone_of(&time);
        if let Node::Time(ms) = time.node {
            return match time::shift(ms, by, &zone) {
                Some(ms) => Ok(Expr::new(Node::Time(ms), Type::Time, span)),
                None => fault(span, Rule::InvalidTime, "this time lies outside the years 1900 to 2299"),
            };
        }
        Ok(Expr::new(Node::Shift(Box::new(time), by, zone), Type::Time, span))
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        branches: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
        span: Span,
        hint: Option<Type>,
    ) -> Outcome<Expr> {
        let mut conditions = Vec::with_capacity(branches.len());
        for (when, _) in branches {
            conditions.push(match operand {
                Some(operand) => {
                    let condition = self.comparison(ast::CompareOp::Eq, operand, when, when.span)?;
                    self.charge(&condition)?;
                    condition
                }
                None => self.expr_of(when, Type::Bool)?,
            });
        }
        let results = branches.iter().map(|(_, then)| then).chain(otherwise);
        let mut results = self.unified(results, hint)?;
        let ty = results.first().map_or(Type::Null, |first| first.ty);
        let otherwise = if otherwise.is_some() { results.pop().map(Box::new) } else { None };
        let branches = conditions.into_iter().zip(results).collect();
        Ok(Expr::new(Node::Case { branches, otherwise }, ty, span))
    }

    /// Values as values of the one type that they have in common.
    pub(super) fn unified<'e>(
        &mut self,
        exprs: impl Iterator<Item = &'e ast::Expr> + Clone,
        hint: Option<Type>,
    ) -> Outcome<Vec<Expr>> {
        let hint = match hint {
            Some(hint) => Some(hint),
            None => self.first_type(exprs.clone())?,
        };
        let mut typed = Vec::new();
        for expr in exprs {
            typed.push(self.expr(expr, hint)?);
        }
        let mut ty = typed.iter().find(|e| !e.is_constant()).map_or(Type::Null, |e| e.ty);
        for expr in &mut typed {
            let owned = std::mem::replace(expr, Expr::new(Node::Null, Type::Null, Span::default()));
            *expr = self.literal_as(owned, ty, &self.zone)?;
            let Some(common) = ty.common(expr.ty) else {
                let message = format!("this is {}, but the values before it are of type {ty}", expr.ty.described());
                return fault(expr.span, Rule::TypeMismatch, message);
            };
            ty = common;
        }
        Ok(typed
            .into_iter()
            .map(|e| Expr { ty: if e.ty == Type::Null { ty } else { e.ty }, ..e }.into_type(ty, &self.zone))
            .collect())
    }

    /// The type of the first that has one by itself, if some among them need to be told.
    fn first_type<'e>(&mut self, mut exprs: impl Iterator<Item = &'e ast::Expr> + Clone) -> Outcome<Option<Type>> {
        if !exprs.clone().any(|e| self.has_several_kinds(e)) {
            return Ok(None);
        }
        let decided = exprs.find(|e| !self.has_several_kinds(e));
        let Some(decided) = decided else { return Ok(None) };
        let typed = self.expr(decided, None)?;
        self.charge(&typed)?;
        Ok(Some(typed.ty))
    }
}
