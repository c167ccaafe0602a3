//! What is asked as a typed query, and again as a metric: one value, split by time and dimensions.

use api::v1::{
    self, Evaluation, Filter, FilterOp, Grain, Measure, MetricDefinition, TimeRange, TypedQuery, Value, value::Kind,
};

use super::{
    answer::{Bound, ROUNDING},
    client::in_zone,
};

/// A question in parts. Rows come by time, then by dimensions.
pub struct Typed {
    pub name: &'static str,
    pub formula: &'static str,
    pub dimensions: &'static [&'static str],
    pub filters: fn() -> Vec<Filter>,
    /// UTC seconds.
    pub range: Option<(i64, i64)>,
    pub grain: Grain,
    pub zone: &'static str,
    /// The whole of it for DuckDB, with the scale of the bound as its last column.
    pub theirs: &'static str,
    /// How near the value, the last column of ours, is.
    pub bound: Option<Bound>,
}

const fn ask(name: &'static str, formula: &'static str, theirs: &'static str) -> Typed {
    let (range, grain) = (None, Grain::Unspecified);
    Typed { name, formula, dimensions: &[], filters: Vec::new, range, grain, zone: "UTC", theirs, bound: None }
}

impl Typed {
    const fn by(self, dimensions: &'static [&'static str]) -> Self {
        Self { dimensions, ..self }
    }

    const fn where_all(self, filters: fn() -> Vec<Filter>) -> Self {
        Self { filters, ..self }
    }

    const fn every(self, grain: Grain, zone: &'static str) -> Self {
        Self { grain, zone, ..self }
    }

    const fn between(self, from_s: i64, to_s: i64) -> Self {
        Self { range: Some((from_s, to_s)), ..self }
    }

    const fn near(self, bound: Bound) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// The bound and the column that it is for.
    pub fn bounds(&self) -> Vec<(usize, Bound)> {
        let value = self.dimensions.len() + usize::from(self.grain != Grain::Unspecified);
        self.bound.iter().map(|bound| (value, *bound)).collect()
    }

    fn time_range(&self) -> Option<TimeRange> {
        let instant = |seconds| Some(api::convert::WireTime { seconds, nanos: 0 });
        self.range.map(|(from, to)| TimeRange { from: instant(from), to: instant(to), ..TimeRange::default() })
    }

    fn dimensions(&self) -> Vec<v1::Dimension> {
        let dimension = |text: &&str| v1::Dimension { name: String::new(), expression: (*text).to_owned() };
        self.dimensions.iter().map(dimension).collect()
    }

    pub fn as_query(&self) -> v1::QueryRequest {
        let measure = Measure { name: "value".to_owned(), formula: self.formula.to_owned(), ..Measure::default() };
        let query = TypedQuery {
            measures: vec![measure],
            dimensions: self.dimensions(),
            filters: (self.filters)(),
            range: self.time_range(),
            grain: self.grain.into(),
            ..TypedQuery::default()
        };
        v1::QueryRequest { query: Some(query), options: in_zone(self.zone), ..v1::QueryRequest::default() }
    }

    /// The formula and the filters are the metric's own, the rest is how it is evaluated.
    pub fn as_metric(&self, app: &str, name: &str) -> (MetricDefinition, v1::EvaluateRequest) {
        let definition = MetricDefinition {
            name: name.to_owned(),
            formula: self.formula.to_owned(),
            filters: (self.filters)(),
            ..MetricDefinition::default()
        };
        let evaluation = Evaluation {
            dimensions: self.dimensions(),
            range: self.time_range(),
            grain: self.grain.into(),
            ..Evaluation::default()
        };
        let (app_id, name) = (app.to_owned(), name.to_owned());
        let (evaluation, options) = (Some(evaluation), in_zone(self.zone));
        (definition, v1::EvaluateRequest { app_id, name, version: 0, evaluation, options })
    }
}

fn filter(field: &str, op: FilterOp, values: impl IntoIterator<Item = Kind>) -> Filter {
    let values = values.into_iter().map(|kind| Value { kind: Some(kind) }).collect();
    Filter { field: field.to_owned(), op: op.into(), values }
}

fn text(text: &str) -> Kind {
    Kind::String(text.to_owned())
}

fn late_from_new_york() -> Vec<Filter> {
    vec![
        filter("origin", FilterOp::In, [text("JFK"), text("LGA")]),
        filter("dep_delay", FilterOp::Gt, [Kind::Number(15.5)]),
    ]
}

fn flown() -> Vec<Filter> {
    vec![
        filter("departed", FilterOp::Eq, [Kind::Bool(true)]),
        filter("arr_delay", FilterOp::IsNotNull, []),
        filter("airline", FilterOp::Like, [text("%Air%")]),
    ]
}

fn not_the_big_ones() -> Vec<Filter> {
    vec![
        filter("carrier", FilterOp::NotIn, [text("UA"), text("B6"), text("EV"), text("DL")]),
        filter("flight", FilterOp::Le, [Kind::Integer(1500)]),
        filter("timestamp", FilterOp::Ge, [Kind::Time(api::convert::time_to_wire(1_370_000_000_000))]),
    ]
}

fn cancelled() -> Vec<Filter> {
    vec![filter("departure", FilterOp::IsNull, []), filter("dest", FilterOp::Ne, [text("ORD")])]
}

pub const QUESTIONS: [Typed; 17] = [
    ask("all events", "COUNT(*)", "SELECT COUNT(*) FROM events"),
    ask(
        "users by day",
        "COUNT(DISTINCT user_id)",
        "SELECT date_trunc('day', timestamp), COUNT(DISTINCT user_id) FROM events GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Day, "America/New_York"),
    ask(
        "late flights by week",
        "COUNT(*)",
        "SELECT date_trunc('week', timestamp), COUNT(*) FROM events WHERE origin IN ('JFK', 'LGA') AND dep_delay > \
         15.5 GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Week, "Europe/Berlin")
    .where_all(late_from_new_york),
    ask(
        "delay by month and origin",
        "AVG(arr_delay)",
        "SELECT date_trunc('month', timestamp), origin, AVG(arr_delay), AVG(ABS(arr_delay)) FROM events WHERE \
         departed AND arr_delay IS NOT NULL AND airline LIKE '%Air%' GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .every(Grain::Month, "America/New_York")
    .by(&["origin"])
    .where_all(flown)
    .near(ROUNDING),
    ask(
        "speed by carrier",
        "SUM(distance) / SUM(air_time) * 60",
        "SELECT carrier, SUM(distance) / SUM(air_time) * 60, SUM(distance) / SUM(air_time) * 60 FROM events GROUP BY \
         1 ORDER BY 1",
    )
    .by(&["carrier"])
    .near(ROUNDING),
    ask(
        "sum of speeds",
        "SUM(speed)",
        "SELECT dest, SUM(speed), SUM(ABS(speed)) FROM events WHERE carrier NOT IN ('UA', 'B6', 'EV', 'DL') AND \
         flight <= 1500 AND timestamp >= '2013-05-31 11:33:20' GROUP BY 1 ORDER BY 1",
    )
    .by(&["dest"])
    .where_all(not_the_big_ones)
    .near(ROUNDING),
    ask(
        "hours of a weekend when clocks change",
        "COUNT(DISTINCT dest)",
        "SELECT to_timestamp(floor(epoch(timestamp) / 3600) * 3600), COUNT(DISTINCT dest) FROM events WHERE \
         epoch(timestamp) >= 1382745600 AND epoch(timestamp) < 1382918400 GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Hour, "Europe/Berlin")
    .between(1_382_745_600, 1_382_918_400),
    ask(
        "cancelled flights by plane, some without a number",
        "COUNT(*)",
        "SELECT tailnum, COUNT(*) FROM events WHERE departure IS NULL AND dest != 'ORD' GROUP BY 1 ORDER BY 1",
    )
    .by(&["tailnum"])
    .where_all(cancelled),
    ask(
        "exact percentile by an expression",
        "PERCENTILE_DISC(0.9, dep_delay)",
        "SELECT lower(left(airline, 3)), origin = 'JFK', QUANTILE_DISC(dep_delay, 0.9) FROM events GROUP BY 1, 2 \
         ORDER BY 1, 2",
    )
    .by(&["lower(left(airline, 3))", "origin = 'JFK'"]),
    ask(
        "median by quarter",
        "MEDIAN(speed)",
        "SELECT date_trunc('quarter', timestamp), MEDIAN(speed) FROM events GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Quarter, "UTC"),
    ask(
        "share of the cancelled",
        "COUNT(*) FILTER (WHERE NOT departed) / COUNT(*)",
        "SELECT date_trunc('year', timestamp), COUNT(*) FILTER (WHERE NOT departed) / COUNT(*), 1.0 FROM events \
         GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Year, "America/New_York")
    .near(ROUNDING),
    ask(
        "deviation by hour of the day",
        "STDDEV(arr_delay)",
        "SELECT EXTRACT(hour FROM timestamp), STDDEV(arr_delay), SQRT(AVG(arr_delay * arr_delay)) FROM events GROUP \
         BY 1 ORDER BY 1",
    )
    .by(&["EXTRACT(hour FROM timestamp)"])
    .every(Grain::Unspecified, "America/New_York")
    .near(ROUNDING),
    ask(
        "division by zero is NULL",
        "SUM(distance) / COUNT_IF(dest = 'HNL')",
        "SELECT origin, SUM(distance) / NULLIF(COUNT(*) FILTER (WHERE dest = 'HNL'), 0), 1.0 FROM events GROUP BY 1 \
         ORDER BY 1",
    )
    .by(&["origin"])
    .near(ROUNDING),
    ask(
        "mean of three months",
        "MOVING_AVG(COUNT(*), 3)",
        "SELECT date_trunc('month', timestamp) AS m, origin, AVG(COUNT(*)) OVER (PARTITION BY origin ORDER BY \
         date_trunc('month', timestamp) ROWS 2 PRECEDING), COUNT(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .every(Grain::Month, "America/New_York")
    .by(&["origin"])
    .near(ROUNDING),
    ask(
        "miles so far",
        "CUMULATIVE(SUM(distance))",
        "SELECT date_trunc('week', timestamp) AS w, SUM(SUM(distance)) OVER (ORDER BY date_trunc('week', timestamp)) \
         FROM events GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Week, "Europe/Berlin"),
    ask(
        "change of places",
        "CHANGE(COUNT(DISTINCT dest))",
        "SELECT date_trunc('day', timestamp) AS d, COUNT(DISTINCT dest) - LAG(COUNT(DISTINCT dest)) OVER (ORDER BY \
         date_trunc('day', timestamp)) FROM events GROUP BY 1 ORDER BY 1",
    )
    .every(Grain::Day, "America/New_York"),
    ask(
        "share of the miles of a quarter",
        "SHARE(SUM(distance))",
        "SELECT date_trunc('quarter', timestamp) AS q, carrier, SUM(distance) / SUM(SUM(distance)) OVER (PARTITION BY \
         date_trunc('quarter', timestamp)), 1.0 FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .every(Grain::Quarter, "UTC")
    .by(&["carrier"])
    .near(ROUNDING),
];
