//! Typed expressions: every name is a column, every operator has its types, every constant is folded.

use std::sync::Arc;

use model::Property;

use crate::{
    ast::{CompareOp, Frame},
    diagnostics::Span,
    functions::{Aggregation, Scalar},
    grain::{Grain, Part},
    interval::Interval,
    plan::Plan,
    time::Zone,
    types::Type,
};

/// A typed expression. Two are equal if they compute the same, wherever they stand.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) ty: Type,
    pub(crate) span: Span,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.ty == other.ty && self.node == other.node
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    /// UTC ms.
    Time(i64),
    Field(Field),
    Property(Property),
    Column(ColumnOf),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>),
    IsBool(Box<Expr>, bool),
    IsDistinct(Box<Expr>, Box<Expr>),
    /// Of constants that are not NULL; a NULL in the list is an OR with NULL around it.
    In(Box<Expr>, Vec<Expr>),
    /// What there is of these, as text, is among the values of the scope's filter of this number.
    Locked(usize, Vec<Expr>),
    /// Of the values of a plan's one column.
    InPlan(Box<Expr>, Box<Plan>),
    /// The one value of a plan's one column and row; NULL if it has no row.
    Scalar(Box<Plan>),
    Like {
        text: Box<Expr>,
        pattern: String,
        ignore_case: bool,
    },
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Call(&'static Scalar, Vec<Expr>),
    Cast(Box<Expr>, Zone),
    Truncate(Grain, Zone, Box<Expr>),
    Part(Part, Zone, Box<Expr>),
    Shift(Box<Expr>, Interval, Zone),
    /// Boundaries of the grain between two instants.
    Difference(Grain, Zone, Box<Expr>, Box<Expr>),
    /// The same instant, read in another zone.
    InZone(Box<Expr>, Zone),
    /// The n-th group key, in an expression over groups.
    Key(usize),
    /// The n-th aggregate, in an expression over groups.
    Aggregate(usize),
    Window(Box<Window>),
}

/// A column of what another plan gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnOf {
    /// Which of the query's tables it is in, from 0.
    pub(crate) table: usize,
    /// Its place there.
    pub(crate) place: usize,
    pub(crate) name: Arc<str>,
    /// The sketch that it comes from, if it isn't exact.
    pub(crate) sketch: Option<&'static str>,
}

/// A function of the rows around each row of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) function: WindowFunction,
    pub(crate) args: Vec<Expr>,
    pub(crate) partition: Vec<Expr>,
    pub(crate) order: Vec<WindowOrder>,
    /// From the partition's begin to the current row's equals if absent, or all of it without an order.
    pub(crate) frame: Option<Frame>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowOrder {
    pub(crate) by: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    /// The value so many rows before.
    Lag(u32),
    /// The value so many rows after.
    Lead(u32),
    Aggregate(Aggregation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A column of `events` that every app has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Timestamp,
    ReceivedAt,
    EventId,
    EventType,
    UserId,
    AppId,
    Country,
    UserPlan,
    // Where the log has it: no name that a user could write.
    Incarnation,
    Partition,
    Offset,
}

/// The fields by the name that users write.
pub(crate) const FIELDS: [(&str, Field); 8] = [
    ("timestamp", Field::Timestamp),
    ("received_at", Field::ReceivedAt),
    ("event_id", Field::EventId),
    ("event_type", Field::EventType),
    ("user_id", Field::UserId),
    ("app_id", Field::AppId),
    ("country", Field::Country),
    ("user_plan", Field::UserPlan),
];

impl Field {
    pub(crate) const fn ty(self) -> Type {
        match self {
            Self::Timestamp | Self::ReceivedAt => Type::Time,
            Self::Incarnation | Self::Partition | Self::Offset => Type::Integer,
            _ => Type::String,
        }
    }
}

/// An aggregate of the events of a group.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) aggregation: Aggregation,
    pub(crate) args: Vec<Expr>,
    /// Only events that meet this are seen.
    pub(crate) filter: Option<Expr>,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.aggregation == other.aggregation && self.args == other.args && self.filter == other.filter
    }
}

impl Expr {
    pub(crate) fn new(node: Node, ty: Type, span: Span) -> Self {
        Self { node, ty, span }
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(
            self.node,
            Node::Null | Node::Bool(_) | Node::Integer(_) | Node::Number(_) | Node::Text(_) | Node::Time(_)
        )
    }

    /// The expression as a value of a type that it fits.
    pub(crate) fn into_type(self, wanted: Type, zone: &Zone) -> Self {
        let Self { node, ty, span } = self;
        match node {
            Node::Integer(i) if wanted == Type::Number => Self::new(Node::Number(i as f64), wanted, span),
            node if ty == Type::Integer && wanted == Type::Number => {
                Self::new(Node::Cast(Box::new(Self { node, ty, span }), zone.clone()), wanted, span)
            }
            node => Self { node, ty, span },
        }
    }

    /// The expressions right below this one.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.node {
            Node::Negate(a)
            | Node::Not(a)
            | Node::IsNull(a)
            | Node::IsBool(a, _)
            | Node::Like { text: a, .. }
            | Node::Cast(a, _)
            | Node::Truncate(_, _, a)
            | Node::Part(_, _, a)
            | Node::Shift(a, _, _)
            | Node::InPlan(a, _)
            | Node::InZone(a, _) => vec![a],
            Node::Arithmetic(_, a, b)
            | Node::Compare(_, a, b)
            | Node::IsDistinct(a, b)
            | Node::Difference(_, _, a, b) => vec![a, b],
            Node::All(list) | Node::Any(list) | Node::Call(_, list) | Node::Locked(_, list) => list.iter().collect(),
            Node::In(a, list) => std::iter::once(&**a).chain(list).collect(),
            Node::Case { branches, otherwise } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            Node::Window(window) => {
                let Window { args, partition, order, .. } = &**window;
                args.iter().chain(partition).chain(order.iter().map(|order| &order.by)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The same list, to be changed in place.
    pub(crate) fn children_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.node {
            Node::Negate(a)
            | Node::Not(a)
            | Node::IsNull(a)
            | Node::IsBool(a, _)
            | Node::Like { text: a, .. }
            | Node::Cast(a, _)
            | Node::Truncate(_, _, a)
            | Node::Part(_, _, a)
            | Node::Shift(a, _, _)
            | Node::InPlan(a, _)
            | Node::InZone(a, _) => vec![a],
            Node::Arithmetic(_, a, b)
            | Node::Compare(_, a, b)
            | Node::IsDistinct(a, b)
            | Node::Difference(_, _, a, b) => vec![a, b],
            Node::All(list) | Node::Any(list) | Node::Call(_, list) | Node::Locked(_, list) => {
                list.iter_mut().collect()
            }
            Node::In(a, list) => std::iter::once(&mut **a).chain(list).collect(),
            Node::Case { branches, otherwise } => {
                branches.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref_mut()).collect()
            }
            Node::Window(window) => {
                let Window { args, partition, order, .. } = &mut **window;
                args.iter_mut().chain(partition).chain(order.iter_mut().map(|order| &mut order.by)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many nodes the tree has, those of plans in it included.
    pub(crate) fn size(&self) -> usize {
        let plan = self.plan().map_or(0, Plan::size);
        1 + plan + self.children().into_iter().map(Self::size).sum::<usize>()
    }

    /// The plan that the expression itself holds.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        match &self.node {
            Node::InPlan(_, plan) | Node::Scalar(plan) => Some(plan),
            _ => None,
        }
    }

    /// Whether a node of the tree is so; plans in it are not looked into.
    pub(crate) fn any(&self, is: fn(&Node) -> bool) -> bool {
        is(&self.node) || self.children().into_iter().any(|child| child.any(is))
    }
}
