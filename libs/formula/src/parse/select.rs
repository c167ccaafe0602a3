//! `SELECT` and its clauses.

use super::{MAX_QUERIES, NO_QUERIES, Outcome, Parser, Rule, fault};
use crate::{
    ast::{Expr, Join, JoinKind, Node, On, OrderItem, Query, Select, SelectItem, Table, TableKind, Word},
    token::Kind,
};

const RECURSIVE: &str = "WITH RECURSIVE is not available";
const FORMULAS: &str = "a formula holds no query; write a SELECT instead";

impl Parser<'_> {
    /// `[WITH ...] SELECT ... [UNION [ALL] SELECT ...] [ORDER BY ...] [LIMIT ...]`
    pub(super) fn query(&mut self) -> Outcome<Query> {
        if self.queries >= MAX_QUERIES {
            let message = match self.queries {
                NO_QUERIES => FORMULAS.to_owned(),
                _ => format!("queries stand more than {MAX_QUERIES} deep in one another; name them by WITH"),
            };
            let rule = if self.queries == NO_QUERIES { Rule::NotAvailable } else { Rule::TooLarge };
            return fault(self.span(), rule, message);
        }
        self.queries += 1;
        let query = self.nested(Self::query_inside);
        self.queries -= 1;
        query
    }

    fn query_inside(&mut self) -> Outcome<Query> {
        let start = self.span();
        let with = self.with()?;
        let mut selects = vec![self.select()?];
        let mut all = None;
        while self.is_word("union") {
            let span = self.span();
            self.advance();
            let this = self.eat_word("all");
            if !this {
                self.eat_word("distinct");
            }
            if *all.get_or_insert(this) != this {
                let message = "UNION and UNION ALL don't mix; put one of them into a subquery";
                return self.not_available(span, message);
            }
            selects.push(self.select()?);
        }
        let order_by = if self.clause("order", "order by")? { self.order_by()? } else { Vec::new() };
        let (limit, offset) = self.limit()?;
        let (union_distinct, span) = (all == Some(false), self.since(start));
        Ok(Query { with, selects, union_distinct, order_by, limit, offset, span })
    }

    /// A query in an expression, up to its closing bracket, and the depth of the node that holds it.
    pub(super) fn subquery(&mut self) -> Outcome<(Box<Query>, u16)> {
        let outside = std::mem::take(&mut self.deepest);
        let query = self.query()?;
        self.expect(")", "to close the query")?;
        let depth = self.deepest + 1;
        self.deepest = outside.max(depth);
        Ok((Box::new(query), depth))
    }

    pub(super) fn is_query(&self) -> bool {
        self.is_word("select") || (self.is_word("with") && !self.is_ahead(1, ","))
    }

    /// `WITH a AS (SELECT ...), b AS (...)`
    fn with(&mut self) -> Outcome<Vec<(Word, Query)>> {
        let mut with = Vec::new();
        if !self.eat_word("with") {
            return Ok(with);
        }
        if self.is_word("recursive") {
            return self.not_available(self.span(), RECURSIVE);
        }
        loop {
            let Some(name) = self.eat_name() else {
                return self.unexpected("a name, as in WITH daily AS (SELECT ...)");
            };
            if self.is("(") {
                return self.not_available(self.span(), "name the columns in the query itself, with AS");
            }
            self.expect_word("as", "after the name, as in WITH daily AS (SELECT ...)")?;
            let _ = self.eat_words(&["not", "materialized"]) || self.eat_word("materialized");
            self.expect("(", "before the query")?;
            let query = self.query()?;
            self.expect(")", "to close the query")?;
            with.push((name, query));
            if !self.eat(",") {
                return Ok(with);
            }
        }
    }

    fn select(&mut self) -> Outcome<Select> {
        self.begin()?;
        let distinct = self.eat_word("distinct");
        if distinct && self.is_word("on") {
            let message = "DISTINCT ON is not available; rank the rows by ROW_NUMBER() OVER (PARTITION BY ... ORDER BY \
                           ...) in a subquery and keep those that are 1";
            return self.not_available(self.span(), message);
        }
        let items = self.items()?;
        self.expect_word("from", "and a table: events, users or a subquery")?;
        let from = self.table()?;
        let mut joins = Vec::new();
        while let Some(join) = self.join()? {
            joins.push(join);
        }
        self.unsupported_clause()?;
        let filter = if self.eat_word("where") { conjuncts(self.expr()?) } else { Vec::new() };
        let group_by = if self.clause("group", "group by")? { self.group_by()? } else { Vec::new() };
        let having = if self.eat_word("having") { Some(self.expr()?) } else { None };
        Ok(Select { distinct, items, from, joins, filter, group_by, having })
    }

    fn begin(&mut self) -> Outcome<()> {
        if self.eat_word("select") {
            return Ok(());
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
            let span = self.span();
            self.advance();
            return Ok(SelectItem { expr: self.node(span, 0, Node::Star)?, alias: None });
        }
        let expr = self.expr()?;
        let explicit = self.eat_word("as");
        let alias = self.eat_name();
        if explicit && alias.is_none() {
            return self.unexpected("a name after AS; put it in \"...\" if it is a word of the language");
        }
        Ok(SelectItem { expr, alias })
    }

    /// `events [AS e]` or `(SELECT ...) [AS e]`
    fn table(&mut self) -> Outcome<Table> {
        let start = self.span();
        let what = if self.eat("(") {
            let query = self.query()?;
            self.expect(")", "to close the query")?;
            TableKind::Query(Box::new(query))
        } else {
            let Some(mut table) = self.eat_name() else { return self.unexpected("the table `events`") };
            while self.eat(".") {
                let Some(part) = self.eat_name() else { return self.unexpected("a name after the dot") };
                table.text = format!("{}.{}", table.text, part.text);
                table.span = table.span.to(part.span);
            }
            if self.is("(") {
                let message = if table.text.eq_ignore_ascii_case("generate_series") {
                    "generate_series is not available; a typed query with `fill` has a row for every bucket"
                } else {
                    "table functions are not available; the tables are `events` and `users`"
                };
                return self.not_available(table.span, message);
            }
            TableKind::Named(table.text)
        };
        let span = self.since(start);
        self.unsupported_clause()?;
        let explicit = self.eat_word("as");
        let alias = if !explicit && self.joins_here() { None } else { self.eat_name() };
        if explicit && alias.is_none() {
            return self.unexpected("another name for the table after AS");
        }
        Ok(Table { what, alias, span })
    }

    /// Whether a word that is no reserved one begins a join here.
    fn joins_here(&self) -> bool {
        ["right", "natural", "asof", "array", "any", "semi", "anti"].iter().any(|word| {
            self.is_word(word)
                && (self.is_word_ahead(1, "join") || self.is_word_ahead(1, "outer") || self.is_word_ahead(1, "left"))
        })
    }

    /// `[INNER | LEFT [OUTER] | CROSS] JOIN table ON ... | USING (...)`
    fn join(&mut self) -> Outcome<Option<Join>> {
        let start = self.span();
        if self.is(",") {
            return self.not_available(start, "tables stand apart by JOIN, as in events JOIN users USING (user_id)");
        }
        let kind = if self.eat_words(&["cross", "join"]) {
            JoinKind::Cross
        } else if self.eat_words(&["left", "outer", "join"]) || self.eat_words(&["left", "join"]) {
            JoinKind::Left
        } else if self.eat_words(&["inner", "join"]) || self.eat_word("join") {
            JoinKind::Inner
        } else if self.joins_here() || self.is_word("full") || self.is_word("left") || self.is_word("cross") {
            let message = "there are JOIN, LEFT JOIN and CROSS JOIN; for RIGHT JOIN exchange the tables";
            return self.not_available(start, message);
        } else {
            return Ok(None);
        };
        let table = self.table()?;
        let on = if self.eat_word("on") {
            On::Condition(conjuncts(self.expr()?))
        } else if self.eat_word("using") {
            On::Using(self.using()?)
        } else if kind == JoinKind::Cross {
            On::Condition(Vec::new())
        } else {
            return self.unexpected("ON, as in JOIN users ON events.user_id = users.user_id");
        };
        Ok(Some(Join { kind, table, on }))
    }

    fn using(&mut self) -> Outcome<Vec<Word>> {
        self.expect("(", "after USING")?;
        let mut names = Vec::new();
        loop {
            match self.eat_name() {
                Some(name) => names.push(name),
                None => return self.unexpected("a column that both tables have"),
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", "after the columns")?;
        Ok(names)
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

    pub(super) fn order_by(&mut self) -> Outcome<Vec<OrderItem>> {
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
            return Ok(());
        };
        let message = match word.to_ascii_lowercase().as_str() {
            "intersect" | "except" => "INTERSECT and EXCEPT are not available; write x IN (SELECT ...) or NOT IN",
            "settings" => "SETTINGS are not available; limits are set by the operator",
            "format" => "FORMAT is not available; the call decides the format",
            "into" => "INTO is not available; a query only reads",
            "prewhere" => "PREWHERE is not available; write WHERE",
            "final" | "sample" | "tablesample" => "FINAL and SAMPLE are not available; answers are exact",
            "window" => "WINDOW is not available; write the window itself, as in OVER (ORDER BY day)",
            "qualify" => "QUALIFY is not available; put the query into a subquery and filter that",
            "lateral" => "LATERAL is not available",
            "fetch" => "FETCH is not available; write LIMIT",
            "for" => "FOR UPDATE is not available; a query only reads",
            _ => return Ok(()),
        };
        self.not_available(self.span(), message)
    }
}

/// The conditions that a row must meet, each apart.
fn conjuncts(filter: Expr) -> Vec<Expr> {
    match filter.node {
        Node::All(terms) => terms.into_iter().flat_map(conjuncts).collect(),
        node => vec![Expr { node, ..filter }],
    }
}
