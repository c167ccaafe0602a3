//! Expressions, by binding power.

use super::{NO_QUERIES, Outcome, Parser, Rule, Span, deepest, fault, is_reserved};
use crate::{
    ast::{BinaryOp, CompareOp, Expr, Name, Node, Word},
    interval::Interval,
    token::Kind,
};

/// How tightly operators bind, as in PostgreSQL; an operand is read until one binds no tighter.
pub(super) mod power {
    pub(in crate::parse) const OR: u8 = 1;
    pub(in crate::parse) const AND: u8 = 2;
    pub(in crate::parse) const NOT: u8 = 3;
    pub(in crate::parse) const IS: u8 = 4;
    pub(in crate::parse) const COMPARE: u8 = 5;
    pub(in crate::parse) const RANGE: u8 = 6;
    pub(in crate::parse) const CONCAT: u8 = 7;
    pub(in crate::parse) const ADD: u8 = 8;
    pub(in crate::parse) const MULTIPLY: u8 = 9;
    pub(in crate::parse) const ZONE: u8 = 10;
    pub(in crate::parse) const NEGATE: u8 = 11;
    pub(in crate::parse) const CAST: u8 = 12;
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Outcome<Expr> {
        self.operand(0)
    }

    /// An expression of the operators that bind tighter than `least`.
    pub(super) fn operand(&mut self, least: u8) -> Outcome<Expr> {
        self.nested(|p| {
            let mut left = p.prefix()?;
            while let Some(power) = p.infix_power().filter(|power| *power > least) {
                left = p.infix(left, power)?;
            }
            Ok(left)
        })
    }

    fn prefix(&mut self) -> Outcome<Expr> {
        let start = self.span();
        if self.eat_word("not") {
            let inner = self.operand(power::NOT)?;
            return self.unary(start, inner, Node::Not);
        }
        if self.eat("-") {
            let inner = self.operand(power::NEGATE)?;
            return self.negate(start, inner);
        }
        if self.eat("+") {
            return self.operand(power::NEGATE);
        }
        self.primary()
    }

    /// A minus before a number is part of the number.
    fn negate(&mut self, start: Span, mut inner: Expr) -> Outcome<Expr> {
        match &mut inner.node {
            Node::Integer(i) => *i = -*i,
            Node::Number(x) => *x = -*x,
            _ => return self.unary(start, inner, Node::Negate),
        }
        inner.span = start.to(inner.span);
        Ok(inner)
    }

    fn unary(&mut self, start: Span, inner: Expr, make: impl FnOnce(Box<Expr>) -> Node) -> Outcome<Expr> {
        let (span, depth) = (start.to(inner.span), inner.depth);
        self.node(span, depth, make(Box::new(inner)))
    }

    /// The binding power of the operator that follows, if one does.
    fn infix_power(&self) -> Option<u8> {
        match self.token().kind {
            Kind::Symbol("+" | "-") => Some(power::ADD),
            Kind::Symbol("*" | "/" | "%") => Some(power::MULTIPLY),
            Kind::Symbol("||") => Some(power::CONCAT),
            Kind::Symbol("=" | "<>" | "<" | "<=" | ">" | ">=") => Some(power::COMPARE),
            Kind::Symbol("::") => Some(power::CAST),
            Kind::Word(word) => {
                let words = [
                    ("or", power::OR),
                    ("and", power::AND),
                    ("is", power::IS),
                    ("in", power::RANGE),
                    ("between", power::RANGE),
                    ("like", power::RANGE),
                    ("ilike", power::RANGE),
                    ("similar", power::RANGE),
                    ("not", power::RANGE),
                    ("at", power::ZONE),
                ];
                let known = words.into_iter().find(|(w, _)| word.eq_ignore_ascii_case(w)).map(|(_, power)| power);
                // What these begin may as well be a column's name.
                let of_two = [("at", "time"), ("similar", "to")];
                let second = of_two.into_iter().find(|(first, _)| word.eq_ignore_ascii_case(first));
                known.filter(|_| second.is_none_or(|(_, second)| self.is_word_ahead(1, second)))
            }
            _ => None,
        }
    }

    fn infix(&mut self, left: Expr, power: u8) -> Outcome<Expr> {
        match power {
            power::OR => self.chain(left, "or", power),
            power::AND => self.chain(left, "and", power),
            power::IS => self.is_test(left),
            power::RANGE => self.range_test(left),
            power::ZONE => self.at_time_zone(left),
            power::CAST => self.cast_suffix(left),
            _ => self.binary(left, power),
        }
    }

    /// `a AND b AND c` is one node, so that a long list of conditions is no deep tree.
    fn chain(&mut self, left: Expr, word: &str, power: u8) -> Outcome<Expr> {
        let mut terms = vec![left];
        while self.eat_word(word) {
            terms.push(self.operand(power)?);
        }
        let span = self.since(terms[0].span);
        let depth = deepest(&terms);
        self.node(span, depth, if word == "and" { Node::All(terms) } else { Node::Any(terms) })
    }

    fn binary(&mut self, left: Expr, power: u8) -> Outcome<Expr> {
        let Kind::Symbol(symbol) = self.token().kind else { return self.unexpected("an operator") };
        self.advance();
        let right = self.operand(power)?;
        let op = match symbol {
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Subtract,
            "*" => BinaryOp::Multiply,
            "/" => BinaryOp::Divide,
            "%" => BinaryOp::Remainder,
            "||" => BinaryOp::Concat,
            "=" => BinaryOp::Compare(CompareOp::Eq),
            "<>" => BinaryOp::Compare(CompareOp::Ne),
            "<" => BinaryOp::Compare(CompareOp::Lt),
            "<=" => BinaryOp::Compare(CompareOp::Le),
            ">" => BinaryOp::Compare(CompareOp::Gt),
            _ => BinaryOp::Compare(CompareOp::Ge),
        };
        self.pair(left, right, |left, right| Node::Binary(op, left, right))
    }

    fn pair(&mut self, left: Expr, right: Expr, make: impl FnOnce(Box<Expr>, Box<Expr>) -> Node) -> Outcome<Expr> {
        let (span, depth) = (left.span.to(right.span), left.depth.max(right.depth));
        self.node(span, depth, make(Box::new(left), Box::new(right)))
    }

    /// `IS [NOT] NULL | TRUE | FALSE | DISTINCT FROM x`
    fn is_test(&mut self, left: Expr) -> Outcome<Expr> {
        self.advance();
        let negated = self.eat_word("not");
        let start = left.span;
        let test = if self.eat_word("null") {
            self.unary(start, left, Node::IsNull)?
        } else if self.eat_word("true") {
            self.unary(start, left, |e| Node::IsBool(e, true))?
        } else if self.eat_word("false") {
            self.unary(start, left, |e| Node::IsBool(e, false))?
        } else if self.eat_words(&["distinct", "from"]) {
            let right = self.operand(power::IS)?;
            self.pair(left, right, Node::IsDistinct)?
        } else {
            return self.unexpected("NULL, TRUE, FALSE or DISTINCT FROM after IS");
        };
        self.negated_if(negated, test)
    }

    /// `[NOT] IN (...) | BETWEEN a AND b | LIKE p | ILIKE p`
    fn range_test(&mut self, left: Expr) -> Outcome<Expr> {
        let negated = self.eat_word("not");
        let test = if self.eat_word("in") {
            self.in_list(left)?
        } else if self.eat_word("between") {
            let low = self.operand(power::RANGE)?;
            self.expect_word("and", "between the bounds of BETWEEN")?;
            let high = self.operand(power::RANGE)?;
            let span = self.since(left.span);
            let depth = deepest([&left, &low, &high]);
            self.node(span, depth, Node::Between(Box::new(left), Box::new(low), Box::new(high)))?
        } else if self.is_word("like") || self.is_word("ilike") {
            let ignore_case = self.is_word("ilike");
            self.advance();
            let pattern = self.operand(power::RANGE)?;
            self.pair(left, pattern, |text, pattern| Node::Like { text, pattern, ignore_case })?
        } else if self.is_word("similar") {
            return self.not_available(self.span(), "SIMILAR TO is not available; write LIKE, ILIKE or CONTAINS");
        } else {
            return self.unexpected("IN, BETWEEN, LIKE or ILIKE after NOT");
        };
        self.negated_if(negated, test)
    }

    fn negated_if(&mut self, negated: bool, mut test: Expr) -> Outcome<Expr> {
        test.span = self.since(test.span);
        if negated { self.unary(test.span, test, Node::Not) } else { Ok(test) }
    }

    fn in_list(&mut self, left: Expr) -> Outcome<Expr> {
        self.expect("(", "after IN")?;
        if self.is_query() {
            let (query, depth) = self.subquery()?;
            let (span, depth) = (self.since(left.span), depth.max(left.depth));
            return self.node(span, depth, Node::InQuery(Box::new(left), query));
        }
        let list = self.list("an item of the list")?;
        self.expect(")", "after the list")?;
        let span = self.since(left.span);
        let depth = left.depth.max(deepest(&list));
        self.node(span, depth, Node::In(Box::new(left), list))
    }

    /// One or more expressions between commas.
    pub(super) fn list(&mut self, what: &str) -> Outcome<Vec<Expr>> {
        if self.is(")") {
            return self.unexpected(what);
        }
        let mut list = vec![self.expr()?];
        while self.eat(",") {
            list.push(self.expr()?);
        }
        Ok(list)
    }

    fn at_time_zone(&mut self, left: Expr) -> Outcome<Expr> {
        self.advance();
        self.expect_word("time", "in AT TIME ZONE")?;
        self.expect_word("zone", "in AT TIME ZONE")?;
        let zone = self.operand(power::ZONE)?;
        self.pair(left, zone, Node::AtTimeZone)
    }

    fn cast_suffix(&mut self, left: Expr) -> Outcome<Expr> {
        self.advance();
        let to = self.type_name()?;
        let (span, depth) = (self.since(left.span), left.depth);
        if let (Node::Text(text), "interval") = (&left.node, to.text.to_ascii_lowercase().as_str()) {
            let interval = Interval::parse(text, span)?;
            return self.node(span, 0, Node::Interval(interval));
        }
        self.node(span, depth, Node::Cast { value: Box::new(left), to })
    }

    /// The name of a type; `double precision` and a width in brackets are read as PostgreSQL does.
    pub(super) fn type_name(&mut self) -> Outcome<Word> {
        let Some(word) = self.eat_name() else {
            return self.unexpected("a type: number, integer, string, bool or time");
        };
        if word.text.eq_ignore_ascii_case("double") {
            self.eat_word("precision");
        }
        if self.is("(") && matches!(self.ahead(1).kind, Kind::Number(_)) {
            while !self.is(")") && !self.is_end() {
                self.advance();
            }
            self.expect(")", "after the width of the type")?;
        }
        Ok(Word { span: self.since(word.span), ..word })
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let span = self.span();
        match self.token().kind.clone() {
            Kind::Number(digits) => {
                self.advance();
                let node = number(digits, span)?;
                self.node(span, 0, node)
            }
            Kind::Text(text) => {
                self.advance();
                self.node(span, 0, Node::Text(text.into_owned()))
            }
            Kind::Symbol("(") => {
                self.advance();
                if self.is_query() {
                    let (query, depth) = self.subquery()?;
                    return self.node(self.since(span), depth, Node::Subquery(query));
                }
                let mut inner = self.expr()?;
                self.expect(")", "to close this bracket")?;
                inner.span = self.since(span);
                Ok(inner)
            }
            Kind::Metric(_) if self.queries != NO_QUERIES => {
                self.not_available(span, "metrics stand in formulas alone; write out what it is")
            }
            Kind::Metric(name) => {
                self.advance();
                self.node(span, 0, Node::Metric(name.to_owned()))
            }
            Kind::Symbol("*") => fault(span, Rule::Syntax, "`*` stands only in COUNT(*); name the columns instead"),
            Kind::Word(word) => self.word(word),
            Kind::Quoted(_) => self.name(),
            _ => self.unexpected("a field, a value or a function"),
        }
    }

    /// A word that begins an operand: a literal, a form of its own, a function or a name.
    fn word(&mut self, word: &str) -> Outcome<Expr> {
        let span = self.span();
        let text_follows = matches!(self.ahead(1).kind, Kind::Text(_));
        let number_follows = matches!(self.ahead(1).kind, Kind::Number(_) | Kind::Symbol("-"));
        let literal = match word.to_ascii_lowercase().as_str() {
            "null" => Node::Null,
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "case" => return self.case(),
            "exists" | "any" if self.is_ahead(1, "(") => {
                return self.not_available(span, "EXISTS and ANY are not available; write x IN (SELECT ...)");
            }
            "interval" if text_follows || number_follows => return self.interval(),
            "timestamp" | "timestamptz" | "date" if text_follows => {
                self.advance();
                let Kind::Text(text) = self.token().kind.clone() else { return self.unexpected("a time in quotes") };
                Node::TimeLiteral(text.into_owned())
            }
            "left" if self.is_ahead(1, "(") => return self.call(),
            _ if is_reserved(word) => return self.unexpected("a field, a value or a function"),
            _ if self.is_ahead(1, "(") => return self.call(),
            _ => return self.name(),
        };
        self.advance();
        let span = self.since(span);
        self.node(span, 0, literal)
    }

    fn name(&mut self) -> Outcome<Expr> {
        let mut quoted = matches!(self.token().kind, Kind::Quoted(_));
        let Some(first) = self.eat_name() else { return self.unexpected("a name") };
        let mut name = Name { qualifier: None, name: first.text, quoted };
        if self.eat(".") {
            if self.is("*") {
                return fault(self.since(first.span), Rule::NotAvailable, "name the columns instead of `*`");
            }
            quoted = matches!(self.token().kind, Kind::Quoted(_));
            let Some(second) = self.eat_name() else { return self.unexpected("a name after the dot") };
            let qualifier = Some(Word { text: name.name, span: first.span });
            name = Name { qualifier, name: second.text, quoted };
        }
        let span = self.since(first.span);
        self.node(span, 0, Node::Name(name))
    }

    /// `INTERVAL 30 DAY`, `INTERVAL '30' DAY`, `INTERVAL '30 days'`
    fn interval(&mut self) -> Outcome<Expr> {
        let start = self.span();
        self.advance();
        let sign = if self.eat("-") { "-" } else { "" };
        let amount = match self.token().kind.clone() {
            Kind::Number(digits) => digits.to_owned(),
            Kind::Text(text) => text.into_owned(),
            _ => return self.unexpected("a number after INTERVAL"),
        };
        let whole = matches!(self.token().kind, Kind::Text(_)) && amount.trim().parse::<f64>().is_err();
        self.advance();
        let interval = if whole {
            let interval = Interval::parse(&amount, self.since(start))?;
            if sign.is_empty() { interval } else { interval.negated() }
        } else {
            let Some(unit) = self.eat_name() else { return self.unexpected("a unit of time, as in INTERVAL 30 DAY") };
            Interval::from_parts(&format!("{sign}{amount}"), &unit.text, self.since(start))?
        };
        let span = self.since(start);
        self.node(span, 0, Node::Interval(interval))
    }
}

/// Whole numbers within ±2^53 are integers; everything else is a 64-bit float.
fn number(digits: &str, span: Span) -> Outcome<Node> {
    if let Ok(integer) = digits.parse::<i64>()
        && integer <= model::MAX_EXACT_INTEGER
    {
        return Ok(Node::Integer(integer));
    }
    match digits.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(Node::Number(x)),
        _ => fault(span, Rule::InvalidNumber, "this number is too large; a number is a 64-bit float"),
    }
}
