#![allow(clippy::unwrap_used)]

mod locks;
mod nested;
mod states;

use model::{AppId, AppSet, ErrorCode, FilterOp, MetricFilter, Permissions, TenantId, Value};

use crate::{
    Accuracy, ColumnKind, Dimension, Fill, Grain, Measure, OrderColumn, SealedPlan, TypedQuery,
    fixture::{NOW_MS, compile, context, plan, readable, schema, scope},
    parse_sql,
};

const SEED: &str = "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users,
       AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time
FROM events
WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise')
GROUP BY date, country ORDER BY date DESC";

fn check(sql: &str, want: &str) {
    assert_eq!(readable(&compile(sql).unwrap()), want, "{sql}");
}

fn refused(sql: &str, want: &str) {
    let error = compile(sql).unwrap_err();
    assert!(error.message.contains(want), "{sql}: {}", error.message);
    let (start, end) = error.violations[0].span.unwrap();
    assert!(sql.get(start..end).is_some(), "{sql}");
}

const EVENTS: &str = "FROM events WHERE tenant = {tenant:String} AND app = {app:String}";

#[test]
fn the_seeds_query_runs_as_written() {
    assert_eq!(parse_sql(SEED).unwrap().app(), Some("xyz123"));
    check(
        SEED,
        &format!(
            "SELECT CAST(k0 AS Nullable(DateTime64(3, 'UTC'))) AS c0, CAST(k1 AS Nullable(String)) AS c1, \
             CAST(a0 AS Nullable(Int64)) AS c2, CAST(ifNotFinite(a1, NULL) + 0 AS Nullable(Float64)) AS c3, \
             CAST(ifNotFinite(a2, NULL) + 0 AS Nullable(Float64)) AS c4 \
             FROM (SELECT toDateTime64(dateTrunc('day', ts, <UTC>), 3, 'UTC') AS k0, country AS k1, \
             uniqExactIf(user, user != '') AS a0, avg(n0) AS a1, quantileTDigest(0.95)(n1) AS a2 \
             {EVENTS} AND (ts > <2024-05-02 12:00:00.000>) AND (plan IN (<['pro','enterprise']>)) GROUP BY k0, k1) \
             ORDER BY c0 DESC NULLS FIRST"
        ),
    );
    let statement = compile(SEED).unwrap();
    let columns: Vec<_> = statement.columns().iter().map(|c| (c.name.as_str(), c.kind, c.accuracy)).collect();
    assert_eq!(
        columns,
        [
            ("date", ColumnKind::Time, Accuracy::Exact),
            ("country", ColumnKind::String, Accuracy::Exact),
            ("active_users", ColumnKind::Integer, Accuracy::Exact),
            ("avg_session", ColumnKind::Number, Accuracy::Exact),
            ("p95_load_time", ColumnKind::Number, Accuracy::Sketch("t-digest")),
        ]
    );
}

#[test]
fn the_plan_tells_range_grain_and_aggregates() {
    let plan = plan(SEED).unwrap();
    let thirty_days_ago = NOW_MS - 30 * model::DAY_MS;
    assert_eq!((plan.range().from_ms, plan.range().to_ms), (Some(thirty_days_ago + 1), None));
    assert_eq!(plan.grain().map(|(grain, zone)| (grain, zone.name().to_owned())), Some((Grain::Day, "UTC".into())));
    assert_eq!((plan.is_aggregate(), plan.aggregate_count()), (true, 3));
    assert_eq!(plan.key_columns().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn equal_aggregates_are_computed_once() {
    check(
        "SELECT SUM(load_time) / COUNT(*) a, COUNT(*) b FROM events HAVING COUNT(*) > 1 ORDER BY SUM(load_time) * 2",
        &format!(
            "SELECT CAST(ifNotFinite((a0 / nullIf(toFloat64(a1), 0)), NULL) + 0 AS Nullable(Float64)) AS c0, \
             CAST(a1 AS Nullable(Int64)) AS c1 FROM (SELECT sum(n1) AS a0, count() AS a1 {EVENTS}) \
             WHERE (a1 > <1>) ORDER BY (a0 * <2.0>) ASC NULLS LAST"
        ),
    );
}

#[test]
fn filters_reach_every_kind_of_aggregate() {
    check(
        "SELECT COUNT(*) FILTER (WHERE is_new) a, SUM_IF(load_time, is_new) b, COUNT(DISTINCT user_id) FILTER (WHERE is_new) c \
         FROM events",
        &format!(
            "SELECT CAST(a0 AS Nullable(Int64)) AS c0, CAST(ifNotFinite(a1, NULL) + 0 AS Nullable(Float64)) AS c1, \
             CAST(a2 AS Nullable(Int64)) AS c2 FROM (SELECT countIf((n3 != 0)) AS a0, sum(if((n3 != 0), n1, NULL)) AS a1, \
             uniqExactIf(user, user != '' AND (n3 != 0)) AS a2 {EVENTS})"
        ),
    );
}

#[test]
fn conditions_on_buckets_become_conditions_on_instants() {
    let filter = |condition: &str| {
        let text = readable(&compile(&format!("SELECT COUNT(country) n FROM events WHERE {condition}")).unwrap());
        text.split("{app:String} AND ").nth(1).unwrap().trim_end_matches(')').to_owned()
    };
    let may = "(ts >= <2024-05-01 00:00:00.000>";
    assert_eq!(filter("date_trunc('month', timestamp) >= '2024-04-02'"), may);
    assert_eq!(filter("'2024-04-02' < date_trunc('month', timestamp)"), may);
    assert_eq!(filter("timestamp::date = '2024-05-01'"), format!("{may}) AND (ts < <2024-05-02 00:00:00.000>"));
    assert_eq!(filter("date_trunc('day', timestamp) = '2024-05-01 01:00'"), "false");
    assert_eq!(filter("timestamp AT TIME ZONE 'Europe/Berlin' >= '2024-05-01 02:00'"), may);
}

#[test]
fn users_by_utc_day_are_read_from_the_rollup() {
    check(
        "SELECT date_trunc('week', timestamp) AS week, COUNT(DISTINCT user_id) AS users, COUNT(*) AS events, \
         COUNT(user_id) AS known, COUNT(*) FILTER (WHERE user_id LIKE 'a%') AS some FROM events \
         WHERE timestamp >= '2024-04-01' AND timestamp < '2024-05-01' GROUP BY week HAVING COUNT(*) > 1",
        "SELECT CAST(k0 AS Nullable(DateTime64(3, 'UTC'))) AS c0, CAST(a0 AS Nullable(Int64)) AS c1, \
         CAST(a1 AS Nullable(Int64)) AS c2, CAST(a2 AS Nullable(Int64)) AS c3, CAST(a3 AS Nullable(Int64)) AS c4 \
         FROM (SELECT toTimeZone(toDateTime64(dateTrunc('week', day, <UTC>), 3, <UTC>), 'UTC') AS k0, uniqExactIf(user, user != '') AS a0, \
         sum(events) AS a1, sumIf(events, user != '') AS a2, sumIf(events, (nullIf(user, '') LIKE <a%>)) AS a3 \
         FROM daily_users WHERE tenant = {tenant:String} AND app = {app:String} AND (day >= <2024-04-01 00:00:00.000>) \
         AND (day < <2024-05-01 00:00:00.000>) GROUP BY k0) WHERE (a1 > <1>)",
    );
}

/// Each question, and why the rollup doesn't answer it; "" if it does.
#[test]
fn the_route_is_the_narrowest_table_that_has_all_that_is_asked_for() {
    for (sql, why) in [
        ("SELECT COUNT(*) FROM events", ""),
        ("SELECT user_id, COUNT(*) FROM events GROUP BY user_id", ""),
        ("SELECT COUNT(*) FROM events WHERE timestamp <= '2024-05-01 23:59:59.999'", ""),
        ("SELECT COUNT(DISTINCT user_id) FROM events WHERE timestamp::date = '2024-05-01'", ""),
        ("SELECT user_id FROM events", "no single events"),
        ("SELECT COUNT(*) FROM events WHERE country = 'DE'", "no `country`"),
        ("SELECT COUNT(*) FILTER (WHERE is_new) FROM events", "no `is_new`"),
        ("SELECT SUM(load_time) FROM events", "no `load_time`"),
        ("SELECT MAX(user_id) FROM events", "counts events and users alone"),
        ("SELECT MAX(timestamp) FROM events", "whole UTC days alone"),
        ("SELECT COUNT(*) FROM events WHERE timestamp < '2024-05-01 00:00:00.001'", "whole UTC days alone"),
        ("SELECT COUNT(*) FROM events WHERE timestamp > '2024-05-01'", "whole UTC days alone"),
        ("SELECT COUNT(*) FROM events WHERE timestamp <= '2024-05-01'", "whole UTC days alone"),
        ("SELECT COUNT(*) FROM events WHERE timestamp > now() - INTERVAL 30 DAY", "whole UTC days alone"),
        (
            "SELECT date_trunc('day', timestamp AT TIME ZONE 'Europe/Berlin') t, COUNT(*) FROM events GROUP BY t",
            "whole UTC days alone",
        ),
        ("SELECT date_trunc('hour', timestamp) t, COUNT(*) FROM events GROUP BY t", "whole UTC days alone"),
    ] {
        let statement = compile(sql).unwrap();
        let told = statement.route().to_string();
        assert_eq!(statement.text().contains("FROM daily_users"), why.is_empty(), "{sql}: {told}");
        assert!(
            told.contains(why) && told.starts_with(if why.is_empty() { "rollup: " } else { "raw: " }),
            "{sql}: {told}"
        );
    }
}

#[test]
fn rows_have_the_limit_that_was_asked_for() {
    check("SELECT country FROM events", &format!("SELECT CAST(country AS Nullable(String)) AS c0 {EVENTS}"));
    check(
        "SELECT DISTINCT country c FROM events ORDER BY c NULLS FIRST LIMIT 5 OFFSET 2",
        &format!(
            "SELECT DISTINCT CAST(country AS Nullable(String)) AS c0 {EVENTS} ORDER BY c0 ASC NULLS FIRST LIMIT 5 OFFSET 2"
        ),
    );
}

#[test]
fn clauses_see_what_they_may() {
    refused(
        "SELECT lower(country) AS low FROM events WHERE low = 'de'",
        "`low` is a name given in SELECT; WHERE sees only",
    );
    refused("SELECT country, COUNT(*) FROM events", "`country` has many values in a group");
    refused("SELECT COUNT(*) FROM events ORDER BY country", "`country` has many values in a group");
    refused(
        "SELECT country FROM events WHERE COUNT(*) > 1",
        "COUNT can't stand in WHERE; conditions on aggregates stand in HAVING",
    );
    refused("SELECT country FROM events GROUP BY COUNT(*)", "COUNT can't stand in GROUP BY");
    refused("SELECT COUNT(*) FROM events GROUP BY 1", "column 1 holds an aggregate");
    refused("SELECT country FROM events ORDER BY 2", "there is no column 2; the result has 1");
    refused("SELECT country, country FROM events", "two columns are called `country`");
    refused("SELECT DISTINCT country FROM events ORDER BY status", "only columns of the result");
    refused("SELECT country FROM events WHERE app_id = 'other'", "the query is about the app `xyz123`, not `other`");
    refused("SELECT country\nFROM events\nWHERE  staus = 'x'", "line 3, column 8");
}

#[test]
fn copies_can_not_explode() {
    let deep = (0..40).fold("load_time".to_owned(), |inner, _| format!("round({inner}, 2)"));
    assert_eq!(compile(&format!("SELECT {deep} x FROM events")).unwrap_err().code, ErrorCode::InvalidQuery);
    let deep = (0..40).fold("load_time".to_owned(), |inner, _| {
        format!("CASE WHEN {inner} BETWEEN 1 AND 2 THEN 1 WHEN {inner} IN (1, 2, load_time) THEN 2 END").replacen(
            &inner,
            "load_time",
            1,
        )
    });
    assert!(compile(&format!("SELECT {deep} x FROM events")).is_err());
    let nested =
        (0..40).fold("load_time".to_owned(), |inner, _| format!("CASE {inner} WHEN 1 THEN 2 WHEN 3 THEN 4 END"));
    assert!(compile(&format!("SELECT {nested} x FROM events")).is_err());
}

#[test]
fn only_the_scopes_reach_is_sealed() {
    let plan = plan("SELECT COUNT(*) n FROM events").unwrap();
    let mut blind = scope();
    blind.permissions = Permissions::default();
    assert_eq!(plan.clone().seal(&blind, &schema()).unwrap_err().code, ErrorCode::PermissionDenied);
    let mut other = scope();
    other.apps = AppSet::Only(vec![AppId::new("other").unwrap()]);
    assert_eq!(plan.clone().seal(&other, &schema()).unwrap_err().code, ErrorCode::PermissionDenied);
    let mut foreign = scope();
    foreign.tenant = TenantId::new("evil").unwrap();
    let statement = plan.seal(&foreign, &schema()).unwrap().compile().unwrap();
    assert_eq!(statement.params()[0].value, "evil");
}

#[test]
fn the_seeds_metric_is_a_typed_query() {
    let eq = |field: &str, value: &str| MetricFilter {
        field: field.into(),
        op: FilterOp::Eq,
        values: vec![Value::String(value.into())],
    };
    let query = TypedQuery {
        measures: vec![Measure {
            name: "revenue_per_user".into(),
            formula: "SUM(purchase_amount) / COUNT(DISTINCT user_id)".into(),
            unit: "USD".into(),
            ..Measure::default()
        }],
        filters: vec![eq("event_type", "purchase"), eq("status", "completed")],
        from_ms: Some(NOW_MS - model::DAY_MS),
        to_ms: Some(NOW_MS),
        grain: Some(Grain::Hour),
        time_zone: Some("Europe/Berlin".into()),
        dimensions: vec![Dimension { name: "country".into(), expression: "country".into() }],
        having: Some("revenue_per_user > 1".into()),
        order_by: vec![OrderColumn { column: "revenue_per_user".into(), descending: true, nulls_first: None }],
        limit: Some(10),
        ..TypedQuery::default()
    };
    let schema = schema();
    let statement = query.plan(&context(&schema)).unwrap().seal(&scope(), &schema).unwrap().compile().unwrap();
    assert_eq!(
        readable(&statement),
        format!(
            "SELECT CAST(k0 AS Nullable(DateTime64(3, 'UTC'))) AS c0, CAST(k1 AS Nullable(String)) AS c1, \
             CAST(ifNotFinite((a0 / nullIf(toFloat64(a1), 0)), NULL) + 0 AS Nullable(Float64)) AS c2 \
             FROM (SELECT toDateTime64(dateTrunc('hour', ts, <Europe/Berlin>), 3, 'UTC') AS k0, country AS k1, \
             sum(n2) AS a0, uniqExactIf(user, user != '') AS a1 {EVENTS} AND (ts >= <2024-05-31 12:00:00.000>) \
             AND (ts < <2024-06-01 12:00:00.000>) AND (event = <purchase>) AND (s0 = <completed>) GROUP BY k0, k1) \
             WHERE ((a0 / nullIf(toFloat64(a1), 0)) > <1.0>) ORDER BY c2 DESC NULLS FIRST, c0 ASC NULLS LAST, \
             c1 ASC NULLS LAST LIMIT 10"
        )
    );
    assert_eq!(statement.columns()[2].unit, "USD");
}

#[test]
fn measures_have_filters_of_their_own() {
    let paid = MetricFilter { field: "status".into(), op: FilterOp::NotIn, values: vec![Value::String("x".into())] };
    let measure =
        |name: &str, filters| Measure { name: name.into(), formula: "COUNT(*)".into(), filters, unit: String::new() };
    let query =
        TypedQuery { measures: vec![measure("all", vec![]), measure("paid", vec![paid])], ..TypedQuery::default() };
    let schema = schema();
    let statement = query.plan(&context(&schema)).unwrap().seal(&scope(), &schema).unwrap().compile().unwrap();
    let inner = format!("FROM (SELECT count() AS a0, countIf((NOT (s0 = <x>))) AS a1 {EVENTS})");
    assert!(readable(&statement).ends_with(&inner), "{}", readable(&statement));
}

#[test]
fn faults_of_typed_queries_name_the_part() {
    let schema = schema();
    let base = TypedQuery {
        measures: vec![Measure { name: "n".into(), formula: "COUNT(*)".into(), ..Measure::default() }],
        ..TypedQuery::default()
    };
    let filter = |field: &str, values| vec![MetricFilter { field: field.into(), op: FilterOp::Gt, values }];
    let dimension = |name: &str, text: &str| vec![Dimension { name: name.into(), expression: text.into() }];
    let order = vec![OrderColumn { column: "nn".into(), ..OrderColumn::default() }];
    // A day in which clocks there are put back by half an hour, and the next.
    let hours_of = |day_ms| TypedQuery {
        time_zone: Some("Australia/Lord_Howe".into()),
        grain: Some(Grain::Hour),
        fill: Some(Fill::Zero),
        from_ms: Some(day_ms),
        to_ms: Some(day_ms + 86_400_000),
        ..base.clone()
    };
    assert!(hours_of(1_712_448_000_000).plan(&context(&schema)).is_ok());
    for (query, field, want) in [
        (hours_of(1_712_361_600_000), "fill", "less than an hour"),
        (TypedQuery { measures: vec![], ..base.clone() }, "measures", "at least one"),
        (TypedQuery { filters: filter("x; DROP", vec![Value::Bool(true)]), ..base.clone() }, "filters[0]", "no field"),
        (TypedQuery { filters: filter("load_time", vec![]), ..base.clone() }, "filters[0]", "takes 1 values, not 0"),
        (
            TypedQuery { filters: filter("load_time", vec![Value::Number(f64::NAN)]), ..base.clone() },
            "filters[0]",
            "finite",
        ),
        (
            TypedQuery { dimensions: dimension("d", "COUNT(*)"), ..base.clone() },
            "dimensions[0].expression",
            "can't stand in a dimension",
        ),
        (TypedQuery { dimensions: dimension("n", "country"), ..base.clone() }, "measures[0].name", "two columns"),
        (TypedQuery { order_by: order, ..base.clone() }, "order_by[0].column", "did you mean `n`?"),
        (TypedQuery { having: Some("country = 'x'".into()), ..base.clone() }, "having", "many values in a group"),
        (TypedQuery { time_zone: Some("Mars".into()), ..base.clone() }, "time_zone", "no time zone"),
        (TypedQuery { from_ms: Some(i64::MAX), ..base.clone() }, "range.from", "1900 to 2299"),
    ] {
        let error = query.plan(&context(&schema)).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidQuery);
        assert_eq!(error.violations[0].field, field);
        assert!(error.message.contains(want), "{}", error.message);
    }
}

#[test]
fn buckets_are_answered_apart() {
    let hour = 3_600_000;
    let sealed = |sql: &str| plan(sql).unwrap().seal(&scope(), &schema()).unwrap();
    let by_hour = "SELECT date_trunc('hour', timestamp) AS t, country, COUNT(*) AS n FROM events WHERE status = 'x' \
        AND timestamp >= '2024-05-01 00:30' AND timestamp < '2024-05-01 05:00' GROUP BY t, country";
    let start = 1_714_521_600_000; // 2024-05-01
    let buckets = sealed(by_hour).buckets();
    assert_eq!((buckets.column, buckets.descending), (Some(0), None));
    assert_eq!(buckets.range, start + hour / 2..start + 5 * hour);
    let whole = |until, most| buckets.whole(until, most).map(|whole| whole.len());
    let first = buckets.whole(i64::MAX, 10).unwrap()[0].clone();
    assert_eq!(first, start + hour..start + 2 * hour);
    assert_eq!([whole(i64::MAX, 10), whole(i64::MAX, 3)], [Some(4), None]);
    assert_eq!(
        [whole(start + 3 * hour, 10), whole(start + 3 * hour - 1, 10), whole(0, 10)],
        [Some(2), Some(1), Some(0)]
    );

    let text = |plan: SealedPlan| {
        let text = readable(&plan.compile().unwrap());
        text.split("{app:String} AND ").nth(1).unwrap().split(" GROUP").next().unwrap().to_owned()
    };
    assert_eq!(text(sealed(by_hour).over(&[])), "(s0 = <x>)");
    assert_eq!(
        text(sealed(by_hour).over(&[start..start + hour, start + 2 * hour..i64::MAX])),
        "(s0 = <x>) AND (((ts >= <2024-05-01 00:00:00.000>) AND (ts < <2024-05-01 01:00:00.000>)) \
         OR ((ts >= <2024-05-01 02:00:00.000>)))"
    );

    let ordered = |order: &str| {
        let buckets = sealed(&format!("{by_hour} ORDER BY {order}")).buckets();
        (buckets.column, buckets.descending)
    };
    assert_eq!(ordered("t DESC, n"), (Some(0), Some(true)));
    assert_eq!(ordered("t"), (Some(0), Some(false)));
    assert_eq!([ordered("n, t"), ordered("t LIMIT 5")], [(None, None); 2]);
    for none in [
        "SELECT COUNT(*) FROM events",
        "SELECT country, COUNT(*) FROM events GROUP BY country",
        "SELECT COUNT(*) FROM events GROUP BY date_trunc('day', timestamp)", // in which bucket is a row?
        "SELECT DISTINCT date_trunc('day', timestamp) t, COUNT(*) FROM events GROUP BY t, country",
        "SELECT timestamp FROM events",
    ] {
        assert_eq!(sealed(none).buckets().column, None, "{none}");
    }
    // Such an answer is one part, once all of its range is over.
    let day = "SELECT COUNT(*) FROM events WHERE timestamp::date = '2024-05-01'";
    let whole = |until| sealed(day).buckets().whole(until, 10).unwrap();
    assert_eq!(whole(start + 24 * hour).len(), 1);
    assert!(whole(start + 24 * hour - 1).is_empty());
    assert_eq!(sealed("SELECT COUNT(*) FROM events").buckets().whole(i64::MAX, 10), None);
}

#[test]
fn buckets_follow_the_zone_s_clock() {
    let zoned = |zone: &str, condition: &str| {
        let query = parse_sql(&format!(
            "SELECT date_trunc('day', timestamp) t, COUNT(*) n FROM events WHERE {condition} GROUP BY t"
        ));
        let schema = schema();
        let plan = query.unwrap().plan(&crate::Context { time_zone: zone, ..context(&schema) }).unwrap();
        let hours = |buckets: Vec<std::ops::Range<i64>>| {
            buckets.into_iter().map(|b| (b.end - b.start) / 3_600_000).collect::<Vec<_>>()
        };
        hours(plan.seal(&scope(), &schema).unwrap().buckets().whole(i64::MAX, 10).unwrap())
    };
    let march = "timestamp >= '2024-03-30' AND timestamp < '2024-04-02'";
    assert_eq!(zoned("UTC", march), [24, 24, 24]);
    assert_eq!(zoned("Europe/Berlin", march), [24, 23, 24]);
    assert_eq!(
        zoned("Europe/Berlin", "timestamp >= '2024-03-30' AND timestamp <= '2024-04-01 23:59:59.999'"),
        [24, 23, 24]
    );
    assert_eq!(zoned("Europe/Berlin", "timestamp > '2024-03-30' AND timestamp < '2024-04-02'"), [23, 24]);
}
