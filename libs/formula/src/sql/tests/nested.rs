//! Queries in queries.

use super::{EVENTS, check, refused};
use crate::fixture::{NOW_MS, compile, plan, readable, schema, scope};

/// The text of a nested query in short: each predicate of the scope written as `HERE`.
fn nested(sql: &str, want: &str) {
    let text = readable(&compile(sql).unwrap());
    assert_eq!(text.replace("tenant = {tenant:String} AND app = {app:String}", "HERE"), want, "{sql}");
}

#[test]
fn queries_stand_in_queries() {
    let daily = "SELECT CAST(k0 AS Nullable(String)) AS c0, CAST(a0 AS Nullable(Int64)) AS c1 \
                 FROM (SELECT country AS k0, count() AS a0 FROM events WHERE HERE GROUP BY k0)";
    let outer = format!(
        "SELECT CAST(ifNotFinite(a0, NULL) + 0 AS Nullable(Float64)) AS c0 \
         FROM (SELECT avg(toNullable(toFloat64(t0.c1))) AS a0 FROM ({daily}) AS t0 WHERE true AND (t0.c0 != <DE>))"
    );
    let from = "SELECT AVG(n) a FROM (SELECT country, COUNT(*) AS n FROM events GROUP BY country) AS x WHERE x.country != 'DE'";
    nested(from, &outer);
    nested(
        "WITH x AS (SELECT country, COUNT(*) AS n FROM events GROUP BY 1) SELECT AVG(n) a FROM x WHERE country != 'DE'",
        &outer,
    );
    nested(
        "WITH x AS (SELECT country, COUNT(*) AS n FROM events GROUP BY 1) SELECT * FROM x ORDER BY n DESC LIMIT 3",
        &format!(
            "SELECT CAST(t0.c0 AS Nullable(String)) AS c0, CAST(t0.c1 AS Nullable(Int64)) AS c1 FROM ({daily}) AS t0 \
             ORDER BY c1 DESC NULLS FIRST LIMIT 3"
        ),
    );
}

#[test]
fn queries_stand_in_expressions() {
    nested(
        "SELECT COUNT(*) / (SELECT COUNT(*) FROM events) AS share FROM events WHERE user_id IN (SELECT user_id FROM events WHERE is_new)",
        "SELECT CAST(ifNotFinite((toFloat64(a0) / nullIf(toFloat64((SELECT CAST(a0 AS Nullable(Int64)) AS c0 \
         FROM (SELECT sum(events) AS a0 FROM daily_users WHERE HERE))), 0)), NULL) + 0 AS Nullable(Float64)) AS c0 \
         FROM (SELECT sum(events) AS a0 FROM daily_users WHERE HERE AND (nullIf(user, '') IN (\
         SELECT CAST(nullIf(user, '') AS Nullable(String)) AS c0 FROM events WHERE HERE AND (n3 != 0))))",
    );
}

#[test]
fn users_join_by_what_is_known_of_them_now() {
    nested(
        "SELECT u.plan, SUM(e.purchase_amount) / MAX(u.age) AS r FROM events e JOIN users u ON u.user_id = e.user_id \
         WHERE u.vip::bool AND e.country = 'DE' GROUP BY u.plan",
        "SELECT CAST(k0 AS Nullable(String)) AS c0, \
         CAST(ifNotFinite((a0 / nullIf(a1, 0)), NULL) + 0 AS Nullable(Float64)) AS c1 \
         FROM (SELECT t1.c2 AS k0, sum(n2) AS a0, max(toNullable(t1.c3)) AS a1 FROM events INNER JOIN (SELECT \
         CAST(nullIf(user, '') AS Nullable(String)) AS c0, \
         CAST((if(mapContains(n_more, <vip\\0bool>), arrayElement(n_more, <vip\\0bool>), NULL) != 0) AS Nullable(Bool)) AS c1, \
         CAST(plan AS Nullable(String)) AS c2, \
         CAST(if(mapContains(n_more, <age>), arrayElement(n_more, <age>), NULL) AS Nullable(Float64)) AS c3 \
         FROM users WHERE HERE ORDER BY _incarnation DESC, _partition DESC, _offset DESC LIMIT 1 BY user) AS t1 ON (nullIf(user, '') = t1.c0) \
         WHERE HERE AND t1.c1 AND (country = <DE>) GROUP BY k0)",
    );
}

#[test]
fn windows_look_at_rows_around() {
    check(
        "SELECT country, SUM(SUM(load_time)) OVER (PARTITION BY country ORDER BY COUNT(*) DESC ROWS 6 PRECEDING) AS s, \
         COUNT(*) - LAG(COUNT(*)) OVER (ORDER BY country) AS change, RANK() OVER (ORDER BY COUNT(*) DESC) AS r \
         FROM events GROUP BY country",
        &format!(
            "SELECT CAST(k0 AS Nullable(String)) AS c0, CAST(ifNotFinite(sum(toNullable(a0)) OVER (PARTITION BY k0 ORDER BY a1 DESC NULLS FIRST \
             ROWS BETWEEN 6 PRECEDING AND CURRENT ROW), NULL) + 0 AS Nullable(Float64)) AS c1, \
             CAST((a1 - lagInFrame(toNullable(a1), 1) OVER (ORDER BY k0 ASC NULLS LAST \
             ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS Nullable(Int64)) AS c2, \
             CAST(rank() OVER (ORDER BY a1 DESC NULLS FIRST) AS Nullable(Int64)) AS c3 \
             FROM (SELECT country AS k0, sum(n1) AS a0, count() AS a1 {EVENTS} GROUP BY k0)"
        ),
    );
}

#[test]
fn nested_queries_are_refused_where_they_are_wrong() {
    for (sql, want) in [
        ("SELECT a FROM users JOIN events USING (user_id)", "`events` stands first in FROM"),
        ("SELECT e.country FROM events e JOIN events f ON e.user_id = f.user_id", "`events` stands first in FROM"),
        ("SELECT country FROM events JOIN users USING (user_id)", "more than one table has `country`; say which"),
        ("SELECT status FROM events JOIN users ON true", "ON takes terms that are equal between the tables"),
        ("SELECT status FROM events e JOIN users u ON e.user_id > u.user_id", "ON takes terms that are equal"),
        ("SELECT status FROM events e JOIN users u ON e.user_id = e.status", "ON takes terms that are equal"),
        ("SELECT status FROM events CROSS JOIN users", "CROSS JOIN takes a subquery of one row"),
        ("SELECT n FROM (SELECT COUNT(*) m FROM events) x", "`x` has no column `n`; did you mean `m`?"),
        ("SELECT x.n FROM (SELECT COUNT(*) n FROM events) x WHERE y.n > 1", "`y` is no table of this query"),
        (
            "SELECT n FROM evnts",
            "there is no table `evnts`; the tables are `events` and `users`; did you mean `events`?",
        ),
        ("SELECT n FROM system.tables", "there is no table `system.tables`"),
        ("WITH events AS (SELECT 1 n FROM events) SELECT n FROM events", "is a table already"),
        ("SELECT (SELECT status FROM events) s FROM events", "may give many rows where one value is needed"),
        ("SELECT (SELECT COUNT(*) a, 1 b FROM events) s FROM events", "has 2 columns where one is needed"),
        (
            "SELECT COUNT(*) FROM events WHERE load_time IN (SELECT status FROM events)",
            "is not among what the query gives",
        ),
        (
            "SELECT COUNT(*) FROM events e WHERE load_time > (SELECT AVG(load_time) FROM events WHERE e.is_new)",
            "no table",
        ),
        ("SELECT status a FROM events UNION ALL SELECT load_time FROM events", "in the SELECT before it a string"),
        ("SELECT status a FROM events UNION ALL SELECT status, country FROM events", "has 2 columns, the first one 1"),
        ("SELECT SUM(COUNT(*)) FROM events", "COUNT can't stand inside another aggregate"),
        (
            "SELECT status FROM events WHERE RANK() OVER (ORDER BY status) = 1",
            "can't stand in WHERE; put the query into a subquery",
        ),
        ("SELECT SUM(LAG(load_time) OVER (ORDER BY timestamp)) FROM events", "can't stand inside an aggregate"),
        (
            "SELECT country, RANK() OVER (ORDER BY COUNT(*)) r FROM events GROUP BY 1 HAVING r < 3",
            "can't see other groups",
        ),
        ("SELECT RANK() r FROM events", "RANK needs a window"),
        ("SELECT LAG(load_time) OVER () r FROM events", "LAG needs an order"),
        ("SELECT MEDIAN(load_time) OVER (ORDER BY timestamp) r FROM events", "MEDIAN is no function of windows"),
        ("SELECT MOVING_AVG(load_time, 7) r FROM events", "in SQL write AVG(x) OVER"),
        ("SELECT * FROM events", "`SELECT *` is not available; name the columns"),
    ] {
        refused(sql, want);
    }
    // Each name doubles what it stands for.
    let names = (1..30).fold("WITH a0 AS (SELECT load_time x FROM events)".to_owned(), |text, i| {
        format!("{text}, a{i} AS (SELECT x FROM a{0} UNION ALL SELECT x FROM a{0})", i - 1)
    });
    refused(&format!("{names} SELECT x FROM a29"), "");
}

#[test]
fn of_nested_queries_the_whole_is_one_part() {
    let buckets = |sql: &str| {
        let buckets = plan(sql).unwrap().seal(&scope(), &schema()).unwrap().buckets();
        (buckets.column, buckets.range)
    };
    let (may, june) = (NOW_MS - 31 * model::DAY_MS - model::DAY_MS / 2, NOW_MS - model::DAY_MS / 2);
    let day = "date_trunc('day', timestamp) d";
    let of = |from: &str, to: &str| {
        format!("SELECT {day}, COUNT(*) n FROM events WHERE timestamp >= '{from}' AND timestamp < '{to}' GROUP BY d")
    };
    let (one, other) = (of("2024-05-01", "2024-05-20"), of("2024-05-10", "2024-06-01"));
    assert_eq!(buckets(&one).0, Some(0));
    assert_eq!(buckets(&format!("{one} UNION ALL {other}")), (None, may..june));
    assert_eq!(
        buckets(&format!("SELECT n FROM ({other}) x WHERE n > (SELECT MAX(n) FROM ({one}) y)")),
        (None, may..june)
    );
    assert_eq!(buckets(&format!("SELECT SUM(n) FROM ({one}) x")).0, None);
    assert_eq!(
        buckets(&format!("SELECT n FROM ({one}) x JOIN users u ON u.user_id = x.n::string")),
        (None, i64::MIN..i64::MAX)
    );
    assert_eq!(
        buckets(&format!("SELECT n FROM ({one}) x UNION ALL SELECT COUNT(*) FROM events")),
        (None, i64::MIN..i64::MAX)
    );
    assert_eq!(
        buckets(&one.replace("COUNT(*) n", "SUM(COUNT(*)) OVER (ORDER BY date_trunc('day', timestamp)) n")).0,
        None
    );
    let sealed = plan(&format!("SELECT n FROM ({one}) x")).unwrap().seal(&scope(), &schema()).unwrap();
    assert_eq!(sealed.over(&[]), sealed, "what is nested keeps its own range");
}
