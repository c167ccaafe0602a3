#![allow(clippy::unwrap_used)]

use super::{Refusal, verify};
use crate::{
    fixture::{compile, scope},
    functions::{CONCATENATION, SCALARS},
    seal::Param,
};

fn params() -> Vec<Param> {
    let param = |name: &str, kind, value: &str| Param { name: name.into(), kind, value: value.into() };
    vec![param("tenant", "String", "acme"), param("app", "String", "xyz123"), param("p0", "String", "beta")]
}

const SAFE: &str = "SELECT count() AS a0 FROM events WHERE tenant = {tenant:String} AND app = {app:String}";

#[test]
fn what_the_compiler_writes_passes() {
    assert_eq!(verify(SAFE, &params(), &scope()), Ok(()));
    assert_eq!(verify(&format!("SELECT a0 AS c0 FROM ({SAFE})"), &params(), &scope()), Ok(()));
    let users = SAFE.replace("count() AS a0 FROM events", "user AS c0 FROM users");
    for text in [
        format!("{SAFE} UNION ALL {SAFE} UNION ALL {SAFE}"),
        format!("{users} ORDER BY _offset DESC LIMIT 1 BY user"),
        format!("SELECT t0.a0 AS c0 FROM ({SAFE} UNION ALL {SAFE}) AS t0 WHERE true AND (t0.a0 > 1)"),
        SAFE.replace("WHERE", &format!("LEFT JOIN ({users}) AS t1 ON (user = t1.c0) WHERE")),
        format!("{SAFE} AND (user IN ({users})) AND (n0 > ({SAFE}))"),
        SAFE.replace(
            "count()",
            "sum(n0) OVER (PARTITION BY event ORDER BY ts DESC NULLS LAST ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)",
        ),
    ] {
        assert_eq!(verify(&text, &params(), &scope()), Ok(()), "{text}");
    }
    assert_eq!(verify(&format!("{SAFE} AND (event = {{p0:String}} OR true)"), &params(), &scope()), Ok(()));
}

#[test]
fn a_read_without_both_predicates_is_refused() {
    let tenant = Err(Refusal::MissingPredicate("tenant"));
    let app = Err(Refusal::MissingPredicate("app"));
    for (condition, want) in [
        ("true", &tenant),
        ("app = {app:String}", &tenant),
        ("tenant = {tenant:String}", &app),
        ("tenant = {tenant:String} OR app = {app:String}", &tenant),
        ("tenant = {tenant:String} AND app = {app:String} OR true", &tenant),
        ("NOT (tenant = {tenant:String} AND app = {app:String})", &tenant),
        ("tenant != {tenant:String} AND app = {app:String}", &tenant),
        ("tenant = {p0:String} AND app = {app:String}", &tenant),
        ("tenant = {app:String} AND app = {tenant:String}", &tenant),
        ("tenant = tenant AND app = app", &tenant),
        ("app = {tenant:String} AND tenant = {tenant:String}", &app),
        ("(tenant = {tenant:String} OR true) AND app = {app:String}", &tenant),
        ("if(true, true, tenant = {tenant:String}) AND app = {app:String}", &tenant),
        ("tenant = {tenant:String} = false AND app = {app:String}", &tenant),
    ] {
        let text = format!("SELECT count() AS a0 FROM events WHERE {condition}");
        assert_eq!(&verify(&text, &params(), &scope()), want, "{condition}");
        let inner = format!("SELECT a0 AS c0 FROM ({text})");
        assert_eq!(&verify(&inner, &params(), &scope()), want, "{condition}");
    }
    assert_eq!(verify("SELECT count() AS a0 FROM events", &params(), &scope()), tenant);
    // A predicate of the outer query does not bind the inner one.
    let outer =
        "SELECT a0 AS c0 FROM (SELECT count() AS a0 FROM events) WHERE tenant = {tenant:String} AND app = {app:String}";
    assert_eq!(verify(outer, &params(), &scope()), tenant);
}

#[test]
fn other_ways_to_data_are_refused() {
    let where_ = "WHERE tenant = {tenant:String} AND app = {app:String}";
    for text in [
        format!("{SAFE} UNION ALL SELECT count() AS a0 FROM events"),
        format!("SELECT count() AS a0 FROM events UNION ALL {SAFE}"),
        format!("{SAFE} UNION ALL {SAFE} UNION ALL SELECT count() AS a0 FROM users WHERE true"),
        format!("{SAFE} UNION ALL (SELECT count() AS a0 FROM events)"),
        format!("{SAFE} UNION {SAFE}"),
        format!("{SAFE} EXCEPT {SAFE}"),
        format!("{SAFE}; SELECT 1"),
        format!("{SAFE} SETTINGS max_threads = 1"),
        format!("{SAFE} FORMAT JSON"),
        format!("{SAFE} INTO OUTFILE 'x'"),
        format!("{SAFE} -- comment"),
        format!("{SAFE} /* x */"),
        format!("SELECT count() AS a0 FROM uncounted {where_}"),
        format!("SELECT n0 AS c0 FROM users {where_}"),
        format!("SELECT count() AS a0 FROM events INNER JOIN users ON true {where_}"),
        format!(
            "SELECT count() AS a0 FROM events INNER JOIN (SELECT user AS c0 FROM users) AS t1 ON (user = t1.c0) {where_}"
        ),
        format!("SELECT count() AS a0 FROM events INNER JOIN ({SAFE}) AS t1 USING (a0) {where_}"),
        format!("SELECT count() AS a0 FROM events RIGHT JOIN ({SAFE}) AS t1 ON (n0 = t1.a0) {where_}"),
        format!("SELECT count() AS a0 FROM events INNER JOIN ({SAFE}) AS events ON (n0 = 1) {where_}"),
        format!("SELECT count() AS a0 FROM events INNER JOIN ({SAFE}) AS t1 (tenant) ON (n0 = 1) {where_}"),
        format!("SELECT t1.tenant AS c0 FROM events INNER JOIN ({SAFE}) AS t1 ON (n0 = t1.a0) {where_}"),
        format!("SELECT events.a0 AS c0 FROM events {where_}"),
        format!("SELECT count() AS a0 FROM events CROSS JOIN (SELECT user AS c0 FROM users {where_}) AS t1"),
        format!("SELECT t0.a0 AS c0 FROM (SELECT count() AS a0 FROM events) AS t0 {where_}"),
        format!("{SAFE} AND (user IN (SELECT user AS c0 FROM users))"),
        format!("{SAFE} AND (user IN (SELECT user AS c0 FROM users WHERE tenant = {{tenant:String}}))"),
        format!("{SAFE} AND (n0 > (SELECT max(n0) AS c0 FROM events))"),
        format!("{SAFE} LIMIT 1 BY sleep(1)"),
        format!("SELECT count() AS a0 FROM system.events {where_}"),
        format!("SELECT count() AS a0 FROM `events` {where_}"),
        format!("SELECT count() AS a0 FROM events AS e {where_}"),
        format!("SELECT count() AS a0 FROM events FINAL {where_}"),
        format!("SELECT count() AS a0 FROM events SAMPLE 1 {where_}"),
        format!("SELECT count() AS a0 FROM events, events {where_}"),
        format!("SELECT count() AS a0 FROM events JOIN events ON true {where_}"),
        format!("SELECT count() AS a0 FROM events ARRAY JOIN s_more {where_}"),
        format!("SELECT count() AS a0 FROM url('http') {where_}"),
        format!("SELECT count() AS a0 FROM remote(events) {where_}"),
        format!("SELECT count() AS a0 FROM events PREWHERE true {where_}"),
        format!("WITH 1 AS tenant SELECT count() AS a0 FROM events {where_}"),
        format!("SELECT {{tenant:String}} AS tenant FROM events {where_}"),
        format!("SELECT event FROM events {where_}"),
        format!("SELECT * FROM events {where_}"),
        format!("SELECT (SELECT count() AS a0 FROM events) AS c0 FROM events {where_}"),
        format!("SELECT (event IN (SELECT event AS c0 FROM events)) AS c0 FROM events {where_}"),
        format!("SELECT file('x') AS c0 FROM events {where_}"),
        format!("SELECT dictGet(event) AS c0 FROM events {where_}"),
        format!("SELECT sleep(3) AS c0 FROM events {where_}"),
        format!("SELECT COUNT(event) AS c0 FROM events {where_}"),
        format!("SELECT 'beta' AS c0 FROM events {where_}"),
        format!("SELECT _part AS c0 FROM events {where_}"),
        format!("SELECT n16 AS c0 FROM events {where_}"),
        format!("SELECT events.event AS c0 FROM events {where_}"),
        format!("SELECT CAST(event AS UUID) AS c0 FROM events {where_}"),
        format!("SELECT sleep() OVER () AS c0 FROM events {where_}"),
        format!("SELECT count() OVER (PARTITION BY sleep(1)) AS c0 FROM events {where_}"),
        format!("SELECT count() OVER (ORDER BY (SELECT max(n0) AS c0 FROM events)) AS c0 FROM events {where_}"),
        format!("SELECT count() OVER w AS c0 FROM events {where_}"),
        format!(
            "SELECT sum(n0) OVER (ORDER BY n0 RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS c0 FROM events {where_}"
        ),
        format!(
            "SELECT sum(n0) OVER (ORDER BY n0 ROWS BETWEEN sleep(1) PRECEDING AND CURRENT ROW) AS c0 FROM events {where_}"
        ),
        format!("SELECT arraySort(x -> event, n_more) AS c0 FROM events {where_}"),
        format!("SELECT tenant AS c0 FROM ({SAFE})"),
        format!("{SAFE} AND event = :p0"),
        "SELECT count() AS a0 FROM events WHERE tenant = :tenant AND app = :app".to_owned(),
        format!("{SAFE} GROUP BY k0 WITH TOTALS"),
        format!("{SAFE} LIMIT n0 BY event"),
        format!("{SAFE} LIMIT (SELECT 1)"),
        format!("{SAFE} ORDER BY sleep(1)"),
        "SELECT 1 AS c0".to_owned(),
        "DROP TABLE events".to_owned(),
        "INSERT INTO events VALUES (1)".to_owned(),
        "EXPLAIN SELECT 1".to_owned(),
        String::new(),
    ] {
        assert!(verify(&text, &params(), &scope()).is_err(), "{text}");
    }
}

#[test]
fn what_is_bound_must_be_what_the_text_says() {
    let check = |change: fn(&mut Vec<Param>)| {
        let mut params = params();
        change(&mut params);
        verify(SAFE, &params, &scope())
    };
    assert_eq!(check(|p| p[0].value = "beta".into()), Err(Refusal::OutOfScope("tenant")));
    assert_eq!(check(|p| p[1].value = "other".into()), Err(Refusal::OutOfScope("app")));
    assert_eq!(check(|p| p[1].value = "x' OR '1".into()), Err(Refusal::OutOfScope("app")));
    assert_eq!(check(|p| p[0].kind = "Identifier"), Err(Refusal::Parameter("tenant".into())));
    assert_eq!(check(|p| p.push(p[0].clone())), Err(Refusal::Parameter("tenant".into())));
    assert_eq!(check(|p| p.truncate(1)), Err(Refusal::Parameter("app".into())));
    for placeholder in ["{p1:String}", "{p0:Int64}", "{p0:Identifier}", "{p0}", "{P0:String}", "{p0:String", "{}"] {
        let text = format!("{SAFE} AND event = {placeholder}");
        assert!(verify(&text, &params(), &scope()).is_err(), "{placeholder}");
    }
}

#[test]
fn every_function_of_the_allow_list_passes() {
    for function in SCALARS.iter().chain([&CONCATENATION]) {
        let args = (0..function.params.len()).map(|_| "n0").collect::<Vec<_>>().join(", ");
        let text = function.template.replace("$*", &args).replace("$@", &args);
        let text = (1..=9).fold(text, |text, i| text.replace(&format!("${i}"), "n0"));
        let text = format!("SELECT {text} AS c0 FROM events WHERE tenant = {{tenant:String}} AND app = {{app:String}}");
        assert_eq!(verify(&text, &params(), &scope()), Ok(()), "{text}");
    }
}

#[test]
fn no_text_of_the_caller_reaches_the_sql() {
    for value in [
        "x' OR 1=1 --",
        "{p0:String}",
        "\\",
        "\\'",
        "\0\n\t",
        "/*",
        "ｔｅｎａｎｔ",
        "'; DROP TABLE events",
        "{tenant:String}",
    ] {
        let sql = format!(
            "SELECT COUNT(*) AS \"{0}\" FROM events WHERE status = '{1}'",
            value.replace('"', "\"\""),
            value.replace('\'', "''")
        );
        let statement = compile(&sql).unwrap();
        let empty = compile("SELECT COUNT(*) AS n FROM events WHERE status = 'x'").unwrap();
        assert_eq!(statement.text(), empty.text(), "{value:?}");
        assert_eq!(statement.columns()[0].name, value);
    }
}

#[test]
fn states_are_read_under_the_whole_scope_and_from_their_own_table_alone() {
    let mut params = params();
    params.push(Param { name: "shape".into(), kind: "String", value: "5a".into() });
    let kept = "SELECT sumMerge(c0) AS a0 FROM (SELECT CAST(arrayElement(states, 1) AS AggregateFunction(sum, Nullable(Float64))) AS c0 \
        FROM bucket_states WHERE tenant = {tenant:String} AND app = {app:String} AND shape = {shape:String})";
    assert_eq!(verify(kept, &params, &scope()), Ok(()));
    for name in ["tenant", "app", "shape"] {
        let without = kept.replace(&format!("{name} = {{{name}:String}}"), "true");
        assert_eq!(verify(&without, &params, &scope()), Err(Refusal::MissingPredicate(name)));
    }
    for (from, to) in [
        ("arrayElement(states, 1)", "arrayElement(texts, 1)"),
        ("arrayElement(states, 1)", "{p0:String}"),
        ("sum, Nullable(Float64)", "sum, Float64"),
        ("sum, Nullable(Float64)", "groupUniqArray, Nullable(Float64)"),
        ("sum, Nullable(Float64)", "sum, Nullable(Float64))) AS c1, (1"),
        ("AggregateFunction(sum, Nullable(Float64))", "StateOfBucket"),
        ("FROM bucket_states", "FROM events"),
        ("states, 1", "piece, 1) AS Nullable(String)) AS c1, CAST(arrayElement(ts, 1"),
    ] {
        let text = kept.replace(from, to);
        assert!(verify(&text, &params, &scope()).is_err(), "{text}");
    }
}
