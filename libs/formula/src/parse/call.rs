//! Function calls and the forms that look like them.

use super::{Outcome, Parser, deepest, expr::power};
use crate::{
    ast::{Call, Expr, Node, OrderItem, Word},
    token::Kind,
};

impl Parser<'_> {
    pub(super) fn call(&mut self) -> Outcome<Expr> {
        let name = self.call_name();
        self.advance();
        match name.text.to_ascii_lowercase().as_str() {
            "cast" | "try_cast" => return self.cast(name),
            "extract" => return self.extract(name),
            _ => {}
        }
        let mut call = Call { name, distinct: false, star: false, args: Vec::new(), within: None, filter: None };
        self.arguments(&mut call)?;
        self.expect(")", "after the arguments")?;
        self.suffixes(&mut call)?;
        let span = self.since(call.name.span);
        let within = call.within.as_ref().map_or(0, |order| order.expr.depth);
        let filter = call.filter.as_ref().map_or(0, |filter| filter.depth);
        let depth = deepest(&call.args).max(within).max(filter);
        self.node(span, depth, Node::Call(call))
    }

    fn call_name(&mut self) -> Word {
        let text = match self.token().kind {
            Kind::Word(word) => word.to_owned(),
            _ => String::new(),
        };
        let span = self.span();
        self.advance();
        Word { text, span }
    }

    fn arguments(&mut self, call: &mut Call) -> Outcome<()> {
        if self.is("*") && self.is_ahead(1, ")") {
            call.star = true;
            self.advance();
            return Ok(());
        }
        if self.is(")") {
            return Ok(());
        }
        call.distinct = self.eat_word("distinct");
        if !call.distinct {
            self.eat_word("all");
        }
        self.refuse_subquery()?;
        // Several columns of COUNT(DISTINCT ...) may stand in brackets of their own.
        let bracketed = call.distinct && self.is("(") && self.tuple_follows();
        if bracketed {
            self.advance();
        }
        call.args = if call.name.text.eq_ignore_ascii_case("position") {
            self.position_arguments()?
        } else {
            self.nested(|p| p.list("an argument"))?
        };
        if bracketed {
            self.expect(")", "after the columns")?;
        }
        Ok(())
    }

    /// `POSITION(needle IN text)`, where IN is no list.
    fn position_arguments(&mut self) -> Outcome<Vec<Expr>> {
        let needle = self.operand(power::RANGE)?;
        if !self.eat_word("in") {
            return self.unexpected("IN, as in POSITION('b' IN status)");
        }
        Ok(vec![needle, self.expr()?])
    }

    /// Whether the bracket that opens here closes right before the one of the call.
    fn tuple_follows(&self) -> bool {
        let mut level = 0usize;
        let mut commas = 0usize;
        for by in 0.. {
            match self.ahead(by).kind {
                Kind::Symbol("(") => level += 1,
                Kind::Symbol(")") if level == 1 => return commas > 0 && self.is_ahead(by + 1, ")"),
                Kind::Symbol(")") => level -= 1,
                Kind::Symbol(",") if level == 1 => commas += 1,
                Kind::End => return false,
                _ => {}
            }
        }
        false
    }

    /// `WITHIN GROUP (ORDER BY x)`, `FILTER (WHERE c)`, and a word on OVER.
    fn suffixes(&mut self, call: &mut Call) -> Outcome<()> {
        if self.eat_words(&["within", "group"]) {
            self.expect("(", "after WITHIN GROUP")?;
            self.expect_word("order", "BY in WITHIN GROUP")?;
            self.expect_word("by", "after ORDER")?;
            let order: OrderItem = self.order_item()?;
            call.within = Some(Box::new(order));
            self.expect(")", "after WITHIN GROUP")?;
        }
        if self.is_word("filter") && self.is_ahead(1, "(") {
            self.advance();
            self.advance();
            self.expect_word("where", "in FILTER (WHERE ...)")?;
            call.filter = Some(Box::new(self.expr()?));
            self.expect(")", "after FILTER")?;
        }
        if self.is_word("over") && (self.is_ahead(1, "(") || matches!(self.ahead(1).kind, Kind::Word(_))) {
            return self.not_available(self.span(), "window functions (OVER) are not available yet");
        }
        Ok(())
    }

    /// `CAST(x AS type)`
    fn cast(&mut self, name: Word) -> Outcome<Expr> {
        let value = self.expr()?;
        self.expect_word("as", "and a type, as in CAST(x AS number)")?;
        let to = self.type_name()?;
        self.expect(")", "after the type")?;
        let (span, depth) = (self.since(name.span), value.depth);
        self.node(span, depth, Node::Cast { value: Box::new(value), to })
    }

    /// `EXTRACT(hour FROM x)`
    fn extract(&mut self, name: Word) -> Outcome<Expr> {
        let part = match self.token().kind.clone() {
            Kind::Text(text) => {
                let span = self.span();
                self.advance();
                Word { text: text.into_owned(), span }
            }
            _ => match self.eat_name() {
                Some(part) => part,
                None => return self.unexpected("a part of a date, as in EXTRACT(hour FROM timestamp)"),
            },
        };
        self.expect_word("from", "in EXTRACT(hour FROM timestamp)")?;
        let time = self.expr()?;
        self.expect(")", "after EXTRACT")?;
        let (span, depth) = (self.since(name.span), time.depth);
        self.node(span, depth, Node::Extract(part, Box::new(time)))
    }

    /// `CASE [x] WHEN a THEN b ... [ELSE c] END`
    pub(super) fn case(&mut self) -> Outcome<Expr> {
        let start = self.span();
        self.advance();
        let operand = if self.is_word("when") { None } else { Some(Box::new(self.expr()?)) };
        let mut branches = Vec::new();
        while self.eat_word("when") {
            let condition = self.expr()?;
            self.expect_word("then", "after the condition of WHEN")?;
            branches.push((condition, self.expr()?));
        }
        if branches.is_empty() {
            return self.unexpected("WHEN in this CASE");
        }
        let otherwise = if self.eat_word("else") { Some(Box::new(self.expr()?)) } else { None };
        self.expect_word("end", "to close this CASE")?;
        let span = self.since(start);
        let ends = operand.iter().chain(&otherwise).map(|e| e.depth).max().unwrap_or(0);
        let depth = deepest(branches.iter().flat_map(|(when, then)| [when, then])).max(ends);
        self.node(span, depth, Node::Case { operand, branches, otherwise })
    }
}
