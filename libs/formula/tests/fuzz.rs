//! Whatever is asked, the answer is a verified statement or a fault with a place, and never a panic.
//!
//! `PROPTEST_CASES` says how much of each kind is asked. With more than by default it is also judged how long a question takes.
#![allow(clippy::unwrap_used)]

use formula::{
    Comparison, Context, Dimension, Fill, Formula, Grain, Measure, Period, Statement, Top, TypedQuery, parse_sql,
    validate_formula, verify,
};
use model::{
    AppId, AppSchema, AppSet, Error, FilterOp, MetricFilter, Permission, Priority, Property, PropertyKind, Scope, Slot,
    TenantId, Value,
};
use proptest::prelude::*;

const WORDS: [&str; 108] = [
    "SELECT",
    "FROM",
    "events",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "DISTINCT",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "IS",
    "NULL",
    "TRUE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "INTERVAL",
    "DAY",
    "AT",
    "TIME",
    "ZONE",
    "FILTER",
    "WITHIN",
    "DESC",
    "NULLS",
    "LAST",
    "UNION",
    "JOIN",
    "SETTINGS",
    "FORMAT",
    "(",
    ")",
    ",",
    ".",
    ";",
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<>",
    "<",
    ">=",
    "||",
    "::",
    "'x'",
    "'2024-01-01'",
    "'it''s'",
    "'Europe/Berlin'",
    "'day'",
    "0",
    "1",
    "0.95",
    "1e300",
    "30",
    "timestamp",
    "country",
    "user_id",
    "app_id",
    "amount",
    "status",
    "code",
    "\"q q\"",
    "COUNT",
    "SUM",
    "PERCENTILE",
    "date_trunc",
    "now",
    "round",
    "coalesce",
    "lower",
    "number",
    "EXTRACT",
    "date",
    "n",
    "WITH",
    "users",
    "ON",
    "USING",
    "LEFT",
    "CROSS",
    "ALL",
    "OVER",
    "PARTITION",
    "ROWS",
    "PRECEDING",
    "CURRENT",
    "ROW",
    "UNBOUNDED",
    "LAG",
    "RANK",
    "MOVING_AVG",
    "SHARE",
    "a",
    "u",
];

const QUERIES: [&str; 12] = [
    "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as n FROM events WHERE app_id = 'a' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'x') GROUP BY date, country ORDER BY date DESC",
    "SELECT country c, SUM(amount) / COUNT(*) r FROM events GROUP BY c HAVING r > 1 ORDER BY 2 DESC NULLS LAST LIMIT 10 OFFSET 5",
    "SELECT CASE status WHEN 'a' THEN 1 ELSE amount END x, coalesce(status, country, '') y FROM events WHERE status NOT LIKE '%a\\_' ORDER BY round(amount, 2)",
    "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY amount) p, COUNT(*) FILTER (WHERE code = 5) q FROM events",
    "SELECT extract(hour from timestamp AT TIME ZONE 'Europe/Berlin') h, MAX(timestamp) FROM events WHERE amount BETWEEN 1 AND 2 OR status IS NULL GROUP BY 1",
    "SELECT DISTINCT lower(status) || '-' || country s FROM events WHERE code IN ('a', NULL) LIMIT 3",
    "SELECT COUNT(*) n FROM events WHERE timestamp::date = '2024-05-01' AND NOT (amount / 0 > 1) AND more = 3",
    "SELECT MIN(amount::string), STDDEV(amount), date_diff('day', MIN(timestamp), now()) FROM events",
    "WITH d AS (SELECT date_trunc('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY 1), e AS (SELECT * FROM d WHERE n > 3) SELECT day, SUM(n) OVER (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS w, n - LAG(n) OVER (ORDER BY day) AS c FROM e ORDER BY day",
    "SELECT u.plan, u.age::number / 2 AS a, COUNT(*) AS n FROM events e LEFT JOIN users u ON e.user_id = u.user_id WHERE e.country = 'DE' AND u.vip::bool GROUP BY 1, 2 ORDER BY n DESC",
    "SELECT status FROM events WHERE user_id IN (SELECT user_id FROM users WHERE plan = 'it''s') AND amount > (SELECT AVG(amount) FROM events) UNION ALL SELECT country FROM (SELECT DISTINCT country FROM events) AS x ORDER BY 1 LIMIT 3",
    "SELECT t.s, t.n / x.total AS share, RANK() OVER (PARTITION BY t.s ORDER BY t.n DESC) AS r FROM (SELECT status AS s, COUNT(*) AS n FROM events GROUP BY 1) AS t CROSS JOIN (SELECT COUNT(*) AS total FROM events) AS x",
];

fn schema() -> AppSchema {
    let property = |name: &str, kind, slot| Property { name: name.into(), kind, slot };
    AppSchema::new([
        property("amount", PropertyKind::Number, Slot::Number(0)),
        property("status", PropertyKind::String, Slot::Text(0)),
        property("code", PropertyKind::Number, Slot::Number(1)),
        property("code", PropertyKind::String, Slot::Text(1)),
        property("more", PropertyKind::Number, Slot::NumberMap),
    ])
}

fn scope() -> Scope {
    Scope::new(
        TenantId::new("acme").unwrap(),
        AppSet::All,
        [Permission::Query].into_iter().collect(),
        Priority::Interactive,
    )
}

/// Compiles a text by every way in, and checks what comes out.
fn check(text: &str) -> Result<(), TestCaseError> {
    let schema = schema();
    let context = context(&schema);
    let compiled = timed(text, || {
        let query = parse_sql(text)?;
        query.plan(&context)?.seal(&scope(), &schema)?.compile()
    });
    match compiled? {
        Ok(statement) => sound(&statement)?,
        Err(error) => faulty(&error, text)?,
    }
    match timed(text, || validate_formula(text, &[], &context))? {
        Ok(_) => Ok(()),
        Err(error) => faulty(&error, text),
    }
}

fn context(schema: &AppSchema) -> Context<'_> {
    let app = AppId::new("a").unwrap();
    Context { schema, app, now_ms: 1_717_243_200_000, time_zone: "America/New_York" }
}

/// It can be read, each of its tables is bound to the scope, and no text in it is the caller's.
fn sound(statement: &Statement) -> Result<(), TestCaseError> {
    let text = statement.text();
    prop_assert_eq!(verify(text, statement.params(), &scope()), Ok(()));
    prop_assert!(text.is_ascii());
    let reads = |table: &str| text.matches(&format!("FROM {table}")).count();
    let tables = reads("events") + reads("users") + reads("daily_users");
    let bound = text.matches("WHERE tenant = {tenant:String} AND app = {app:String}").count();
    prop_assert_eq!(tables, bound, "{}", text);
    // Between quotes stand types, zones and units of the compiler alone; it writes no quote into a quoted text.
    for quoted in text.split('\'').skip(1).step_by(2) {
        let own = ["UTC", "Int64", ""].contains(&quoted) || Grain::ALL.iter().any(|grain| grain.name() == quoted);
        prop_assert!(own, "{quoted:?} in {text}");
    }
    Ok(())
}

/// No question takes longer, in ms of the processor's time.
const MOST_MS: u64 = 50;

/// What came of a question, which may not take long.
fn timed<T>(question: impl std::fmt::Debug, answer: impl FnOnce() -> T) -> Result<T, TestCaseError> {
    // Busy machines stop a thread, but don't count that.
    let spent_ms = || {
        let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        spent.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000_000
    };
    if cases() <= DEFAULT_CASES {
        return Ok(answer());
    }
    let before = spent_ms();
    let answer = answer();
    let took = spent_ms() - before;
    prop_assert!(took <= MOST_MS, "{} ms: {:?}", took, question);
    Ok(answer)
}

fn faulty(error: &Error, text: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(error.code.reason(), "INVALID_QUERY", "{}: {}", text, error.message);
    for violation in &error.violations {
        let (start, end) = violation.span.unwrap();
        prop_assert!(text.get(start..end).is_some(), "{}: {}..{}", text, start, end);
        prop_assert!(!violation.description.is_empty());
    }
    Ok(())
}

/// One of the texts with some of its characters replaced, doubled, moved or cut.
fn edited(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..6usize, any::<prop::sample::Index>(), any::<char>());
    (0..texts.len(), prop::collection::vec(edit, 1..6)).prop_map(move |(text, edits)| {
        let mut words: Vec<String> = texts[text].split_inclusive([' ', '(', ')', ',']).map(str::to_owned).collect();
        for (at, what, other, c) in edits {
            let at = at.index(words.len());
            match what {
                0 => words[at] = format!("{} ", WORDS[other.index(WORDS.len())]),
                1 => words[at].push(c),
                2 => words.insert(at, format!("{} ", WORDS[other.index(WORDS.len())])),
                3 if words.len() > 1 => drop(words.remove(at)),
                4 => {
                    let with = other.index(words.len());
                    words.swap(at, with);
                }
                _ => {
                    let copy = words[at].clone();
                    words.insert(other.index(words.len()), copy);
                }
            }
        }
        words.concat()
    })
}

/// A typed query with any of the things that can be done with groups.
fn shaped() -> impl Strategy<Value = TypedQuery> {
    const FORMULAS: [&str; 9] = [
        "COUNT(*)",
        "SUM(amount) / COUNT(DISTINCT user_id)",
        "MOVING_AVG(SUM(amount), 7)",
        "CUMULATIVE(COUNT(*))",
        "PERCENT_CHANGE(AVG(amount))",
        "SHARE(COUNT(*)) * 100",
        "RANK(MAX(amount))",
        "PERCENTILE(0.9, amount)",
        "RATE(COUNT(*), 'hour')",
    ];
    const DIMENSIONS: [&str; 4] = ["country", "status = 'it''s'", "round(amount)", "user_id"];
    let parts = (
        prop::collection::vec(0..FORMULAS.len(), 1..4),
        prop::collection::vec(0..DIMENSIONS.len(), 0..3),
        prop::option::of(0..Grain::ALL.len()),
        (0..3u8, 0..400u32, 0..4u32),
        0..4u8,
        prop::option::of(prop_oneof![Just(Fill::Zero), Just(Fill::Null)]),
        prop::option::of((0..4u32, "[a-z' ]{0,3}")),
        any::<(bool, bool, bool)>(),
    );
    parts.prop_map(
        |(formulas, dimensions, grain, (range, ago, count), compared, fill, top, (totals, having, limit))| {
            let now = 1_717_243_200_000;
            let unit = Grain::ALL[3 + (ago % 5) as usize];
            TypedQuery {
                measures: (formulas.into_iter().enumerate())
                    .map(|(i, f)| Measure { name: format!("m{i}"), formula: FORMULAS[f].into(), ..Measure::default() })
                    .collect(),
                dimensions: (dimensions.into_iter().enumerate())
                    .map(|(i, d)| Dimension { name: format!("d{i}"), expression: DIMENSIONS[d].into() })
                    .collect(),
                grain: grain.map(|grain| Grain::ALL[grain]),
                from_ms: (range == 1).then_some(now - i64::from(ago) * 86_400_000),
                to_ms: (range == 1 && count > 0).then_some(now),
                period: (range == 2).then_some(Period { unit, ago, count }),
                comparison: match compared {
                    0 => None,
                    1 => Some(Comparison::Previous),
                    2 => Some(Comparison::YearBefore),
                    _ => Some(Comparison::From(now - 900 * 86_400_000)),
                },
                fill,
                top: top.map(|(n, others)| Top { n, others, ..Top::default() }),
                totals,
                having: having.then(|| "m0 > 1 OR COUNT(*) > 3".to_owned()),
                limit: limit.then_some(7),
                ..TypedQuery::default()
            }
        },
    )
}

/// A typed query with formulas, names and values that are right, nearly right, or nothing at all.
fn typed() -> impl Strategy<Value = TypedQuery> {
    const FORMULAS: [&str; 8] = [
        "SUM(amount) / COUNT(DISTINCT user_id)",
        "PERCENTILE(0.95, amount) FILTER (WHERE status = 'paid' AND code::number > 3)",
        "{a} / {b} * 100",
        "CASE WHEN COUNT(*) > 10 THEN ROUND(AVG(amount), 2) ELSE {a} END",
        "MOVING_AVG(SUM_IF(amount, status IN ('x', NULL)), 7) - {b}",
        "date_trunc('week', timestamp AT TIME ZONE 'Europe/Berlin')",
        "COALESCE(lower(status) || country, 'none')",
        "amount BETWEEN 1 AND 2 OR status LIKE '%a'",
    ];
    let text = || {
        prop_oneof![
            3 => (0..FORMULAS.len()).prop_map(|i| FORMULAS[i].to_owned()),
            2 => edited(&FORMULAS),
            1 => prop::collection::vec(0..WORDS.len(), 0..12)
                .prop_map(|words| words.into_iter().map(|i| WORDS[i]).collect::<Vec<_>>().join(" ")),
            1 => "\\PC{0,20}",
        ]
    };
    const OPS: [FilterOp; 4] = [FilterOp::Eq, FilterOp::In, FilterOp::Like, FilterOp::IsNull];
    const FIELDS: [&str; 5] = ["status", "amount", "user_id", "app_id", "tenant"];
    let value = prop_oneof![
        any::<f64>().prop_map(Value::Number),
        any::<i64>().prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Time),
        any::<bool>().prop_map(Value::Bool),
        text().prop_map(Value::String),
    ];
    let field = prop_oneof![3 => (0..FIELDS.len()).prop_map(|i| FIELDS[i].to_owned()), 1 => text()];
    let filter = (field, 0..OPS.len(), prop::collection::vec(value, 0..3))
        .prop_map(|(field, op, values)| MetricFilter { field, op: OPS[op], values });
    let formulas = prop::collection::vec((text(), "[a-z%/ ]{0,4}"), 2);
    (shaped(), text(), text(), text(), prop::collection::vec(filter, 0..3), formulas).prop_map(
        |(mut query, measure, dimension, other, filters, formulas)| {
            query.measures.push(Measure { name: other.clone(), formula: measure, ..Measure::default() });
            query.dimensions.push(Dimension { name: "d".into(), expression: dimension });
            query.having = query.having.map(|_| other.clone());
            query.time_zone = (other.len() % 5 == 0).then(|| other.clone());
            query.top = query.top.map(|top| Top { others: other, ..top });
            query.filters = filters;
            let named = ["a", "b"].into_iter().zip(formulas);
            query.formulas = named
                .map(|(name, (formula, unit))| Formula { name: name.into(), formula, unit, ..Formula::default() })
                .collect();
            query
        },
    )
}

const DEFAULT_CASES: u32 = 2_000;

/// As many cases as `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(DEFAULT_CASES)
}

/// Plans and compiles a typed query, and checks what comes out.
fn check_typed(query: &TypedQuery) -> Result<(), TestCaseError> {
    let schema = schema();
    let context = context(&schema);
    match timed(query, || query.plan(&context)?.seal(&scope(), &schema)?.compile())? {
        Ok(statement) => sound(&statement),
        Err(error) => {
            prop_assert_eq!(error.code.reason(), "INVALID_QUERY", "{:?}: {}", query, error.message);
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_text(text in "\\PC{0,120}") {
        check(&text)?;
    }

    #[test]
    fn any_words(words in prop::collection::vec(0..WORDS.len(), 0..60)) {
        let soup: Vec<_> = words.into_iter().map(|i| WORDS[i]).collect();
        check(&soup.join(" "))?;
    }

    #[test]
    fn nearly_valid_queries(text in edited(&QUERIES)) {
        check(&text)?;
    }

    #[test]
    fn any_shape_of_a_typed_query(query in shaped()) {
        check_typed(&query)?;
    }

    #[test]
    fn nearly_valid_typed_queries(query in typed()) {
        check_typed(&query)?;
    }

    #[test]
    fn any_value_is_bound(value in "(?s).{0,60}") {
        let text = format!("SELECT COUNT(*) n FROM events WHERE status IN ('{0}', 'b') OR status = '{0}'", value.replace('\'', "''"));
        check(&text)?;
    }
}

#[test]
fn the_queries_themselves_are_valid() {
    let schema = schema();
    let context = Context { schema: &schema, app: AppId::new("a").unwrap(), now_ms: 0, time_zone: "UTC" };
    for text in QUERIES {
        if let Err(error) =
            parse_sql(text).and_then(|q| q.plan(&context)).and_then(|p| p.seal(&scope(), &schema)?.compile())
        {
            panic!("{text}: {error}");
        }
    }
}
