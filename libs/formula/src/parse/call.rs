//! Function calls and the forms that look like them.

use super::{Outcome, Parser, Rule, deepest, expr::power, fault};
use crate::{
    ast::{Call, Expr, Frame, Node, OrderItem, Over, Word},
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
        let mut call =
            Call { name, distinct: false, star: false, args: Vec::new(), within: None, filter: None, over: None };
        self.arguments(&mut call)?;
        self.expect(")", "after the arguments")?;
        self.suffixes(&mut call)?;
        let span = self.since(call.name.span);
        let within = call.within.as_ref().map_or(0, |order| order.expr.depth);
        let filter = call.filter.as_ref().map_or(0, |filter| filter.depth);
        let over = call
            .over
            .as_ref()
            .map_or(0, |over| deepest(over.partition_by.iter().chain(over.order_by.iter().map(|item| &item.expr))));
        let depth = deepest(&call.args).max(within).max(filter).max(over);
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
        if self.is_query() {
            return self.not_available(self.span(), "a query in an expression stands in brackets of its own");
        }
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

    /// `WITHIN GROUP (ORDER BY x)`, `FILTER (WHERE c)`, `OVER (...)`
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
        if self.is_word("over") && self.is_ahead(1, "(") {
            self.advance();
            self.advance();
            call.over = Some(Box::new(self.nested(Self::over)?));
            self.expect(")", "to close the window")?;
        } else if self.is_word("over") && matches!(self.ahead(1).kind, Kind::Word(_)) {
            let message = "windows have no names; write the window itself, as in OVER (ORDER BY day)";
            return self.not_available(self.span(), message);
        }
        Ok(())
    }

    /// `[PARTITION BY ...] [ORDER BY ...] [ROWS BETWEEN ... AND ...]`
    fn over(&mut self) -> Outcome<Over> {
        let partition_by = if self.eat_words(&["partition", "by"]) { self.list("a column")? } else { Vec::new() };
        let order_by = if self.eat_words(&["order", "by"]) { self.order_by()? } else { Vec::new() };
        let frame = self.frame()?;
        Ok(Over { partition_by, order_by, frame })
    }

    /// `ROWS BETWEEN 6 PRECEDING AND CURRENT ROW`, `ROWS 6 PRECEDING`; the RANGE that is meant without any.
    fn frame(&mut self) -> Outcome<Option<Frame>> {
        let start = self.span();
        let rows = self.eat_word("rows");
        if !rows && !self.eat_word("range") {
            return match self.is_word("groups") {
                true => self.not_available(start, "frames are counted in ROWS"),
                false => Ok(None),
            };
        }
        let frame = if self.eat_word("between") {
            let first = self.frame_end()?;
            self.expect_word("and", "between the ends of the frame")?;
            Frame { first, last: self.frame_end()? }
        } else {
            Frame { first: self.frame_end()?, last: Some(0) }
        };
        let span = self.since(start);
        if frame.first.zip(frame.last).is_some_and(|(first, last)| first > last) {
            return fault(span, Rule::WrongArguments, "this frame ends before it begins");
        }
        if rows {
            return Ok(Some(frame));
        }
        if frame == (Frame { first: None, last: Some(0) }) {
            return Ok(None);
        }
        self.not_available(span, "frames are counted in ROWS, as in ROWS BETWEEN 6 PRECEDING AND CURRENT ROW")
    }

    /// So many rows after the current one, before it if negative; `None` at the partition's end.
    fn frame_end(&mut self) -> Outcome<Option<i64>> {
        const EXPECTED: &str = "UNBOUNDED PRECEDING, 6 PRECEDING, CURRENT ROW, 6 FOLLOWING or UNBOUNDED FOLLOWING";
        if self.eat_words(&["current", "row"]) {
            return Ok(Some(0));
        }
        let rows = match self.token().kind {
            Kind::Number(digits) => match digits.parse::<i32>() {
                Ok(rows) => Some(i64::from(rows)),
                Err(_) => return self.unexpected("a number of rows below 2^31"),
            },
            _ if self.is_word("unbounded") => None,
            _ => return self.unexpected(EXPECTED),
        };
        self.advance();
        if self.eat_word("preceding") {
            Ok(rows.map(|rows| -rows))
        } else if self.eat_word("following") {
            Ok(rows)
        } else {
            self.unexpected("PRECEDING or FOLLOWING")
        }
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
