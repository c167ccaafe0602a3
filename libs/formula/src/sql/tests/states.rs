//! Answers that are put together from states.

use super::EVENTS;
use crate::{
    Length, Pieces, Run,
    fixture::{NOW_MS, plan, readable, schema, scope},
};

const OF_SHAPE: &str =
    "FROM bucket_states WHERE tenant = {tenant:String} AND app = {app:String} AND shape = {shape:String}";

fn merged(sql: &str) -> String {
    let (rest, times) = (NOW_MS - 90 * 60_000..NOW_MS, NOW_MS - model::DAY_MS..NOW_MS);
    let pieces = Pieces { shape: "5a".into(), times, numbers: vec![4_096, 4_097], rest: [rest].into() };
    readable(&plan(sql).unwrap().seal(&scope(), &schema()).unwrap().put_together(&pieces).unwrap())
}

#[test]
fn an_answer_is_put_together_from_states_and_the_events_of_what_is_left() {
    let sql = "SELECT country, COUNT(*) n, COUNT(DISTINCT user_id) u FROM events \
        WHERE timestamp > now() - INTERVAL 1 DAY AND is_new GROUP BY country HAVING COUNT(*) > 1 ORDER BY n DESC LIMIT 3";
    assert_eq!(
        merged(sql),
        format!(
            "SELECT CAST(k0 AS Nullable(String)) AS c0, CAST(a0 AS Nullable(Int64)) AS c1, CAST(a1 AS Nullable(Int64)) AS c2 \
             FROM (SELECT c0 AS k0, countMerge(c1) AS a0, uniqExactMerge(c2) AS a1 FROM (\
             SELECT arrayElement(texts, 1) AS c0, CAST(arrayElement(states, 1) AS AggregateFunction(count)) AS c1, \
             CAST(arrayElement(states, 2) AS AggregateFunction(uniqExact, Nullable(String))) AS c2 {OF_SHAPE} \
             AND (bucket >= <2024-05-31 12:00:00.000>) AND (bucket < <2024-06-01 12:00:00.000>) AND (piece IN (<[4096,4097]>)) \
             UNION ALL SELECT CAST(country AS Nullable(String)) AS c0, countState() AS c1, \
             uniqExactState(CAST(nullIf(user, '') AS Nullable(String))) AS c2 {EVENTS} AND (n3 != 0) \
             AND (((ts >= <2024-06-01 10:30:00.000>) AND (ts < <2024-06-01 12:00:00.000>))) GROUP BY c0) GROUP BY k0) \
             WHERE (a0 > <1>) ORDER BY c1 DESC NULLS FIRST LIMIT 3"
        )
    );
}

#[test]
fn states_of_a_run_are_a_row_for_each_bucket_and_group() {
    let sql = "SELECT is_new, load_time, signup, country, SUM(load_time) FILTER (WHERE is_new) s FROM events \
        WHERE timestamp > now() - INTERVAL 1 DAY GROUP BY 1, 2, 3, 4";
    let day = 1_717_200_000_000; // 2024-06-01
    let run = Run { times: day - model::DAY_MS..day, length: Length::Day, first_piece: 8_192, life: 7 };
    let statement = plan(sql).unwrap().seal(&scope(), &schema()).unwrap().states("5a", &run).unwrap();
    assert_eq!(
        readable(&statement),
        format!(
            "SELECT {{tenant:String}} AS c0, {{app:String}} AS c1, {{shape:String}} AS c2, (<8192> + \
             intDiv(toUnixTimestamp64Milli(k0) - <1717113600000>, 86400000)) AS c3, k0 AS c4, array(k2) AS c5, \
             array(CAST(k1 AS Nullable(Int64)), toUnixTimestamp64Milli(k3)) AS c6, array(k4) AS c7, array(toString(a0)) AS c8, <7> AS c9 \
             FROM (SELECT toDateTime64(dateTrunc('day', ts, <UTC>), 3, 'UTC') AS k0, CAST((n3 != 0) AS Nullable(Bool)) AS k1, \
             CAST(n1 AS Nullable(Float64)) AS k2, \
             CAST(fromUnixTimestamp64Milli(CAST(n4 AS Nullable(Int64)), 'UTC') AS Nullable(DateTime64(3, 'UTC'))) AS k3, \
             CAST(country AS Nullable(String)) AS k4, sumState(CAST(if((n3 != 0), n1, NULL) AS Nullable(Float64))) AS a0 \
             {EVENTS} AND (((ts >= <2024-05-31 00:00:00.000>) AND (ts < <2024-06-01 00:00:00.000>))) GROUP BY k0, k1, k2, k3, k4)"
        )
    );
    assert!(statement.params().iter().any(|p| p.name == "shape" && p.value == "5a"));
}

/// Every aggregate's state and what comes of it.
#[test]
fn each_aggregate_has_a_state() {
    let parts = |aggregate: &str| {
        let text = merged(&format!("SELECT {aggregate} x FROM events WHERE timestamp > now() - INTERVAL 1 DAY"));
        let between = |from: &str, to: &str| {
            let (_, after) = text.split_once(from).unwrap();
            after.split_once(to).unwrap().0.to_owned()
        };
        let merge = between("FROM (SELECT ", " AS a0");
        let state = between("UNION ALL SELECT ", " AS c0");
        (between("CAST(arrayElement(states, 1) AS ", ") AS c0"), state, merge)
    };
    for (aggregate, of, state, merge) in [
        ("COUNT(*)", "AggregateFunction(count)", "countState()", "countMerge(c0)"),
        (
            "COUNT_IF(is_new)",
            "AggregateFunction(count, Nullable(Int64))",
            "countState(CAST(if((n3 != 0), 1, NULL) AS Nullable(Int64)))",
            "countMerge(c0)",
        ),
        (
            "COUNT(DISTINCT status, load_time)",
            "AggregateFunction(uniqExact, Nullable(String), Nullable(Float64))",
            "uniqExactState(CAST(s0 AS Nullable(String)), CAST(n1 AS Nullable(Float64)))",
            "uniqExactMerge(c0)",
        ),
        (
            "MAX(timestamp)",
            "AggregateFunction(max, Nullable(DateTime64(3, 'UTC')))",
            "maxState(CAST(toNullable(ts) AS Nullable(DateTime64(3, 'UTC'))))",
            "maxMerge(c0)",
        ),
        (
            "PERCENTILE(0.95, load_time)",
            "AggregateFunction(quantileTDigest(0.95), Nullable(Float64))",
            "quantileTDigestState(0.95)(CAST(n1 AS Nullable(Float64)))",
            "quantileTDigestMerge(0.95)(c0)",
        ),
        (
            "PERCENTILE_DISC(0.5, status)",
            "AggregateFunction(groupArray, Nullable(String))",
            "groupArrayState(CAST(s0 AS Nullable(String)))",
            "arrayElementOrNull(arraySort(groupArrayMerge(c0)), toInt64(greatest(1, length(groupArrayMerge(c0)) - \
             intDiv(length(groupArrayMerge(c0)) * 500000000, 1000000000))))",
        ),
        (
            "STDDEV(load_time)",
            "AggregateFunction(stddevSampStable, Nullable(Float64))",
            "stddevSampStableState(CAST(n1 AS Nullable(Float64)))",
            "ifNotFinite(stddevSampStableMerge(c0), NULL)",
        ),
    ] {
        assert_eq!(parts(aggregate), (of.to_owned(), state.to_owned(), merge.to_owned()), "{aggregate}");
    }
}

#[test]
fn a_shape_is_what_the_states_depend_on() {
    let states = |sql: &str| {
        let run = Run { times: 0..model::HOUR_MS, length: Length::Hour, first_piece: 0, life: 0 };
        readable(&plan(sql).unwrap().seal(&scope(), &schema()).unwrap().states("", &run).unwrap())
    };
    let one = states("SELECT country c, COUNT(*) n FROM events WHERE timestamp > now() - INTERVAL 1 DAY GROUP BY c");
    for same in [
        "SELECT COUNT(*) * 2 n FROM events WHERE timestamp >= '2024-05-01' GROUP BY country HAVING COUNT(*) > 7 ORDER BY n LIMIT 5",
        "SELECT country, SUM(COUNT(*)) OVER (ORDER BY country) FROM events WHERE timestamp > now() - INTERVAL 9 DAY GROUP BY country",
    ] {
        assert_eq!(states(same), one, "{same}");
    }
    let other =
        "SELECT country, COUNT(*) FROM events WHERE timestamp > now() - INTERVAL 1 DAY AND is_new GROUP BY country";
    assert_ne!(states(other), one);
}

#[test]
fn what_has_no_states_says_why() {
    for (sql, why) in [
        ("SELECT SUM(load_time) FROM events WHERE timestamp > now() - INTERVAL 1 DAY", ""),
        ("SELECT country FROM events WHERE timestamp > now() - INTERVAL 1 DAY", "single events"),
        ("SELECT SUM(load_time) FROM events", "no beginning"),
        ("SELECT SUM(load_time) FROM events WHERE timestamp < now()", "no beginning"),
        ("SELECT COUNT(*) FROM events WHERE timestamp >= '2024-05-01'", "rollup"),
        (
            "SELECT COUNT(*) FROM events WHERE timestamp > now() - INTERVAL 1 DAY AND user_id IN (SELECT user_id FROM users)",
            "other queries",
        ),
        (
            "SELECT MAX(n) FROM (SELECT country, COUNT(*) n FROM events WHERE timestamp > now() GROUP BY country)",
            "other queries",
        ),
        (
            "SELECT COUNT(*) FILTER (WHERE timestamp > now() - INTERVAL 1 HOUR) FROM events WHERE timestamp > now() - INTERVAL 1 DAY",
            "compares times",
        ),
    ] {
        let mergeable = plan(sql).unwrap().seal(&scope(), &schema()).unwrap().mergeable();
        let told = mergeable.map_or_else(|why| why.to_string(), |()| String::new());
        assert!(if why.is_empty() { told.is_empty() } else { told.contains(why) }, "{sql}: {told}");
    }
}
