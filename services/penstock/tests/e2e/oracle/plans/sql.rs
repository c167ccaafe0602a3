//! A SELECT, in the words of both engines: groups or rows of the events, of other SELECTs, of events joined with users.

use std::sync::Arc;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{
    super::answer::Bound,
    Asked, Question,
    expr::{
        Column,
        Engine::{self, Ours, Theirs},
        Expr,
        Kind::{Bool, Integer, Number, Text, Time},
        Precision::{Near, Summable},
        Table, events, expr, instant, leaf,
    },
    measure::{Around, Measure, exact, measure},
};

const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Clone)]
pub struct Sql {
    pub zone: &'static str,
    select: Select,
}

#[derive(Debug, Clone)]
struct Select {
    from: Source,
    /// What the names of its columns begin with.
    prefix: &'static str,
    /// First and last instant, UTC ms, of the events' own times.
    range: Option<(i64, i64)>,
    filters: Vec<Expr>,
    /// Group keys, or the columns of rows.
    keys: Vec<Expr>,
    /// None for rows.
    measures: Option<Vec<Measure>>,
    windows: Vec<String>,
    having: Option<(Measure, &'static str)>,
    /// Columns, and whether the greatest come first.
    order: Option<Vec<(usize, bool)>>,
    limit: Option<(u32, u32)>,
    distinct: bool,
    /// The same again of other events.
    union: Option<Box<Union>>,
}

#[derive(Debug, Clone)]
struct Union {
    all: bool,
    filter: Expr,
}

#[derive(Debug, Clone)]
enum Source {
    Events,
    /// Another SELECT, by a name of WITH or in place of a table.
    Query(Box<Select>, bool),
    /// Events with what is known of their users.
    Joined(bool),
    /// Events with a value that another SELECT has for their users.
    WithGroups(Box<Select>),
}

impl Sql {
    pub fn random(random: &mut StdRng) -> Self {
        let zone = super::data::ZONES.choose(random).unwrap();
        let select = match random.random_range(0..10) {
            0..5 => groups(random, Source::Events),
            5 => rows(random),
            6 => {
                let inner = Select {
                    prefix: "i",
                    order: None,
                    limit: None,
                    windows: Vec::new(),
                    ..groups(random, Source::Events)
                };
                let named = random.random();
                groups(random, Source::Query(Box::new(inner), named))
            }
            7 => {
                let left = random.random();
                groups(random, Source::Joined(left))
            }
            8 => {
                let key = events().iter().find(|column| column.ours == "user_id").cloned().map(Expr::Column).unwrap();
                let measures = Some(vec![exact(random, &events())]);
                let inner = Select {
                    keys: vec![key],
                    measures,
                    prefix: "i",
                    order: None,
                    limit: None,
                    windows: Vec::new(),
                    ..groups(random, Source::Events)
                };
                groups(random, Source::WithGroups(Box::new(inner)))
            }
            _ => {
                let mut select = groups(random, Source::Events);
                let union = Union { all: random.random(), filter: expr(random, &events(), Bool, 2) };
                select.union = Some(Box::new(union));
                (select.windows, select.order, select.limit) = (Vec::new(), None, None);
                select.measures = Some(vec![exact(random, &events())]);
                select
            }
        };
        Self { zone, select }
    }

    /// The same about times that lie so many ms later.
    pub fn moved(&self, ms: i64) -> Self {
        let mut moved = self.clone();
        moved.select.range = moved.select.range.map(|(from, to)| (from + ms, to + ms));
        moved
    }

    pub fn asked(&self) -> Asked {
        let select = &self.select;
        let bounds = select.bounds();
        let scales = bounds.iter().flat_map(|(_, _, scales)| scales.iter().cloned()).collect::<Vec<_>>();
        Asked {
            zone: self.zone,
            ours: Question::Sql(select.text(Ours, &[])),
            theirs: select.text(Theirs, &scales),
            any_order: select.order.is_none(),
            bounds: bounds.into_iter().map(|(column, bound, _)| (column, bound)).collect(),
        }
    }

    pub fn smaller(&self) -> Vec<Self> {
        self.select
            .smaller()
            .into_iter()
            .map(|select| Self { zone: self.zone, select })
            .chain((self.zone != "UTC").then(|| Self { zone: "UTC", ..self.clone() }))
            .collect()
    }
}

/// A SELECT of groups.
fn groups(random: &mut StdRng, from: Source) -> Select {
    let table = from.table();
    let has_time = !matches!(from, Source::Query(..));
    let mut range = (has_time && random.random_bool(0.8)).then(|| super::range(random));
    let mut filters: Vec<Expr> =
        (0..[0, 0, 1, 1, 2][random.random_range(0..5)]).map(|_| expr(random, &table, Bool, 3)).collect();
    let mut keys = Vec::new();
    if has_time && random.random_bool(0.6) {
        keys.push(bucket(random));
    }
    for _ in 0..[0, 0, 1, 1, 2][random.random_range(0..5)] {
        let kind = *[Text, Text, Text, Number, Integer, Bool, Time].choose(random).unwrap();
        let key = match random.random_bool(0.6) {
            true => leaf(random, &table, kind, true),
            false => expr(random, &table, kind, 2),
        };
        let known = keys.iter().any(|known: &Expr| known.text(Ours) == key.text(Ours));
        if !known && !key.is_constant() && key.precision() < Near {
            keys.push(key);
        }
    }
    let mut measures: Vec<Measure> = (0..random.random_range(1..4)).map(|_| measure(random, &table, 1)).collect();
    let rollup = matches!(from, Source::Events) && random.random_bool(0.15);
    if rollup {
        range = range.map(|(from, to)| (from - from.rem_euclid(DAY_MS), to - to.rem_euclid(DAY_MS) + DAY_MS));
        filters.clear();
        // What the rollup has.
        keys.retain(|key| matches!(key.text(Ours).as_str(), "user_id"));
        measures.retain(|measure| measure.ours() == "COUNT(*)" || measure.ours() == "COUNT(DISTINCT user_id)");
        while measures.is_empty() {
            measures.extend(
                Some(measure(random, &table, 0)).filter(|m| m.ours().ends_with("user_id)") || m.ours() == "COUNT(*)"),
            );
        }
    }
    let mut having = random
        .random_bool(0.2)
        .then(|| (exact(random, &table), *["> 1", "<= 20", "IS NOT NULL", "<> 0"].choose(random).unwrap()));
    having = having.filter(|_| !rollup);
    let mut select = Select {
        from,
        prefix: "",
        range,
        filters,
        windows: Vec::new(),
        having,
        order: None,
        limit: None,
        distinct: false,
        union: None,
        keys,
        measures: Some(measures),
    };
    if !select.keys.is_empty() && random.random_bool(0.2) {
        select.windows = windows(random, select.keys.len());
    }
    if random.random_bool(0.7) {
        let exact = select.exact_columns();
        let mut order: Vec<usize> =
            if random.random_bool(0.4) { exact.choose(random).copied().into_iter().collect() } else { Vec::new() };
        // Nothing is left to chance.
        order.extend((0..select.keys.len()).filter(|key| !order.contains(key)).collect::<Vec<_>>());
        select.order = Some(order.into_iter().map(|column| (column, random.random_bool(0.3))).collect());
        if random.random_bool(0.3) {
            select.limit = Some((random.random_range(0..12), random.random_range(0..4)));
        }
    }
    select
}

/// A SELECT of single events, or of distinct values.
fn rows(random: &mut StdRng) -> Select {
    let table = events();
    let mut keys: Vec<Expr> = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let kind = *[Text, Number, Integer, Bool, Time].choose(random).unwrap();
        let key = expr(random, &table, kind, 3);
        if !keys.iter().any(|known| known.text(Ours) == key.text(Ours)) && !key.is_constant() && key.precision() < Near
        {
            keys.push(key);
        }
    }
    let distinct = !keys.is_empty() && random.random_bool(0.4);
    if !distinct {
        let id = Column {
            ours: "event_id".to_owned(),
            theirs: "event_id".to_owned(),
            kind: Text,
            precision: Summable,
            wild: false,
        };
        keys.push(Expr::Column(Arc::new(id)));
    }
    let all = (0..keys.len()).map(|column| (column, random.random_bool(0.4))).collect::<Vec<_>>();
    Select {
        from: Source::Events,
        prefix: "",
        range: Some(super::range(random)),
        filters: vec![expr(random, &table, Bool, 3)],
        keys,
        measures: None,
        windows: Vec::new(),
        having: None,
        order: random.random_bool(0.7).then_some(all),
        limit: None,
        distinct,
        union: None,
    }
}

fn bucket(random: &mut StdRng) -> Expr {
    let table: Table = events().into_iter().filter(|column| column.ours == "timestamp").collect();
    loop {
        let bucket = expr(random, &table, Time, 1);
        let text = bucket.text(Ours);
        if text.starts_with("date_trunc(") && !text.contains("minute") && !text.contains("hour',") {
            return bucket;
        }
        if text.starts_with("date_trunc('hour'") && random.random_bool(0.5) {
            return bucket;
        }
    }
}

/// Functions of the groups around each group; `k0` to `kn` are the keys.
fn windows(random: &mut StdRng, keys: usize) -> Vec<String> {
    let order = (0..keys).map(|i| format!("{{k{i}}}")).collect::<Vec<_>>().join(", ");
    let partition = if keys > 1 { "PARTITION BY {k0} " } else { "" };
    let all = [
        format!("SUM(COUNT(*)) OVER ({partition}ORDER BY {order})"),
        format!("SUM(COUNT(*)) OVER ({partition})"),
        format!("AVG(COUNT(*)) OVER ({partition}ORDER BY {order} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"),
        format!("MAX(COUNT(*)) OVER (ORDER BY {order} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"),
        format!("LAG(COUNT(*)) OVER ({partition}ORDER BY {order})"),
        format!("LEAD(COUNT(*), 2) OVER (ORDER BY {order} DESC)"),
        format!("COUNT(*) - LAG(COUNT(*)) OVER (ORDER BY {order})"),
        format!("RANK() OVER ({partition}ORDER BY COUNT(*) DESC)"),
        "DENSE_RANK() OVER (ORDER BY COUNT(*))".to_owned(),
        format!("ROW_NUMBER() OVER ({partition}ORDER BY {order})"),
        "COUNT(*) / SUM(COUNT(*)) OVER ()".to_owned(),
    ];
    (0..random.random_range(1..3)).filter_map(|_| all.choose(random).cloned()).collect()
}

impl Source {
    fn table(&self) -> Table {
        let renamed = |prefix: &'static str| {
            events().into_iter().map(move |column| {
                let column = Arc::unwrap_or_clone(column);
                Arc::new(Column {
                    ours: format!("{prefix}.{}", column.ours),
                    theirs: format!("{prefix}.{}", column.theirs),
                    ..column
                })
            })
        };
        let column = |name: &str, theirs: &str, kind| {
            Arc::new(Column {
                ours: name.to_owned(),
                theirs: theirs.to_owned(),
                kind,
                precision: Summable,
                wild: false,
            })
        };
        match self {
            Self::Events => events(),
            Self::Query(inner, _) => inner.columns(),
            Self::Joined(_) => renamed("e")
                .chain([
                    column("u.country", "u.country", Text),
                    column("u.plan", "u.plan", Text),
                    column("u.age::number", "u.age", Number),
                    column("u.member::bool", "u.member", Bool),
                ])
                .collect(),
            Self::WithGroups(inner) => {
                let kind = inner.measures.iter().flatten().next().map_or(Number, Measure::kind);
                renamed("e").chain([column("g.im0", "g.im0", kind)]).collect()
            }
        }
    }

    fn text(&self, engine: Engine) -> (String, String) {
        match self {
            Self::Events => (String::new(), "events".to_owned()),
            Self::Query(inner, true) => (format!("WITH q AS ({}) ", inner.text(engine, &[])), "q".to_owned()),
            Self::Query(inner, false) => (String::new(), format!("({}) AS q", inner.text(engine, &[]))),
            Self::Joined(left) => {
                let join = if *left { "LEFT JOIN" } else { "JOIN" };
                (String::new(), format!("events AS e {join} users AS u ON e.user_id = u.user_id"))
            }
            Self::WithGroups(inner) => {
                let on = "e.user_id = g.ik0";
                (String::new(), format!("events AS e LEFT JOIN ({}) AS g ON {on}", inner.text(engine, &[])))
            }
        }
    }
}

impl Select {
    /// What it gives, as a table.
    fn columns(&self) -> Table {
        let column = |name: String, kind, precision| {
            Arc::new(Column { ours: name.clone(), theirs: name, kind, precision, wild: false })
        };
        let keys = self.keys.iter().enumerate().map(|(i, key)| {
            column(
                format!("{}k{i}", self.prefix),
                key.kind(),
                key.precision().max(if is_wild(key) { super::expr::Precision::Equal } else { Summable }),
            )
        });
        let measures = self.measures.iter().flatten().enumerate();
        // The scale of what isn't exact is known inside alone.
        let exact = measures.filter(|(_, measure)| measure.precision() < Near && !measure.is_sketch());
        keys.chain(exact.map(|(i, m)| column(format!("{}m{i}", self.prefix), m.kind(), m.precision())))
            .filter(|c| !is_wild_name(self, &c.ours))
            .collect()
    }

    fn exact_columns(&self) -> Vec<usize> {
        let measures = self.measures.iter().flatten().enumerate();
        let exact = measures.filter(|(_, measure)| measure.precision() < Near && !measure.is_sketch());
        (0..self.keys.len()).chain(exact.map(|(i, _)| self.keys.len() + i)).collect()
    }

    fn bounds(&self) -> Vec<(usize, Bound, Vec<String>)> {
        let around = Around::default();
        let measures = self.measures.iter().flatten().enumerate();
        let mut bounds: Vec<_> = measures
            .filter_map(|(i, measure)| {
                measure.bound(&around).map(|(bound, scales)| (self.keys.len() + i, bound, scales))
            })
            .collect();
        if self.union.is_some() {
            bounds.clear();
        }
        bounds
    }

    fn text(&self, engine: Engine, scales: &[String]) -> String {
        let around = Around::default();
        let measure = |measure: &Measure| if engine == Ours { measure.ours() } else { measure.theirs(&around) };
        let keys: Vec<_> = self.keys.iter().map(|key| key.text(engine)).collect();
        let window = |text: &String| {
            keys.iter().enumerate().fold(text.clone(), |text, (i, key)| text.replace(&format!("{{k{i}}}"), key))
        };
        let columns: Vec<_> = (keys.iter().enumerate().map(|(i, key)| format!("{key} AS {}k{i}", self.prefix)))
            .chain(
                self.measures
                    .iter()
                    .flatten()
                    .enumerate()
                    .map(|(i, m)| format!("{} AS {}m{i}", measure(m), self.prefix)),
            )
            .chain(self.windows.iter().enumerate().map(|(i, text)| format!("{} AS w{i}", window(text))))
            .chain(scales.iter().cloned())
            .collect();
        let (with, from) = self.from.text(engine);
        let mut conditions: Vec<String> = self.filters.iter().map(|filter| filter.text(engine)).collect();
        if let Some((first, last)) = self.range {
            let at = |ms| if engine == Ours { instant(ms).0 } else { instant(ms).1 };
            let timestamp = if matches!(self.from, Source::Events) { "timestamp" } else { "e.timestamp" };
            conditions.push(format!("{timestamp} >= {} AND {timestamp} < {}", at(first), at(last)));
        }
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let select = |more: Option<&Expr>| {
            let conditions: Vec<_> = conditions.iter().cloned().chain(more.map(|more| more.text(engine))).collect();
            let mut text = format!("SELECT {distinct}{} FROM {from}", columns.join(", "));
            if !conditions.is_empty() {
                text += &format!(" WHERE {}", conditions.join(" AND "));
            }
            if self.measures.is_some() && !keys.is_empty() {
                text +=
                    &format!(" GROUP BY {}", (1..=keys.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(", "));
            }
            if let Some((of, condition)) = &self.having {
                text += &format!(" HAVING {} {condition}", measure(of));
            }
            text
        };
        let mut text = with + &select(None);
        if let Some(union) = &self.union {
            text += &format!(" UNION {}{}", if union.all { "ALL " } else { "" }, select(Some(&union.filter)));
        }
        if let Some(order) = self.order.as_ref().filter(|order| !order.is_empty()) {
            let order =
                order.iter().map(|(column, down)| format!("{}{}", column + 1, if *down { " DESC" } else { "" }));
            text += &format!(" ORDER BY {}", order.collect::<Vec<_>>().join(", "));
        }
        if let Some((limit, offset)) = self.limit {
            text += &format!(" LIMIT {limit} OFFSET {offset}");
        }
        text
    }

    fn smaller(&self) -> Vec<Self> {
        let table = self.from.table();
        let mut smaller = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut select = self.clone();
            change(&mut select);
            smaller.push(select);
        };
        if let Source::Query(inner, _) = &self.from {
            with(&|select| *select = (**inner).clone());
        }
        if self.union.is_some() {
            with(&|select| select.union = None);
        }
        if self.having.is_some() {
            with(&|select| select.having = None);
        }
        if self.limit.is_some() {
            with(&|select| select.limit = None);
        }
        if self.order.is_some() && self.limit.is_none() {
            with(&|select| select.order = None);
        }
        if self.range.is_some() {
            with(&|select| select.range = None);
        }
        for i in 0..self.filters.len() {
            with(&|select| drop(select.filters.remove(i)));
            for filter in self.filters[i].smaller(&table) {
                with(&|select| select.filters[i] = filter.clone());
            }
        }
        for i in 0..self.windows.len() {
            with(&|select| drop(select.windows.remove(i)));
        }
        let measures = self.measures.as_deref().unwrap_or_default();
        for i in 0..measures.len() {
            if measures.len() > 1 && self.order.is_none() {
                with(&|select| drop(select.measures.as_mut().map(|measures| measures.remove(i))));
            }
            for measure in measures[i].smaller(&table) {
                with(&|select| select.measures.iter_mut().for_each(|measures| measures[i] = measure.clone()));
            }
        }
        for i in 0..self.keys.len() {
            if self.order.is_none() && self.windows.is_empty() && self.keys.len() > 1 {
                with(&|select| drop(select.keys.remove(i)));
            }
            for key in self.keys[i].smaller(&table) {
                with(&|select| select.keys[i] = key.clone());
            }
        }
        smaller
    }
}

fn is_wild(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.wild)
}

/// Whether the column of this name holds what is too huge or tiny.
fn is_wild_name(select: &Select, name: &str) -> bool {
    let wild_key =
        select.keys.iter().enumerate().any(|(i, key)| format!("{}k{i}", select.prefix) == name && is_wild(key));
    let wild = |measure: &Measure| {
        matches!(measure, Measure::Of { args, .. } if args.iter().any(is_wild)) && measure.kind() == Number
    };
    let measures = select.measures.iter().flatten().enumerate();
    wild_key || measures.into_iter().any(|(i, measure)| format!("{}m{i}", select.prefix) == name && wild(measure))
}
