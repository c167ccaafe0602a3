//! What is measured of a group: aggregates, and arithmetic over them.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{
    super::answer::Bound,
    expr::{
        Engine::{Ours, Theirs},
        Expr, Kind,
        Kind::{Bool, Integer, Number, Text, Time},
        Precision,
        Precision::{Equal, Near, Summable},
        Table, expr, filled, leaf,
    },
};

/// An aggregate of values: `$1` is its argument.
#[derive(Debug)]
pub struct Aggregate {
    ours: &'static str,
    /// Without what stands in FILTER.
    theirs: &'static str,
    takes: &'static [Kind],
    gives: Option<Kind>,
    how: How,
}

/// How near an aggregate is in both engines.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Counts,
    /// As near as its argument.
    Picks,
    Sums,
    Averages,
    Middle,
    Interpolates,
    Deviates,
    Varies,
    /// A sketch of this percentile.
    Percentile(f64),
    Distinct,
}

const fn a(ours: &'static str, takes: &'static [Kind], gives: Option<Kind>, how: How) -> Aggregate {
    Aggregate { ours, theirs: ours, takes, gives, how }
}

impl Aggregate {
    const fn theirs(self, theirs: &'static str) -> Self {
        Self { theirs, ..self }
    }
}

static AGGREGATES: &[Aggregate] = &[
    a("COUNT(*)", &[], Some(Integer), How::Counts),
    a("COUNT($1)", &[Number], Some(Integer), How::Counts),
    a("COUNT($1)", &[Text], Some(Integer), How::Counts),
    a("COUNT(DISTINCT $1)", &[Text], Some(Integer), How::Counts),
    a("COUNT(DISTINCT $1)", &[Number], Some(Integer), How::Counts),
    a("COUNT(DISTINCT $1)", &[Time], Some(Integer), How::Counts),
    a("COUNT(DISTINCT $1)", &[Bool], Some(Integer), How::Counts),
    a("COUNT(DISTINCT user_id)", &[], Some(Integer), How::Counts),
    a("COUNT_DISTINCT($1)", &[Text], Some(Integer), How::Counts).theirs("COUNT(DISTINCT $1)"),
    a("COUNT_IF($1)", &[Bool], Some(Integer), How::Counts).theirs("COUNT(CASE WHEN $1 THEN 1 END)"),
    a("SUM($1)", &[Number], Some(Number), How::Sums),
    a("SUM_IF($1, $2)", &[Number, Bool], Some(Number), How::Sums).theirs("SUM(CASE WHEN $2 THEN $1 END)"),
    a("AVG($1)", &[Number], Some(Number), How::Averages),
    a("MIN($1)", &[Number], None, How::Picks),
    a("MAX($1)", &[Number], None, How::Picks),
    a("MIN($1)", &[Text], None, How::Picks),
    a("MAX($1)", &[Text], None, How::Picks),
    a("MIN($1)", &[Time], None, How::Picks),
    a("MAX($1)", &[Time], None, How::Picks),
    a("MEDIAN($1)", &[Number], Some(Number), How::Middle),
    a("PERCENTILE_CONT(0.9, $1)", &[Number], Some(Number), How::Interpolates).theirs("QUANTILE_CONT($1, 0.9)"),
    a("PERCENTILE_CONT(0.05) WITHIN GROUP (ORDER BY $1)", &[Number], Some(Number), How::Interpolates)
        .theirs("QUANTILE_CONT($1, 0.05)"),
    a("PERCENTILE_DISC(0.75, $1)", &[Number], None, How::Picks).theirs("QUANTILE_DISC($1, 0.75)"),
    a("PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY $1)", &[Number], None, How::Picks).theirs("QUANTILE_DISC($1, 0.5)"),
    a("STDDEV($1)", &[Number], Some(Number), How::Deviates),
    a("VARIANCE($1)", &[Number], Some(Number), How::Varies),
    a("PERCENTILE(0.5, $1)", &[Number], Some(Number), How::Percentile(0.5)).theirs("MEDIAN($1)"),
    a("APPROX_PERCENTILE(0.95, $1)", &[Number], Some(Number), How::Percentile(0.95)).theirs("MEDIAN($1)"),
    a("APPROX_COUNT_DISTINCT($1)", &[Text], Some(Integer), How::Distinct).theirs("COUNT(DISTINCT $1)"),
];

#[derive(Debug, Clone)]
pub enum Measure {
    Of {
        aggregate: &'static Aggregate,
        args: Vec<Expr>,
        filter: Option<Expr>,
    },
    Arithmetic(char, Box<Measure>, Box<Measure>),
    /// 0 in place of NULL.
    OrZero(Box<Measure>),
    /// A function of buckets, of formulas alone.
    Buckets(Buckets, Box<Measure>),
    /// What a formula calls by its name, among the events that meet a condition: the number of the name.
    Named(usize, Box<Measure>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    MovingAverage(u32),
    Cumulative,
    Change,
    PercentChange,
    Share,
    Rank,
    /// Per hour.
    Rate,
}

/// What a measure stands in, in the other engine.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Conditions on the events that all aggregates see.
    pub filters: Vec<String>,
    /// Whether the group has any event, and what sums of none are: `0` or `NULL`; all but counts and sums are NULL anyway.
    pub fill: Option<&'static str>,
    pub partition: Vec<String>,
    pub time: Option<String>,
    /// How long a group's time is, in seconds.
    pub seconds: String,
    /// The conditions of the formulas with a name.
    pub named: Vec<String>,
}

impl Measure {
    pub fn ours(&self) -> String {
        match self {
            Self::Of { aggregate, args, filter } => {
                let args: Vec<_> = args.iter().map(|arg| arg.text(Ours)).collect();
                let filter = filter.as_ref().map(|f| format!(" FILTER (WHERE {})", f.text(Ours)));
                filled(aggregate.ours, &args) + &filter.unwrap_or_default()
            }
            Self::Arithmetic(op, a, b) => format!("({} {op} {})", a.ours(), b.ours()),
            Self::OrZero(inner) => format!("COALESCE({}, 0)", inner.ours()),
            Self::Named(i, _) => format!("{{named_{i}}}"),
            Self::Buckets(buckets, inner) => {
                let inner = inner.ours();
                match buckets {
                    Buckets::MovingAverage(n) => format!("MOVING_AVG({inner}, {n})"),
                    Buckets::Cumulative => format!("CUMULATIVE({inner})"),
                    Buckets::Change => format!("CHANGE({inner})"),
                    Buckets::PercentChange => format!("PERCENT_CHANGE({inner})"),
                    Buckets::Share => format!("SHARE({inner})"),
                    Buckets::Rank => format!("RANK({inner})"),
                    Buckets::Rate => format!("RATE({inner}, 'hour')"),
                }
            }
        }
    }

    pub fn theirs(&self, around: &Around) -> String {
        match self {
            Self::Of { aggregate, args, filter } => {
                let args: Vec<_> = args.iter().map(|arg| arg.text(Theirs)).collect();
                let value = filled(aggregate.theirs, &args) + &filtered(filter.as_ref(), around);
                match (around.fill, aggregate.how) {
                    (None, _) | (Some("0"), How::Counts | How::Distinct) => value,
                    (Some(nothing), how) => {
                        let nothing = if how == How::Sums { nothing } else { "NULL" };
                        format!("CASE WHEN COUNT(*) FILTER (WHERE real) = 0 THEN {nothing} ELSE {value} END")
                    }
                }
            }
            Self::Arithmetic(op, a, b) => format!("({} {op} {})", a.theirs(around), b.theirs(around)),
            Self::OrZero(inner) => format!("COALESCE({}, 0)", inner.theirs(around)),
            Self::Named(i, inner) => inner.theirs(&around.seeing(&around.named[*i])),
            Self::Buckets(buckets, inner) => buckets.theirs(&inner.theirs(around), around),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Of { aggregate, args, .. } => aggregate.gives.unwrap_or_else(|| args[0].kind()),
            Self::Arithmetic('+' | '-', a, b) if (a.kind(), b.kind()) == (Integer, Integer) => Integer,
            Self::OrZero(inner) | Self::Named(_, inner) => inner.kind(),
            Self::Buckets(Buckets::Rank, _) => Integer,
            Self::Arithmetic(..) | Self::Buckets(..) => Number,
        }
    }

    pub fn is_sketch(&self) -> bool {
        matches!(self, Self::Of { aggregate, .. } if matches!(aggregate.how, How::Percentile(_) | How::Distinct))
    }

    pub fn precision(&self) -> Precision {
        match self {
            Self::Of { aggregate, args, .. } => {
                let of_arg = args.iter().map(Expr::precision).max().unwrap_or(Summable);
                match aggregate.how {
                    How::Counts => Summable,
                    How::Picks => of_arg,
                    How::Sums => {
                        if of_arg == Summable {
                            Summable
                        } else {
                            Near
                        }
                    }
                    How::Averages | How::Middle => {
                        if of_arg == Summable {
                            Equal
                        } else {
                            Near
                        }
                    }
                    _ => Near,
                }
            }
            Self::Arithmetic('+' | '-', a, b) => a.precision().max(b.precision()),
            Self::Arithmetic(_, a, b) => a.precision().max(b.precision()).max(Equal),
            Self::OrZero(inner) | Self::Named(_, inner) => inner.precision(),
            Self::Buckets(Buckets::Rank, _) => Summable,
            Self::Buckets(Buckets::Change, inner) => inner.precision().max(Equal),
            Self::Buckets(Buckets::Cumulative, inner) if inner.precision() == Summable => Summable,
            Self::Buckets(..) => Near,
        }
    }

    /// How near the value must be, and the columns that say the scale.
    pub fn bound(&self, around: &Around) -> Option<(Bound, Vec<String>)> {
        if let Self::Of { aggregate, args, filter } = self {
            let args: Vec<_> = args.iter().map(|arg| arg.text(Theirs)).collect();
            let filters = filtered(filter.as_ref(), around);
            match aggregate.how {
                How::Percentile(level) => {
                    // Between two values it may say any: one more to either side.
                    let list =
                        format!("list_sort(list({}){})", args[0], and(&filters, &format!("{} IS NOT NULL", args[0])));
                    let low = format!("{list}[greatest(1, floor(len({list}) * {}))::BIGINT]", level - 0.01);
                    let high = format!("{list}[least(len({list}), ceil(len({list}) * {}) + 1)::BIGINT]", level + 0.01);
                    return Some((Bound::Between, vec![low, high]));
                }
                How::Distinct => {
                    let exact = self.theirs(around);
                    return Some((Bound::Between, vec![format!("0.98 * {exact}"), format!("1.02 * {exact}")]));
                }
                _ => {}
            }
        }
        (self.precision() == Near).then(|| (super::super::answer::ROUNDING, vec![self.scale(around)]))
    }

    /// What a deviation is relative to.
    fn scale(&self, around: &Around) -> String {
        match self {
            Self::Of { aggregate, args, filter } => {
                let arg = args.first().map(|arg| arg.text(Theirs)).unwrap_or_default();
                let filters = filtered(filter.as_ref(), around);
                match aggregate.how {
                    How::Sums => format!("SUM(ABS({arg})){filters}"),
                    How::Averages => format!("AVG(ABS({arg})){filters}"),
                    How::Deviates => format!("SQRT(AVG({arg} * {arg}){filters})"),
                    How::Varies => format!("AVG({arg} * {arg}){filters}"),
                    How::Picks | How::Interpolates | How::Middle => format!("MAX(ABS({arg})){filters}"),
                    _ => format!("ABS({})", self.theirs(around)),
                }
            }
            Self::Arithmetic(op, a, b) => {
                let (of_a, of_b, b) = (a.scale(around), b.scale(around), b.theirs(around));
                match op {
                    '*' => format!("({of_a} * {of_b})"),
                    '/' => format!("({of_a} * {of_b} / ABS({b}) / ABS({b}))"),
                    _ => format!("({of_a} + {of_b})"),
                }
            }
            Self::OrZero(inner) => format!("COALESCE({}, 0)", inner.scale(around)),
            Self::Named(i, inner) => inner.scale(&around.seeing(&around.named[*i])),
            Self::Buckets(buckets, inner) => buckets.scale(&inner.scale(around), around, &self.theirs(around)),
        }
    }

    pub fn smaller(&self, table: &Table) -> Vec<Self> {
        match self {
            Self::Of { aggregate, args, filter } => {
                let mut smaller = Vec::new();
                if filter.is_some() {
                    smaller.push(Self::Of { aggregate, args: args.clone(), filter: None });
                }
                for (i, arg) in args.iter().enumerate() {
                    smaller.extend(arg.smaller(table).into_iter().map(|with| {
                        let mut args = args.clone();
                        args[i] = with;
                        Self::Of { aggregate, args, filter: filter.clone() }
                    }));
                }
                let of_filter = filter.iter().flat_map(|filter| filter.smaller(table));
                smaller.extend(of_filter.map(|f| Self::Of { aggregate, args: args.clone(), filter: Some(f) }));
                smaller
            }
            Self::Arithmetic(op, a, b) => {
                let mut smaller = vec![(**a).clone(), (**b).clone()];
                smaller.extend(a.smaller(table).into_iter().map(|a| Self::Arithmetic(*op, Box::new(a), b.clone())));
                smaller.extend(b.smaller(table).into_iter().map(|b| Self::Arithmetic(*op, a.clone(), Box::new(b))));
                smaller
            }
            Self::OrZero(inner) => vec![(**inner).clone()],
            Self::Named(..) => Vec::new(),
            Self::Buckets(buckets, inner) => {
                let smaller = inner.smaller(table).into_iter().filter(|inner| inner.precision() < Near);
                smaller.map(|inner| Self::Buckets(*buckets, Box::new(inner))).collect()
            }
        }
    }
}

/// The FILTER of an aggregate, if it has one.
fn filtered(filter: Option<&Expr>, around: &Around) -> String {
    let all: Vec<_> = around.filters.iter().cloned().chain(filter.map(|filter| filter.text(Theirs))).collect();
    if all.is_empty() { String::new() } else { format!(" FILTER (WHERE {})", all.join(" AND ")) }
}

/// The FILTER with a condition more.
fn and(filter: &str, more: &str) -> String {
    match filter.strip_suffix(')') {
        Some(open) => format!("{open} AND {more})"),
        None => format!(" FILTER (WHERE {more})"),
    }
}

impl Around {
    fn seeing(&self, condition: &str) -> Self {
        let mut around = self.clone();
        around.filters.push(condition.to_owned());
        around
    }

    fn window(&self, order: bool, rows: &str) -> String {
        let partition = match self.partition.is_empty() {
            true => String::new(),
            false => format!("PARTITION BY {}", self.partition.join(", ")),
        };
        let time = self.time.as_deref().unwrap_or("1");
        let order = if order { format!(" ORDER BY {time}") } else { String::new() };
        format!("OVER ({partition}{order}{rows})")
    }

    /// Of the groups of a bucket; of all buckets, where a bucket is one group.
    fn of_bucket(&self) -> String {
        match (&self.time, self.partition.is_empty()) {
            (Some(time), false) => format!("PARTITION BY {time}"),
            _ => String::new(),
        }
    }
}

impl Buckets {
    fn theirs(self, value: &str, around: &Around) -> String {
        let before = format!("LAG({value}) {}", around.window(true, ""));
        match self {
            Self::MovingAverage(n) => {
                format!(
                    "AVG({value}) {}",
                    around.window(true, &format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", n - 1))
                )
            }
            Self::Cumulative => format!("SUM({value}) {}", around.window(true, " ROWS UNBOUNDED PRECEDING")),
            Self::Change => format!("({value} - {before})"),
            Self::PercentChange => format!("(({value} - {before}) / ABS({before}) * 100)"),
            Self::Share => format!("({value} / SUM({value}) OVER ({}))", around.of_bucket()),
            Self::Rank => format!("RANK() OVER ({} ORDER BY {value} DESC NULLS LAST)", around.of_bucket()),
            Self::Rate => format!("({value} / ({} / 3600))", around.seconds),
        }
    }

    fn scale(self, scale: &str, around: &Around, value: &str) -> String {
        match self {
            Self::MovingAverage(n) => {
                format!(
                    "AVG({scale}) {}",
                    around.window(true, &format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", n - 1))
                )
            }
            Self::Cumulative => format!("SUM({scale}) {}", around.window(true, " ROWS UNBOUNDED PRECEDING")),
            _ => format!("GREATEST(ABS({value}), 1)"),
        }
    }
}

/// A measure over groups of the table.
pub fn measure(random: &mut StdRng, table: &Table, depth: u32) -> Measure {
    if depth > 0 && random.random_bool(0.3) {
        if random.random_bool(0.2) {
            return Measure::OrZero(Box::new(number(random, table, depth - 1)));
        }
        let op = *['+', '-', '*', '/'].choose(random).unwrap();
        let (a, b) = (number(random, table, depth - 1), number(random, table, depth - 1));
        // A sum that is only near zero may be it in one engine alone.
        if op != '/' || b.precision() < Near {
            return Measure::Arithmetic(op, Box::new(a), Box::new(b));
        }
    }
    loop {
        let aggregate = AGGREGATES.choose(random).unwrap();
        if aggregate.ours.contains("user_id") && !table.iter().any(|column| column.ours == "user_id") {
            continue;
        }
        let wild = !matches!(aggregate.how, How::Deviates | How::Varies | How::Percentile(_) | How::Interpolates);
        let arg = |random: &mut StdRng, kind: Kind| match kind == Number && wild && random.random_bool(0.3) {
            true => leaf(random, table, kind, true),
            false => expr(random, table, kind, 2),
        };
        let args: Vec<_> = aggregate.takes.iter().map(|kind| arg(random, *kind)).collect();
        let near = args.iter().any(|arg| arg.kind() == Number && arg.precision() == Near);
        let tells_apart = aggregate.ours.contains("DISTINCT") || matches!(aggregate.how, How::Percentile(_));
        if args.iter().any(Expr::is_constant) || (near && tells_apart) {
            continue;
        }
        let filter = random.random_bool(0.2).then(|| expr(random, table, Bool, 2));
        return Measure::Of { aggregate, args, filter };
    }
}

/// One that can be computed with.
pub fn number(random: &mut StdRng, table: &Table, depth: u32) -> Measure {
    loop {
        let measure = measure(random, table, depth);
        let wild = matches!(&measure, Measure::Of { args, .. } if args.iter().any(is_wild));
        if matches!(measure.kind(), Number | Integer) && !measure.is_sketch() && !wild {
            return measure;
        }
    }
}

/// One that both engines compute alike.
pub fn exact(random: &mut StdRng, table: &Table) -> Measure {
    loop {
        let measure = number(random, table, 1);
        if measure.precision() < Near {
            return measure;
        }
    }
}

fn is_wild(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.wild)
}
