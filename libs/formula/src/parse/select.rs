//! `SELECT` and its clauses.

use super::{Outcome, Parser, Rule, fault};
use crate::{
    ast::{Expr, Node, OrderItem, Select, SelectItem},
    diagnostics::Span,
    suggest::did_you_mean,
    token::Kind,
};

const SUBQUERIES: &str = "subqueries are not available yet; one SELECT reads `events`";

impl Parser<'_> {
    pub(super) fn select(&mut self) -> Outcome<Select> {
        self.begin()?;
        let distinct = self.eat_word("distinct");
        if distinct && self.is_word("on") {
            return self.not_available(self.span(), "DISTINCT ON is not available; use GROUP BY");
        }
        let items = self.items()?;
        let table_alias = self.from()?;
        let filter = if self.eat_word("where") { conjuncts(self.expr()?) } else { Vec::new() };
        let group_by = if self.clause("group", "group by")? { self.group_by()? } else { Vec::new() };
        let having = if self.eat_word("having") { Some(self.expr()?) } else { None };
        let order_by = if self.clause("order", "order by")? { self.order_by()? } else { Vec::new() };
        let (limit, offset) = self.limit()?;
        Ok(Select { distinct, items, table_alias, filter, group_by, having, order_by, limit, offset })
    }

    fn begin(&mut self) -> Outcome<()> {
        if self.eat_word("select") {
            return Ok(());
        }
        if self.is_word("with") {
            return self.not_available(self.span(), "WITH is not available yet; one SELECT reads `events`");
        }
        match self.token().kind {
            Kind::End => fault(self.span(), Rule::Syntax, "the query is empty; it begins with SELECT"),
            _ => self.unexpected("SELECT; a query only reads"),
        }
    }

    fn items(&mut self) -> Outcome<Vec<SelectItem>> {
        let mut items = vec![self.item()?];
        while self.eat(",") {
            items.push(self.item()?);
        }
        Ok(items)
    }

    fn item(&mut self) -> Outcome<SelectItem> {
        if self.is("*") {
            let message = "`SELECT *` is not available; name the columns, as in SELECT timestamp, event_type, user_id";
            return self.not_available(self.span(), message);
        }
        let expr = self.expr()?;
        let explicit = self.eat_word("as");
        let alias = self.eat_name();
        if explicit && alias.is_none() {
            return self.unexpected("a name after AS; put it in \"...\" if it is a word of the language");
        }
        Ok(SelectItem { expr, alias })
    }

    /// `FROM events [AS e]`
    fn from(&mut self) -> Outcome<Option<String>> {
        self.expect_word("from", "events")?;
        if self.is("(") {
            return self.not_available(self.span(), SUBQUERIES);
        }
        let Some(mut table) = self.eat_name() else { return self.unexpected("the table `events`") };
        while self.eat(".") {
            let Some(part) = self.eat_name() else { return self.unexpected("a name after the dot") };
            table.text = format!("{}.{}", table.text, part.text);
            table.span = table.span.to(part.span);
        }
        if self.is("(") {
            return self.not_available(table.span, "table functions are not available; the table is `events`");
        }
        if !table.text.eq_ignore_ascii_case("events") {
            return unknown_table(&table.text, table.span);
        }
        self.unsupported_clause()?;
        let explicit = self.eat_word("as");
        let alias = self.eat_name();
        if explicit && alias.is_none() {
            return self.unexpected("another name for the table after AS");
        }
        self.unsupported_clause()?;
        Ok(alias.map(|word| word.text))
    }

    /// Whether a clause of two words begins here.
    fn clause(&mut self, first: &str, both: &str) -> Outcome<bool> {
        self.unsupported_clause()?;
        if !self.eat_word(first) {
            return Ok(false);
        }
        self.expect_word("by", &format!("in {}", both.to_uppercase()))?;
        Ok(true)
    }

    fn group_by(&mut self) -> Outcome<Vec<Expr>> {
        if self.is_word("all") {
            return self
                .not_available(self.span(), "GROUP BY ALL is not available; name the columns or their positions");
        }
        for word in ["rollup", "cube", "grouping"] {
            if self.is_word(word) && !self.is_ahead(1, ",") {
                let message = "ROLLUP, CUBE and GROUPING SETS are not available";
                return self.not_available(self.span(), message);
            }
        }
        let mut keys = vec![self.expr()?];
        while self.eat(",") {
            keys.push(self.expr()?);
        }
        if self.is_word("with") {
            return self.not_available(self.span(), "WITH ROLLUP, CUBE and TOTALS are not available");
        }
        Ok(keys)
    }

    fn order_by(&mut self) -> Outcome<Vec<OrderItem>> {
        let mut items = vec![self.order_item()?];
        while self.eat(",") {
            items.push(self.order_item()?);
        }
        Ok(items)
    }

    pub(super) fn order_item(&mut self) -> Outcome<OrderItem> {
        let expr = self.expr()?;
        let descending = self.eat_word("desc");
        if !descending {
            self.eat_word("asc");
        }
        let nulls_first = if self.eat_words(&["nulls", "first"]) {
            Some(true)
        } else if self.eat_words(&["nulls", "last"]) {
            Some(false)
        } else if self.is_word("nulls") {
            return self.unexpected("NULLS FIRST or NULLS LAST");
        } else {
            None
        };
        Ok(OrderItem { expr, descending, nulls_first })
    }

    /// `LIMIT n [OFFSET m]`, in either order.
    fn limit(&mut self) -> Outcome<(Option<u64>, Option<u64>)> {
        let (mut limit, mut offset) = (None, None);
        loop {
            self.unsupported_clause()?;
            if limit.is_none() && self.eat_word("limit") {
                limit = self.row_count("LIMIT")?;
                if self.is(",") {
                    let message = "LIMIT takes one number; write LIMIT count OFFSET start";
                    return self.not_available(self.span(), message);
                }
                if self.is_word("by") {
                    return self.not_available(self.span(), "LIMIT BY is not available");
                }
            } else if offset.is_none() && self.eat_word("offset") {
                offset = self.row_count("OFFSET")?;
                let _ = self.eat_word("rows") || self.eat_word("row");
            } else {
                return Ok((limit, offset));
            }
        }
    }

    fn row_count(&mut self, clause: &str) -> Outcome<Option<u64>> {
        if clause == "LIMIT" && (self.eat_word("all") || self.eat_word("null")) {
            return Ok(None);
        }
        let count = match self.token().kind {
            Kind::Number(digits) => digits.parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok()),
            _ => None,
        };
        let Some(count) = count else {
            return fault(self.span(), Rule::InvalidLimit, format!("{clause} takes a whole number of rows, 0 or more"));
        };
        self.advance();
        Ok(Some(count))
    }

    /// Names the clause that begins here, if it is one that other engines have.
    pub(super) fn unsupported_clause(&self) -> Outcome<()> {
        let Kind::Word(word) = self.token().kind else {
            if self.is(",") {
                let message = "joins are not available yet; country and user_plan are columns of events";
                return self.not_available(self.span(), message);
            }
            return Ok(());
        };
        let message = match word.to_ascii_lowercase().as_str() {
            "join" | "inner" | "cross" | "full" | "natural" | "left" | "right" | "asof" | "array" => {
                "joins are not available yet; country and user_plan are columns of events"
            }
            "union" | "intersect" | "except" => "UNION, INTERSECT and EXCEPT are not available yet",
            "settings" => "SETTINGS are not available; limits are set by the operator",
            "format" => "FORMAT is not available; the call decides the format",
            "into" => "INTO is not available; a query only reads",
            "prewhere" => "PREWHERE is not available; write WHERE",
            "final" | "sample" | "tablesample" => "FINAL and SAMPLE are not available; answers are exact",
            "window" | "qualify" => "window functions are not available yet",
            "fetch" => "FETCH is not available; write LIMIT",
            "for" => "FOR UPDATE is not available; a query only reads",
            _ => return Ok(()),
        };
        self.not_available(self.span(), message)
    }

    pub(super) fn refuse_subquery(&self) -> Outcome<()> {
        if self.is_word("select") || self.is_word("with") {
            return self.not_available(self.span(), SUBQUERIES);
        }
        Ok(())
    }
}

fn unknown_table<T>(name: &str, span: Span) -> Outcome<T> {
    if name.eq_ignore_ascii_case("users") {
        let message = "joins with users come later: country and user_plan are columns of events";
        return fault(span, Rule::NotAvailable, message);
    }
    let message = format!("there is no table `{name}`; the table is `events`{}", did_you_mean(name, ["events"]));
    fault(span, Rule::UnknownTable, message)
}

/// The conditions that a row must meet, each apart.
fn conjuncts(filter: Expr) -> Vec<Expr> {
    match filter.node {
        Node::All(terms) => terms.into_iter().flat_map(conjuncts).collect(),
        node => vec![Expr { node, ..filter }],
    }
}
