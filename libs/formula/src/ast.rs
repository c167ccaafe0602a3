//! What a text says, before anything is known of fields and types.

use crate::{diagnostics::Span, interval::Interval};

/// An expression and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) span: Span,
    /// Levels of the tree from here down; the parser bounds it, so later stages may recurse.
    pub(crate) depth: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    /// An instant that a value of the request gave, UTC ms.
    Instant(i64),
    /// `TIMESTAMP '...'`, `DATE '...'`
    TimeLiteral(String),
    Name(Name),
    Interval(Interval),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// AND of two or more.
    All(Vec<Expr>),
    /// OR of two or more.
    Any(Vec<Expr>),
    IsNull(Box<Expr>),
    /// `IS TRUE`, `IS FALSE`
    IsBool(Box<Expr>, bool),
    /// `IS DISTINCT FROM`
    IsDistinct(Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    /// `x IN (SELECT ...)`
    InQuery(Box<Expr>, Box<Query>),
    /// `(SELECT ...)`, which gives one value.
    Subquery(Box<Query>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like {
        text: Box<Expr>,
        pattern: Box<Expr>,
        ignore_case: bool,
    },
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast {
        value: Box<Expr>,
        to: Word,
    },
    AtTimeZone(Box<Expr>, Box<Expr>),
    /// `EXTRACT(part FROM time)`
    Extract(Word, Box<Expr>),
    Call(Call),
    /// `{name}`: another formula.
    Metric(String),
    /// `*` in place of a column.
    Star,
}

/// A field or property, or in some clauses a column of the result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    /// What stands before the dot: the table, its alias, or `properties`.
    pub(crate) qualifier: Option<Word>,
    pub(crate) name: String,
    /// Quoted names are taken to the letter.
    pub(crate) quoted: bool,
}

/// A word of the text and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: Word,
    pub(crate) distinct: bool,
    /// `COUNT(*)`
    pub(crate) star: bool,
    pub(crate) args: Vec<Expr>,
    /// `WITHIN GROUP (ORDER BY ...)`
    pub(crate) within: Option<Box<OrderItem>>,
    /// `FILTER (WHERE ...)`
    pub(crate) filter: Option<Box<Expr>>,
    /// `OVER (...)`
    pub(crate) over: Option<Box<Over>>,
}

/// The window that a function sees around each row of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Over {
    pub(crate) partition_by: Vec<Expr>,
    pub(crate) order_by: Vec<OrderItem>,
    pub(crate) frame: Option<Frame>,
}

/// Rows from the first to the last, counted from the current one; `None` is the partition's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Concat,
    Compare(CompareOp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl CompareOp {
    /// The operator that says the same with the sides exchanged.
    pub(crate) const fn flipped(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    pub(crate) const fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

/// `[WITH ...] SELECT ... [UNION ALL SELECT ...] [ORDER BY ...] [LIMIT ...]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// Queries that later ones can name as tables.
    pub(crate) with: Vec<(Word, Query)>,
    /// At least one; several are joined by UNION.
    pub(crate) selects: Vec<Select>,
    /// UNION without ALL: equal rows once.
    pub(crate) union_distinct: bool,
    pub(crate) order_by: Vec<OrderItem>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
    pub(crate) span: Span,
}

/// `SELECT ... FROM ... WHERE ... GROUP BY ... HAVING ...`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    pub(crate) distinct: bool,
    pub(crate) items: Vec<SelectItem>,
    pub(crate) from: Table,
    pub(crate) joins: Vec<Join>,
    /// The conditions of WHERE, all of which hold.
    pub(crate) filter: Vec<Expr>,
    pub(crate) group_by: Vec<Expr>,
    pub(crate) having: Option<Expr>,
}

/// What rows come from, and what they are called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) what: TableKind,
    pub(crate) alias: Option<Word>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TableKind {
    /// `events`, `users`, or a name that WITH gave.
    Named(String),
    Query(Box<Query>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) table: Table,
    pub(crate) on: On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Cross,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum On {
    /// The terms of the condition, none for CROSS JOIN.
    Condition(Vec<Expr>),
    /// `USING (a, b)`
    Using(Vec<Word>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SelectItem {
    pub(crate) expr: Expr,
    pub(crate) alias: Option<Word>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderItem {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: Option<bool>,
}

impl Expr {
    /// A literal that no text holds.
    pub(crate) fn given(node: Node) -> Self {
        Self { node, span: Span::default(), depth: 1 }
    }
}
