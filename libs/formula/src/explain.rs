//! A plan in the words of the language, for people.

use std::fmt::{self, Display, Formatter};

use crate::{
    ast::{CompareOp, Frame, JoinKind},
    functions::{Aggregation, Level},
    interval::Interval,
    plan::{Buckets, Groups, OrderBy, Plan, Source},
    time::format_utc,
    typed::{Aggregate, Arithmetic, Expr, FIELDS, Node, Window, WindowFunction, WindowOrder},
};

impl Display for Plan {
    /// One clause a line; names as the query knows them, `now()` and intervals already worked out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Events => writeln!(f, "events of app {}", self.app)?,
            Source::Users => writeln!(f, "users of app {}, as they are known now", self.app)?,
            Source::Plans(plans) => {
                for (i, plan) in plans.iter().enumerate() {
                    writeln!(f, "{} the rows of", if i == 0 { "all" } else { "and" })?;
                    write!(f, "{}", Indented(plan))?;
                }
            }
        }
        for join in &self.joins {
            let kind = match join.kind {
                JoinKind::Inner => "join",
                JoinKind::Left => "left join",
                JoinKind::Cross => "cross join",
            };
            let on = join.on.iter().map(|(left, right)| format!("{} = {}", In(left, None), In(right, None)));
            let on = on.collect::<Vec<_>>().join(" and ");
            writeln!(f, "{kind}{}{on} the rows of", if on.is_empty() { "" } else { " on " })?;
            write!(f, "{}", Indented(&join.plan))?;
        }
        for (i, filter) in self.filters.iter().enumerate() {
            let word = if i == 0 { "where" } else { "  and" };
            writeln!(f, "{word} {}", In(filter, None))?;
        }
        let groups = self.groups.as_ref();
        for (i, key) in groups.iter().flat_map(|g| g.keys.iter()).enumerate() {
            let word = if i == 0 { "group by" } else { "       ," };
            writeln!(f, "{word} {}", In(key, None))?;
        }
        if let Some(Buckets { grain, zone, from, to }) = groups.and_then(|groups| groups.fill.as_ref()) {
            let (from, to) = (format_utc(*from).unwrap_or_default(), format_utc(*to).unwrap_or_default());
            writeln!(f, "every {} in {} from {from} to {to} UTC, events or not", grain.name(), zone.name())?;
        }
        for output in &self.outputs {
            let distinct = if self.distinct { " distinct" } else { "" };
            write!(f, "give{distinct} {} = {}", output.column.name, In(&output.expr, groups))?;
            let unit = &output.column.unit;
            if unit.is_empty() { writeln!(f)? } else { writeln!(f, " in {unit}")? }
        }
        if let Some(having) = groups.and_then(|g| g.having.as_ref()) {
            writeln!(f, "having {}", In(having, groups))?;
        }
        for order in &self.order {
            let direction = if order.descending { "descending" } else { "ascending" };
            let nulls = if order.nulls_first { "first" } else { "last" };
            match &order.by {
                OrderBy::Output(i) => write!(f, "order by {}", self.outputs[*i].column.name)?,
                OrderBy::Expr(expr) => write!(f, "order by {}", In(expr, groups))?,
            }
            writeln!(f, " {direction}, nulls {nulls}")?;
        }
        if let Some(limit) = self.limit {
            writeln!(f, "at most {limit} rows")?;
        }
        if self.offset > 0 {
            writeln!(f, "after passing over {}", self.offset)?;
        }
        Ok(())
    }
}

/// The plan within another.
struct Indented<'a>(&'a Plan);

impl Display for Indented<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// An expression, where keys and aggregates stand for those of the groups.
struct In<'a>(&'a Expr, Option<&'a Groups>);

impl Display for In<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(expr, groups) = *self;
        let show = |expr| In(expr, groups);
        match &expr.node {
            Node::Null => f.write_str("NULL"),
            Node::Bool(b) => write!(f, "{b}"),
            Node::Integer(i) => write!(f, "{i}"),
            Node::Number(x) => write!(f, "{x}"),
            Node::Text(text) => write!(f, "{text:?}"),
            Node::Time(ms) => write!(f, "{} UTC", format_utc(*ms).unwrap_or_default()),
            Node::Field(field) => {
                f.write_str(FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| name))
            }
            Node::Property(property) => write!(f, "{}::{}", property.name, property.kind.name()),
            Node::Column(column) => f.write_str(&column.name),
            Node::InPlan(a, plan) => write!(f, "{} in ({})", show(a), plan.to_string().trim_end().replace('\n', "; ")),
            Node::Scalar(plan) => write!(f, "({})", plan.to_string().trim_end().replace('\n', "; ")),
            Node::Window(window) => {
                let Window { function, args, partition, order, frame } = &**window;
                f.write_str(&window_function(*function))?;
                list_of(f, args, ", ", groups)?;
                f.write_str(" over")?;
                if !partition.is_empty() {
                    f.write_str(" each ")?;
                    list_of(f, partition, ", ", groups)?;
                }
                for WindowOrder { by, descending, .. } in order {
                    write!(f, " by {} {}", show(by), if *descending { "descending" } else { "ascending" })?;
                }
                match frame {
                    Some(Frame { first, last }) => {
                        write!(f, " rows {} to {}", end(*first, "first"), end(*last, "last"))
                    }
                    None => Ok(()),
                }
            }
            Node::Negate(a) => write!(f, "-{}", show(a)),
            Node::Not(a) => write!(f, "not ({})", show(a)),
            Node::All(list) => list_of(f, list, " and ", groups),
            Node::Any(list) => list_of(f, list, " or ", groups),
            Node::Arithmetic(op, a, b) => write!(f, "({} {} {})", show(a), arithmetic(*op), show(b)),
            Node::Compare(op, a, b) => write!(f, "{} {} {}", show(a), comparison(*op), show(b)),
            Node::IsNull(a) => write!(f, "{} is null", show(a)),
            Node::IsBool(a, b) => write!(f, "{} is {b}", show(a)),
            Node::IsDistinct(a, b) => write!(f, "{} is distinct from {}", show(a), show(b)),
            Node::In(a, list) => {
                write!(f, "{} in ", show(a))?;
                list_of(f, list, ", ", groups)
            }
            // Its values are not told: who holds the key need not know them.
            Node::Locked(_, values) => {
                list_of(f, values, " or ", groups)?;
                f.write_str(" as the key may read it")
            }
            Node::Like { text, pattern, ignore_case } => {
                write!(f, "{} {} {pattern:?}", show(text), if *ignore_case { "ilike" } else { "like" })
            }
            Node::Case { branches, otherwise } => {
                f.write_str("case")?;
                for (when, then) in branches {
                    write!(f, " when {} then {}", show(when), show(then))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " else {}", show(otherwise))?;
                }
                f.write_str(" end")
            }
            Node::Call(scalar, args) => {
                f.write_str(scalar.name)?;
                list_of(f, args, ", ", groups)
            }
            Node::Cast(a, _) => write!(f, "{}::{}", show(a), format!("{:?}", expr.ty).to_lowercase()),
            Node::Truncate(grain, zone, a) => write!(f, "{} of {} in {}", grain.name(), show(a), zone.name()),
            Node::Part(part, zone, a) => {
                write!(f, "extract({} from {} in {})", format!("{part:?}").to_lowercase(), show(a), zone.name())
            }
            Node::Shift(a, by, zone) => write!(f, "({} + {} in {})", show(a), interval(by), zone.name()),
            Node::Difference(grain, zone, a, b) => {
                write!(f, "{}s from {} to {} in {}", grain.name(), show(a), show(b), zone.name())
            }
            Node::InZone(a, zone) => write!(f, "{} in {}", show(a), zone.name()),
            Node::Key(i) => match groups.and_then(|g| g.keys.get(*i)) {
                Some(key) => write!(f, "{}", In(key, None)),
                None => write!(f, "key {i}"),
            },
            Node::Aggregate(i) => match groups.and_then(|g| g.aggregates.get(*i)) {
                Some(aggregate) => write!(f, "{aggregate}"),
                None => write!(f, "aggregate {i}"),
            },
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&aggregation(self.aggregation))?;
        list_of(f, &self.args, ", ", None)?;
        match &self.filter {
            Some(filter) => write!(f, " where ({})", In(filter, None)),
            None => Ok(()),
        }
    }
}

fn list_of(f: &mut Formatter<'_>, list: &[Expr], between: &str, groups: Option<&Groups>) -> fmt::Result {
    f.write_str("(")?;
    for (i, expr) in list.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        write!(f, "{}", In(expr, groups))?;
    }
    f.write_str(")")
}

fn aggregation(aggregation: Aggregation) -> String {
    let share = |level: Level| f64::from(level.billionths()) / f64::from(Level::ONE);
    match aggregation {
        Aggregation::Rows | Aggregation::Values => "count".to_owned(),
        Aggregation::Distinct => "count distinct".to_owned(),
        Aggregation::ApproximateDistinct => "approximate count distinct".to_owned(),
        Aggregation::Sum => "sum".to_owned(),
        Aggregation::Average => "average".to_owned(),
        Aggregation::Minimum => "minimum".to_owned(),
        Aggregation::Maximum => "maximum".to_owned(),
        Aggregation::Sketch(level) => format!("percentile {} by sketch of ", share(level)),
        Aggregation::Continuous(level) => format!("exact percentile {} of ", share(level)),
        Aggregation::Discrete(level) => format!("exact discrete percentile {} of ", share(level)),
        Aggregation::Deviation => "sample standard deviation".to_owned(),
        Aggregation::Variance => "sample variance".to_owned(),
    }
}

fn window_function(function: WindowFunction) -> String {
    match function {
        WindowFunction::RowNumber => "row number".to_owned(),
        WindowFunction::Rank => "rank".to_owned(),
        WindowFunction::DenseRank => "dense rank".to_owned(),
        WindowFunction::Lag(rows) => format!("value {rows} rows before of "),
        WindowFunction::Lead(rows) => format!("value {rows} rows after of "),
        WindowFunction::Aggregate(of) => aggregation(of),
    }
}

fn end(rows: Option<i64>, unbounded: &str) -> String {
    rows.map_or_else(|| unbounded.to_owned(), |rows| format!("{rows:+}"))
}

const fn arithmetic(op: Arithmetic) -> &'static str {
    match op {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
    }
}

const fn comparison(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn interval(by: &Interval) -> String {
    let parts = [(by.months, "months"), (by.days, "days"), (by.ms, "ms")];
    let given: Vec<_> = parts.iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if given.is_empty() { "0 ms".to_owned() } else { given.join(" ") }
}

#[cfg(test)]
mod tests {
    use model::{AppId, AppSchema, Property, PropertyKind, Slot};

    use crate::{Context, parse_sql};

    #[test]
    fn the_seed_s_query_reads_as_it_was_meant() {
        let property =
            |name: &str, i| Property { name: name.to_owned(), kind: PropertyKind::Number, slot: Slot::Number(i) };
        let schema = AppSchema::new([property("session_duration", 0), property("load_time", 1)]);
        let app = AppId::new("xyz123").unwrap();
        let context = Context { schema: &schema, app, now_ms: 1_790_000_000_000, time_zone: "UTC" };
        let sql = "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users,
            AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time FROM events
            WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise')
            GROUP BY date, country ORDER BY date DESC LIMIT 7";
        let plan = parse_sql(sql).unwrap().plan(&context).unwrap();
        assert_eq!(
            plan.to_string(),
            "events of app xyz123\n\
             where timestamp > 2026-08-22 14:13:20.000 UTC\n\
             \x20 and user_plan in (\"pro\", \"enterprise\")\n\
             group by day of timestamp in UTC\n\
             \x20      , country\n\
             give date = day of timestamp in UTC\n\
             give country = country\n\
             give active_users = count distinct(user_id)\n\
             give avg_session = average(session_duration::number)\n\
             give p95_load_time = percentile 0.95 by sketch of (load_time::number)\n\
             order by date descending, nulls first\n\
             at most 7 rows\n"
        );
    }
}
