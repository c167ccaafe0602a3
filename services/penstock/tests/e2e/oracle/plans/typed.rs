//! A typed query, and the SQL that says the same to the other engine.

use api::v1::{self, Filter, FilterOp, Grain, TypedQuery, Value, value::Kind as Wire};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{
    Asked, Question,
    data::{STATUSES, TYPES, ZONES},
    expr::{
        Engine::{Ours, Theirs},
        Expr,
        Kind::{Bool, Integer, Number, Text, Time},
        Precision::{Near, Summable},
        events, expr, leaf, quoted,
    },
    measure::{Around, Buckets, Measure, exact, measure},
    times::{Comparison, Times, times},
};

/// What the others are called.
const OTHERS: &str = "all others";
#[derive(Debug, Clone)]
pub struct Typed {
    pub zone: &'static str,
    times: Times,
    grain: Option<(Grain, &'static str)>,
    dimensions: Vec<Expr>,
    filters: Vec<(Filter, String)>,
    measures: Vec<Measure>,
    /// Formulas with a name, and the condition on their events.
    named: Vec<(Measure, (Filter, String))>,
    having: Option<(Measure, &'static str)>,
    order: Option<(usize, bool)>,
    limit: Option<(u32, u32)>,
    comparison: Option<Comparison>,
    fill: Option<v1::Fill>,
    top: Option<(u32, bool)>,
    totals: bool,
}

impl Typed {
    pub fn random(random: &mut StdRng) -> Self {
        let table = events();
        let zone = ZONES.choose(random).unwrap();
        let times = times(random);
        let grain = random.random_bool(0.6).then(|| times.grain(random)).flatten();
        let mut dimensions: Vec<Expr> = Vec::new();
        for _ in 0..[0, 1, 1, 2][random.random_range(0..4)] {
            let kind = *[Text, Text, Number, Integer, Bool, Time].choose(random).unwrap();
            let dimension =
                if random.random() { leaf(random, &table, kind, false) } else { expr(random, &table, kind, 2) };
            let known = dimensions.iter().any(|known| known.text(Ours) == dimension.text(Ours));
            if !known && !dimension.is_constant() && dimension.precision() < Near {
                dimensions.push(dimension);
            }
        }
        let bounded = !matches!(times, Times::All);
        let named = (0..random.random_range(0..2)).map(|_| (exact(random, &table), filter(random))).collect::<Vec<_>>();
        let mut measures: Vec<Measure> = (0..random.random_range(1..4)).map(|_| measure(random, &table, 1)).collect();
        if !named.is_empty() {
            let other = exact(random, &table);
            let named = Box::new(Measure::Named(0, Box::new(named[0].0.clone())));
            measures.push(Measure::Arithmetic('/', Box::new(other), named));
        }
        let windows = random.random_bool(0.35);
        if windows {
            measures.push(buckets(random, grain.is_some(), times.has_length()));
        }
        let totals = !windows && random.random_bool(0.15);
        let comparable = matches!(times, Times::Days(..) | Times::Period(..));
        let comparison = (comparable && random.random_bool(0.25))
            .then(|| *[Comparison::Previous, Comparison::Year].choose(random).unwrap())
            .filter(|comparison| times.allows(*comparison, grain));
        // The engine fills hours in even steps, which a change of half an hour is not.
        let even = *zone != "Australia/Lord_Howe" || !matches!(grain, Some((Grain::Hour, _)));
        let fill = (bounded && grain.is_some() && even && random.random_bool(0.25))
            .then(|| *[v1::Fill::Zero, v1::Fill::Null].choose(random).unwrap());
        let top =
            measures.iter().position(|m| m.precision() < Near && !m.is_sketch() && !matches!(m, Measure::Buckets(..)));
        let top = top.filter(|at| *at == 0 && !dimensions.is_empty() && random.random_bool(0.3));
        let mut typed = Self {
            zone,
            times,
            grain,
            dimensions,
            filters: (0..[0, 0, 1, 2][random.random_range(0..4)]).map(|_| filter(random)).collect(),
            measures,
            named,
            having: (random.random_bool(0.15))
                .then(|| (exact(random, &table), *["> 1", "<= 20", "<> 0"].choose(random).unwrap())),
            order: None,
            limit: random.random_bool(0.15).then(|| (random.random_range(1..12), random.random_range(0..3))),
            comparison,
            fill,
            top: top.map(|_| (random.random_range(1..4), random.random())),
            totals,
        };
        if random.random_bool(0.3) {
            let exact: Vec<_> = typed.exact_columns();
            typed.order = exact.choose(random).map(|column| (*column, random.random()));
        }
        typed
    }

    /// The same about times that lie so many ms later.
    pub fn moved(&self, ms: i64) -> Self {
        let mut moved = self.clone();
        if let Times::Between(from, to) = self.times {
            moved.times = Times::Between(from + ms, to + ms);
        }
        moved
    }

    fn keys(&self) -> usize {
        usize::from(self.grain.is_some()) + self.dimensions.len()
    }

    /// How many columns each measure has.
    fn each(&self) -> usize {
        1 + usize::from(self.comparison.is_some())
    }

    fn exact_columns(&self) -> Vec<usize> {
        let measures = self.measures.iter().enumerate();
        let exact = measures.filter(|(_, measure)| measure.precision() < Near && !measure.is_sketch());
        (0..self.keys()).chain(exact.map(|(i, _)| self.keys() + i * self.each())).collect()
    }

    pub fn asked(&self) -> Asked {
        let (theirs, bounds) = self.theirs();
        Asked {
            zone: self.zone,
            ours: Question::Typed(Box::new(self.ours())),
            theirs,
            any_order: self.order.is_some() && self.limit.is_none(),
            bounds,
        }
    }

    fn ours(&self) -> TypedQuery {
        let mut names: Vec<String> = if self.grain.is_some() { vec!["time".to_owned()] } else { Vec::new() };
        names.extend((0..self.dimensions.len()).map(|i| format!("d{i}")));
        for i in 0..self.measures.len() {
            names.extend([format!("m{i}"), format!("m{i}_before")].into_iter().take(self.each()));
        }
        let dimension =
            |(i, dimension): (usize, &Expr)| v1::Dimension { name: format!("d{i}"), expression: dimension.text(Ours) };
        let named = |(i, (measure, (filter, _))): (usize, &(Measure, (Filter, String)))| v1::NamedFormula {
            name: format!("named_{i}"),
            formula: measure.ours(),
            filters: vec![filter.clone()],
            unit: String::new(),
        };
        let order = self.order.map(|(column, descending)| v1::OrderBy { column: names[column].clone(), descending });
        let (limit, offset) = self.limit.unwrap_or_default();
        let earlier = |comparison| match comparison {
            Comparison::Previous => v1::Earlier::Previous,
            Comparison::Year => v1::Earlier::Year,
        };
        TypedQuery {
            measures: (self.measures.iter().enumerate())
                .map(|(i, measure)| v1::Measure {
                    name: format!("m{i}"),
                    formula: measure.ours(),
                    ..v1::Measure::default()
                })
                .collect(),
            dimensions: self.dimensions.iter().enumerate().map(dimension).collect(),
            filters: self.filters.iter().map(|(filter, _)| filter.clone()).collect(),
            range: self.times.ours(self.zone),
            grain: self.grain.map_or(0, |(grain, _)| grain.into()),
            order_by: order.into_iter().collect(),
            limit,
            offset,
            having: self.having.as_ref().map(|(measure, is)| format!("{} {is}", measure.ours())).unwrap_or_default(),
            comparison: self
                .comparison
                .map(|comparison| v1::Comparison { to: Some(v1::comparison::To::Earlier(earlier(comparison).into())) }),
            fill: self.fill.map_or(0, Into::into),
            top: self.top.map(|(n, others)| v1::Top {
                n,
                others: if others { OTHERS.to_owned() } else { String::new() },
                ..v1::Top::default()
            }),
            totals: self.totals,
            formulas: self.named.iter().enumerate().map(named).collect(),
            ..TypedQuery::default()
        }
    }

    /// Events with `real`, whether they count at all, `own` and `before`, of which time they are, the bucket `time` and dimensions
    /// `d0`, ...; gathered by these.
    fn theirs(&self) -> (String, Vec<(usize, super::super::answer::Bound)>) {
        let (from, to) = self.times.theirs();
        let between = |by: &str| {
            let end = |op: &str, at: &Option<String>| at.as_ref().map(|at| format!("timestamp {op} {at}{by}"));
            let ends: Vec<_> = [end(">=", &from), end("<", &to)].into_iter().flatten().collect();
            if ends.is_empty() { "TRUE".to_owned() } else { format!("({})", ends.join(" AND ")) }
        };
        let by = self.comparison.map(|comparison| self.times.back(comparison));
        let before = match (&by, self.comparison) {
            // Of a shorter month before, all of it.
            (Some(by), Some(Comparison::Previous)) => {
                let from = from.clone().unwrap_or_default();
                format!("(timestamp >= {from} - {by} AND timestamp < {from})")
            }
            (Some(by), _) => between(&format!(" - {by}")),
            (None, _) => "FALSE".to_owned(),
        };
        let at = match &by {
            Some(_) => format!("CASE WHEN {before} THEN timestamp + {} ELSE timestamp END", self.shift()),
            None => "timestamp".to_owned(),
        };
        let mut columns =
            vec![format!("{} AS own", between("")), format!("{before} AS before"), "TRUE AS real".to_owned()];
        let mut keys: Vec<String> = Vec::new();
        if let Some((_, grain)) = self.grain {
            columns.push(format!("{} AS time", truncated(grain, &format!("({at})"))));
            keys.push("time".to_owned());
        }
        let filters: Vec<_> = self
            .filters
            .iter()
            .map(|(_, text)| text.clone())
            .chain([format!("({} OR {before})", between(""))])
            .collect();
        let mut with = format!("a AS (SELECT *, {} FROM events WHERE {})", columns.join(", "), filters.join(" AND "));
        let named: Vec<String> = self.named.iter().map(|(_, (_, text))| text.clone()).collect();
        // Buckets are those of its own time, whatever they are compared with; all of a time has the length that it had.
        let seconds = |of: &str| match (&by, &from, &to) {
            (Some(by), Some(from), Some(to)) if of == "before" && self.grain.is_none() => {
                let end =
                    if self.comparison == Some(Comparison::Previous) { from.clone() } else { format!("{to} - {by}") };
                self.seconds(Some(&format!("{from} - {by}")), Some(&end))
            }
            _ => self.seconds(from.as_deref(), to.as_deref()),
        };
        let plain = Around { named: named.clone(), filters: vec!["own".to_owned()], ..Around::default() };
        let mut shown: Vec<String> = self.dimensions.iter().map(|dimension| dimension.text(Theirs)).collect();
        let mut only = String::new();
        if let Some((n, others)) = self.top {
            let by = self.measures[0].theirs(&plain);
            let of = &shown[0];
            with += &format!(
                ", top AS (SELECT {of} AS d, {by} AS m FROM a WHERE {of} IS NOT NULL GROUP BY 1 ORDER BY m DESC NULLS LAST, d LIMIT {n})"
            );
            let is_one = format!("COALESCE({of} IN (SELECT d FROM top), FALSE)");
            if others {
                let text = match self.dimensions[0].kind() {
                    Number => format!(
                        "CASE WHEN {of} = FLOOR({of}) THEN CAST(CAST({of} AS BIGINT) AS VARCHAR) ELSE CAST({of} AS VARCHAR) END"
                    ),
                    Time => format!("strftime(({of})::TIMESTAMP, '%Y-%m-%d %H:%M:%S.%g')"),
                    _ => format!("CAST({of} AS VARCHAR)"),
                };
                shown[0] = format!("CASE WHEN {is_one} THEN {text} ELSE '{OTHERS}' END");
            } else {
                only = format!(" WHERE {is_one}");
            }
        }
        let dimensions: Vec<String> = (0..shown.len()).map(|i| format!("d{i}")).collect();
        let named_dimensions: String =
            shown.iter().zip(&dimensions).map(|(text, name)| format!(", {text} AS {name}")).collect();
        with += &format!(", b AS (SELECT *{named_dimensions} FROM a{only})");
        keys.extend(dimensions.iter().cloned());
        let mut source = "b";
        if let (Some(_), Some((_, grain)), Some(from), Some(to)) = (self.fill, self.grain, &from, &to) {
            // Events that no aggregate sees make a group of each bucket for each combination that there is.
            let step = if grain == "quarter" { "3 month".to_owned() } else { format!("1 {grain}") };
            let local =
                format!("generate_series({}::TIMESTAMP, ({to})::TIMESTAMP, INTERVAL '{step}')", truncated(grain, from));
            let buckets = match grain {
                "minute" | "hour" => format!("generate_series({}, {to}, INTERVAL '{step}')", truncated(grain, from)),
                _ => format!("list_transform({local}, lambda s: s::TIMESTAMPTZ)"),
            };
            let combinations = match dimensions.is_empty() {
                true => "SELECT 1 AS one".to_owned(),
                false => format!("SELECT DISTINCT {} FROM b", dimensions.join(", ")),
            };
            with += &format!(
                ", c AS (SELECT * FROM b UNION ALL BY NAME SELECT FALSE AS own, FALSE AS before, FALSE AS real, time{} FROM \
                 ({combinations}), (SELECT {} AS time FROM (SELECT unnest({buckets}) AS s) WHERE s < {to}))",
                dimensions.iter().map(|d| format!(", {d}")).collect::<String>(),
                truncated(grain, "s"),
            );
            source = "c";
        }
        let filled = self.fill.map(|fill| if fill == v1::Fill::Zero { "0" } else { "NULL" });
        let around = |of: &str| Around {
            filters: vec![of.to_owned()],
            fill: filled,
            partition: dimensions.clone(),
            time: self.grain.map(|_| "time".to_owned()),
            seconds: seconds(of),
            named: named.clone(),
        };
        let mut values: Vec<String> = Vec::new();
        let (mut bounds, mut scales) = (Vec::new(), Vec::new());
        for measure in &self.measures {
            for of in ["own", "before"].into_iter().take(self.each()) {
                let around = around(of);
                if let Some((bound, scale)) = measure.bound(&around) {
                    bounds.push((keys.len() + values.len(), bound));
                    scales.extend(scale);
                }
                values.push(measure.theirs(&around));
            }
        }
        let mark = |is: &str| self.totals.then(|| is.to_owned());
        let all: Vec<_> =
            keys.iter().chain(&values).cloned().chain(mark("FALSE")).chain(scales.iter().cloned()).collect();
        let mut text = format!("SELECT {} FROM {source}", all.join(", "));
        if !keys.is_empty() {
            text += &format!(" GROUP BY {}", keys.join(", "));
        }
        if let Some((measure, is)) = &self.having {
            let plain = around("real");
            text += &format!(" HAVING {} {is}", measure.theirs(&plain));
        }
        let mut order: Vec<String> = Vec::new();
        if let Some((column, down)) = self.order {
            order.push(format!("{}{}", column + 1, if down { " DESC" } else { "" }));
        }
        let others = (0..keys.len()).filter(|key| self.order.is_none_or(|(column, _)| column != *key));
        order.extend(others.map(|key| (key + 1).to_string()));
        if !order.is_empty() {
            text += &format!(" ORDER BY {}", order.join(", "));
        }
        if let Some((limit, offset)) = self.limit {
            text += &format!(" LIMIT {limit} OFFSET {offset}");
        }
        if self.totals {
            // Of all events, whatever is left out above; the row comes last.
            let around = |of: &str| Around {
                filters: vec![of.to_owned()],
                fill: None,
                partition: Vec::new(),
                time: None,
                ..around(of)
            };
            let mut row: Vec<String> = keys.iter().map(|_| "NULL".to_owned()).collect();
            let mut scales = Vec::new();
            for measure in &self.measures {
                for of in ["own", "before"].into_iter().take(self.each()) {
                    row.push(measure.theirs(&around(of)));
                    scales.extend(measure.bound(&around(of)).into_iter().flat_map(|(_, scales)| scales));
                }
            }
            row.push("TRUE".to_owned());
            row.extend(scales);
            text = format!("(SELECT * FROM ({text})) UNION ALL (SELECT {} FROM a)", row.join(", "));
            if order.is_empty() {
                order.push("1".to_owned());
            }
            let mark = keys.len() + values.len() + 1;
            text = format!("SELECT * FROM ({text}) ORDER BY {mark}, {}", order.join(", "));
        }
        (format!("WITH {with} {text}"), bounds)
    }

    /// What is added to the time of an event of the time before.
    fn shift(&self) -> String {
        match (self.comparison, self.times, self.grain) {
            // Day by day from the first: months have different days.
            (Some(Comparison::Previous), Times::Period(..), Some((grain, _))) if grain < Grain::Month => {
                let (from, _) = self.times.theirs();
                let (from, by) = (from.unwrap_or_default(), self.times.back(Comparison::Previous));
                format!("to_days(date_diff('day', {from} - {by}, {from})::INTEGER)")
            }
            (Some(comparison), times, _) => times.back(comparison),
            (None, ..) => String::new(),
        }
    }

    /// How long the time of a group is, in seconds, as far as it is in the range.
    fn seconds(&self, from: Option<&str>, to: Option<&str>) -> String {
        match (self.grain, from, to) {
            (None, Some(from), Some(to)) => format!("(epoch({to}) - epoch({from}))"),
            (Some((_, grain)), Some(from), Some(to)) => {
                let step = if grain == "quarter" { "3 month".to_owned() } else { format!("1 {grain}") };
                format!("GREATEST(epoch(LEAST(time + INTERVAL '{step}', {to})) - epoch(GREATEST(time, {from})), 0)")
            }
            _ => String::new(),
        }
    }

    pub fn smaller(&self) -> Vec<Self> {
        let table = events();
        let mut smaller = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut typed = self.clone();
            change(&mut typed);
            smaller.push(typed);
        };
        with(&|typed| typed.totals = false);
        with(&|typed| typed.having = None);
        with(&|typed| typed.limit = None);
        with(&|typed| typed.order = None);
        with(&|typed| typed.fill = None);
        with(&|typed| typed.top = None);
        with(&|typed| typed.zone = "UTC");
        if self.order.is_none() {
            with(&|typed| typed.comparison = None);
        }
        for i in 0..self.filters.len() {
            with(&|typed| drop(typed.filters.remove(i)));
        }
        if self.order.is_none() && self.top.is_none() {
            for i in 0..self.dimensions.len() {
                with(&|typed| drop(typed.dimensions.remove(i)));
            }
        }
        for i in 0..self.dimensions.len() {
            for dimension in self.dimensions[i].smaller(&table) {
                with(&|typed| typed.dimensions[i] = dimension.clone());
            }
        }
        for i in 0..self.measures.len() {
            if self.measures.len() > 1 && self.order.is_none() {
                with(&|typed| drop(typed.measures.remove(i)));
            }
            for measure in self.measures[i].smaller(&table) {
                with(&|typed| typed.measures[i] = measure.clone());
            }
        }
        let unlike = |typed: &Self| format!("{typed:?}") != format!("{self:?}");
        smaller.into_iter().filter(unlike).collect()
    }
}

fn buckets(random: &mut StdRng, grain: bool, has_length: bool) -> Measure {
    let table = events();
    let mut all = vec![Buckets::Rank, Buckets::Share];
    if grain {
        all.extend([
            Buckets::MovingAverage(random.random_range(1..5)),
            Buckets::Cumulative,
            Buckets::Change,
            Buckets::PercentChange,
        ]);
    }
    if has_length {
        all.push(Buckets::Rate);
    }
    let buckets = *all.choose(random).unwrap();
    loop {
        let inner = exact(random, &table);
        // The sum of all must be the same in any order: what it is divided by.
        if inner.precision() == Summable || !matches!(buckets, Buckets::Share) {
            return Measure::Buckets(buckets, Box::new(inner));
        }
    }
}

/// The start of the bucket; of hours by the instant.
fn truncated(grain: &str, time: &str) -> String {
    match grain {
        "minute" | "hour" => format!("({time} - (({time})::TIMESTAMP - date_trunc('{grain}', ({time})::TIMESTAMP)))"),
        _ => format!("date_trunc('{grain}', {time})"),
    }
}

/// A condition in parts, and in the other engine's words.
fn filter(random: &mut StdRng) -> (Filter, String) {
    use FilterOp::{Eq, Ge, Gt, In, IsNotNull, IsNull, Le, Like, Lt, Ne, NotIn};
    let made = |field: &str, op: FilterOp, values: Vec<Wire>, theirs: String| {
        let values = values.into_iter().map(|kind| Value { kind: Some(kind) }).collect();
        (Filter { field: field.to_owned(), op: op.into(), values }, theirs)
    };
    let field = *["status", "city", "country", "event_type"].choose(random).unwrap();
    match random.random_range(0..6) {
        0 => {
            let text = *STATUSES.choose(random).unwrap();
            let (op, sign) = *[(Eq, "="), (Ne, "<>"), (Ge, ">=")].choose(random).unwrap();
            made(field, op, vec![Wire::String(text.to_owned())], format!("{field} {sign} {}", quoted(text)))
        }
        1 => {
            let texts: Vec<_> = (0..random.random_range(1..4)).map(|_| *TYPES.choose(random).unwrap()).collect();
            let (op, word) = *[(In, "IN"), (NotIn, "NOT IN")].choose(random).unwrap();
            let list = texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
            let values = texts.into_iter().map(|text| Wire::String(text.to_owned())).collect();
            made("event_type", op, values, format!("event_type {word} ({list})"))
        }
        2 => {
            let x = f64::from(random.random_range(-100..400)) / 4.0;
            let field = *["amount", "quantity", "score"].choose(random).unwrap();
            let (op, sign) = *[(Gt, ">"), (Le, "<="), (Lt, "<"), (Ne, "<>")].choose(random).unwrap();
            made(field, op, vec![Wire::Number(x)], format!("{field} {sign} '{x:?}'::DOUBLE"))
        }
        3 => {
            let (op, word) = *[(IsNull, "IS NULL"), (IsNotNull, "IS NOT NULL")].choose(random).unwrap();
            let field = *["amount", "city", "country", "user_id", "vip", "due"].choose(random).unwrap();
            made(field, op, Vec::new(), format!("{field} {word}"))
        }
        4 => made(field, Like, vec![Wire::String("%a_".to_owned())], format!("{field} LIKE '%a_'")),
        _ => {
            let b = random.random();
            made("vip", Eq, vec![Wire::Bool(b)], format!("vip = {b}"))
        }
    }
}
