//! Queries with the zone they are asked in (empty: the app's, UTC) and the rows they give; 1.0 is a number, 1 an
//! integer.

pub(super) const QUERIES: [(&str, &str, &str); 85] = [
    // Words, names, comments.
    ("select count(*) from events;", "", "[[6]]"),
    ("SELECT /* all */ COUNT(*) FROM Events -- of them", "", "[[6]]"),
    ("SELECT COUNT(*) FROM events WHERE app_id = 'shop'", "", "[[6]]"),
    ("SELECT COUNT(*) FROM events WHERE app_id IN ('shop') AND Event_Type = 'view'", "", "[[3]]"),
    ("SELECT e.event_id FROM events AS e WHERE e.amount = 20.5", "", r#"[["2"]]"#),
    ("SELECT events.event_id FROM events e WHERE e.event_id = '1'", "", r#"[["1"]]"#),
    (r#"SELECT "page.url" AS "the url" FROM events ORDER BY "the url" DESC NULLS LAST LIMIT 1"#, "", r#"[["it's"]]"#),
    (r#"SELECT properties."page.url" AS u FROM events WHERE event_id = '4'"#, "", r#"[["/a%"]]"#),
    (
        "SELECT properties.amount x, 'it''s' y, NULL z, TRUE w FROM events WHERE event_id = '1'",
        "",
        r#"[[10.0, "it's", null, true]]"#,
    ),
    (
        "SELECT 1 + 2 * 3 AS seven, 7 / 2 AS half, 7 % 4 AS rest, -(-1) AS one FROM events LIMIT 1",
        "",
        "[[7.0, 3.5, 3, 1]]",
    ),
    // Conditions.
    ("SELECT COUNT(*) FROM events WHERE status <> 'completed'", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE status != 'completed' OR status IS NULL", "", "[[4]]"),
    ("SELECT COUNT(*) FROM events WHERE NOT status = 'completed' AND amount >= 0", "", "[[1]]"),
    ("SELECT COUNT(*) FROM events WHERE amount IN (10, 20.5, 99) AND status NOT IN ('refunded')", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE amount BETWEEN 0 AND 10", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE amount NOT BETWEEN 0 AND 10", "", "[[2]]"),
    (r#"SELECT COUNT(*) FROM events WHERE "page.url" LIKE '/b_1'"#, "", "[[2]]"),
    (r#"SELECT COUNT(*) FROM events WHERE "page.url" LIKE '/b\_1'"#, "", "[[1]]"),
    (r#"SELECT COUNT(*) FROM events WHERE "page.url" LIKE '%\%'"#, "", "[[1]]"),
    (r#"SELECT COUNT(*) FROM events WHERE "page.url" ILIKE '/A%' AND "page.url" NOT LIKE '/a'"#, "", "[[1]]"),
    ("SELECT COUNT(*) FROM events WHERE vip", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE vip IS NOT TRUE", "", "[[4]]"),
    ("SELECT COUNT(*) FROM events WHERE vip = false", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE user_id IS NULL", "", "[[1]]"),
    ("SELECT COUNT(*) FROM events WHERE status IS DISTINCT FROM 'completed'", "", "[[4]]"),
    ("SELECT COUNT(*) FROM events WHERE mixed = 3 OR mixed = 'one'", "", "[[2]]"),
    ("SELECT SUM(mixed::number) AS n, MIN(mixed::string) AS s FROM events", "", r#"[[4.0, "one"]]"#),
    ("SELECT COUNT(*) FROM events WHERE timestamp < now() - INTERVAL 30 DAY AND timestamp > '2024-01-01'", "", "[[6]]"),
    // Time.
    ("SELECT COUNT(*) FROM events WHERE timestamp >= '2024-03-31'", "", "[[4]]"),
    ("SELECT COUNT(*) FROM events WHERE timestamp >= '2024-03-31'", "Europe/Berlin", "[[5]]"),
    ("SELECT COUNT(*) FROM events WHERE timestamp >= '2024-03-31T00:00:00+01:00'", "", "[[5]]"),
    ("SELECT COUNT(*) FROM events WHERE timestamp >= TIMESTAMP '2024-04-01 10:00:00.25'", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE timestamp < DATE '2024-03-31' + INTERVAL '1' DAY", "Europe/Berlin", "[[4]]"),
    ("SELECT COUNT(*) FROM events WHERE DATE(timestamp) = '2024-03-31'", "", "[[2]]"),
    ("SELECT COUNT(*) FROM events WHERE timestamp::date = '2024-03-31'", "Europe/Berlin", "[[3]]"),
    (
        "SELECT date_trunc('day', timestamp) AS d, COUNT(*) FROM events GROUP BY d ORDER BY d LIMIT 2",
        "Europe/Berlin",
        r#"[["2024-03-29T23:00:00Z", 1], ["2024-03-30T23:00:00Z", 3]]"#,
    ),
    (
        "SELECT date_trunc('HOUR', timestamp, 'Asia/Kolkata') AS h FROM events WHERE event_id = '1'",
        "",
        r#"[["2024-03-30T22:30:00Z"]]"#,
    ),
    (
        "SELECT date_trunc('week', timestamp AT TIME ZONE 'Europe/Berlin') w, COUNT(DISTINCT user_id) FROM events \
         GROUP BY 1 ORDER BY 1",
        "",
        r#"[["2024-03-24T23:00:00Z", 3], ["2024-03-31T22:00:00Z", 1]]"#,
    ),
    (
        "SELECT timestamp + INTERVAL '1 day' AS a, timestamp - INTERVAL -2 HOUR AS b FROM events WHERE event_id = \
         '1'",
        "Europe/Berlin",
        r#"[["2024-03-31T21:30:00Z", "2024-03-31T00:30:00Z"]]"#,
    ),
    // A time of day that the clocks leave out is as long after it as it would have been: at half past two, and at midnight.
    (
        "SELECT timestamp - INTERVAL '21 hours' + INTERVAL '1 day' AS a, timestamp - INTERVAL '21 hours' - INTERVAL '1 month' + \
         INTERVAL '1 month 2 days' AS b FROM events WHERE event_id = '1'",
        "Europe/Berlin",
        r#"[["2024-03-31T01:30:00Z", "2024-03-31T01:30:00Z"]]"#,
    ),
    (
        "SELECT timestamp + INTERVAL '4 hours 30 minutes' + INTERVAL '161 days' AS a FROM events WHERE event_id = '1'",
        "America/Santiago",
        r#"[["2024-09-08T04:00:00Z"]]"#,
    ),
    (
        "SELECT EXTRACT(hour FROM timestamp) a, date_part('dow', timestamp) b, HOUR(timestamp, 'UTC') c, \
         MONTH(timestamp) d FROM events WHERE event_id = '4'",
        "Europe/Berlin",
        "[[3, 0, 1, 3]]",
    ),
    ("SELECT date_diff('day', MIN(timestamp), MAX(timestamp)) AS days FROM events", "", "[[3]]"),
    (
        "SELECT MAX(timestamp)::string AS t FROM events WHERE user_id IS NULL",
        "Europe/Berlin",
        r#"[["2024-04-01 12:00:00.250"]]"#,
    ),
    // Aggregates.
    (
        "SELECT COUNT(amount), COUNT(DISTINCT user_id), SUM(amount), AVG(amount), MIN(amount), MAX(status) FROM \
         events",
        "",
        r#"[[4, 3, 26.5, 6.625, -4.0, "späť"]]"#,
    ),
    ("SELECT COUNT(DISTINCT (status, vip)) AS a, COUNT(DISTINCT status, vip) AS b FROM events", "", "[[3, 3]]"),
    (
        "SELECT COUNT_IF(vip), SUM_IF(amount, vip), COUNT(*) FILTER (WHERE NOT vip), SUM(amount) FILTER (WHERE vip) \
         FROM events",
        "",
        "[[2, 10.0, 2, 10.0]]",
    ),
    (
        "SELECT MEDIAN(amount) m, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY amount) c, PERCENTILE_DISC(0.5, \
         amount) d FROM events",
        "",
        "[[5.0, 5.0, 0.0]]",
    ),
    ("SELECT PERCENTILE(1, amount) AS p, APPROX_COUNT_DISTINCT(user_id) AS u FROM events", "", "[[20.5, 3]]"),
    ("SELECT SUM(amount) / COUNT_IF(status = 'nothing') AS r FROM events", "", "[[null]]"),
    ("SELECT SUM(amount), COUNT(*) FROM events WHERE event_type = 'nothing'", "", "[[null, 0]]"),
    // Groups, order, pages.
    (
        "SELECT event_type, COUNT(*) FROM events GROUP BY event_type ORDER BY 2, 1",
        "",
        r#"[["purchase", 3], ["view", 3]]"#,
    ),
    (
        "SELECT status AS s, COUNT(*) AS n FROM events GROUP BY s ORDER BY n DESC, s",
        "",
        r#"[["completed", 2], [null, 2], ["refunded", 1], ["späť", 1]]"#,
    ),
    (
        "SELECT status, SUM(amount) AS total FROM events GROUP BY 1 HAVING total > 5 ORDER BY SUM(amount) DESC",
        "",
        r#"[["completed", 30.5]]"#,
    ),
    (
        "SELECT UPPER(status) FROM events GROUP BY UPPER(status) HAVING COUNT(*) = 1 ORDER BY UPPER(status)",
        "",
        r#"[["REFUNDED"], ["SPÄŤ"]]"#,
    ),
    ("SELECT DISTINCT event_type FROM events ORDER BY event_type DESC", "", r#"[["view"], ["purchase"]]"#),
    ("SELECT event_id FROM events ORDER BY amount DESC NULLS LAST, event_id LIMIT 2 OFFSET 1", "", r#"[["1"], ["3"]]"#),
    ("SELECT event_id FROM events ORDER BY amount NULLS FIRST, event_id OFFSET 2 ROWS LIMIT 1", "", r#"[["6"]]"#),
    ("SELECT event_id FROM events WHERE vip ORDER BY timestamp DESC LIMIT ALL", "", r#"[["4"], ["1"]]"#),
    ("SELECT 1 AS one FROM events HAVING COUNT(*) > 6", "", "[]"),
    // Functions of one value.
    (
        "SELECT CASE WHEN amount > 15 THEN 'high' WHEN amount > 0 THEN 'low' END AS c FROM events WHERE vip IS NOT \
         NULL ORDER BY event_id",
        "",
        r#"[["low"], ["high"], [null], [null]]"#,
    ),
    (
        "SELECT CASE status WHEN 'completed' THEN 1 ELSE 0 END AS c, COALESCE(status, 'none') AS s FROM events WHERE \
         event_id >= '3' ORDER BY event_id",
        "",
        r#"[[0, "refunded"], [0, "none"], [0, "none"], [0, "späť"]]"#,
    ),
    (
        "SELECT LENGTH(status) l, UPPER(status) u, LEFT(status, 3) h, status || '!' x, REVERSE(status) r FROM events \
         WHERE event_id = '6'",
        "",
        r#"[[4, "SPÄŤ", "spä", "späť!", "ťäps"]]"#,
    ),
    (
        "SELECT ROUND(amount / 3, 2) a, ROUND(2.5) b, FLOOR(-0.5) c, ABS(amount) d, NULLIF(amount, -4) e, CAST('12' \
         AS integer) f FROM events WHERE event_id = '6'",
        "",
        "[[-1.33, 3.0, -1.0, 4.0, null, 12]]",
    ),
    // Queries in queries, users, windows.
    (
        "WITH d AS (SELECT date_trunc('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY 1) SELECT n, SUM(n) OVER (ORDER BY day) AS total, n - LAG(n) OVER (ORDER BY day) AS change FROM d ORDER BY day",
        "",
        r#"[[2, 2.0, null], [2, 4.0, 0], [1, 5.0, -1], [1, 6.0, 0]]"#,
    ),
    ("SELECT AVG(n) FROM (SELECT user_id, COUNT(*) AS n FROM events GROUP BY user_id) AS per_user", "", r#"[[1.5]]"#),
    (
        "WITH a AS (SELECT event_id, vip FROM events), b AS (SELECT * FROM a WHERE vip) SELECT * FROM b ORDER BY 1",
        "",
        r#"[["1", true], ["4", true]]"#,
    ),
    (
        "SELECT COUNT(*) FROM events WHERE user_id IN (SELECT user_id FROM events WHERE status = 'completed')",
        "",
        r#"[[2]]"#,
    ),
    (
        "SELECT COUNT(*) FROM events WHERE user_id NOT IN (SELECT user_id FROM events WHERE status = 'completed')",
        "",
        r#"[[3]]"#,
    ),
    ("SELECT event_id FROM events WHERE amount > (SELECT AVG(amount) FROM events) ORDER BY 1", "", r#"[["1"], ["2"]]"#),
    (
        "SELECT COUNT(*) / (SELECT COUNT(*) FROM events) AS share FROM events WHERE event_type = 'view'",
        "",
        r#"[[0.5]]"#,
    ),
    (
        "SELECT (SELECT MAX(amount) FROM events WHERE status = 'nothing') AS m, (SELECT event_id FROM events WHERE amount = 99 LIMIT 1) AS e FROM events LIMIT 1",
        "",
        r#"[[null, null]]"#,
    ),
    (
        "SELECT u.plan, u.age::number AS age, COUNT(*) AS n FROM events e JOIN users u ON e.user_id = u.user_id GROUP BY 1, 2 ORDER BY age",
        "",
        r#"[["pro", 30.0, 2], [null, 40.0, 2]]"#,
    ),
    (
        "SELECT u.country AS c, COUNT(*) FROM events e LEFT JOIN users u USING (user_id) GROUP BY c ORDER BY 1",
        "",
        r#"[["DE", 2], ["FR", 2], [null, 2]]"#,
    ),
    (
        "SELECT COUNT(*) FROM events JOIN users ON events.user_id = users.user_id WHERE users.age > 35 AND amount > -9",
        "",
        r#"[[2]]"#,
    ),
    (
        "SELECT user_id, plan, vip::bool AS v, nobody_has_it AS x FROM users ORDER BY user_id",
        "",
        r#"[["u1", "pro", true, null], ["u2", null, null, null]]"#,
    ),
    (
        "SELECT u.user_id, e.n FROM users u LEFT JOIN (SELECT user_id, COUNT(*) AS n FROM events WHERE event_type = 'purchase' AND amount > 0 GROUP BY 1) AS e USING (user_id) ORDER BY 1",
        "",
        r#"[["u1", 2], ["u2", null]]"#,
    ),
    (
        "SELECT COUNT(*), AVG(age::number) FROM users WHERE user_id IN (SELECT user_id FROM events WHERE event_type = 'view')",
        "",
        r#"[[1, 40.0]]"#,
    ),
    (
        "SELECT 'all' AS what, COUNT(*) AS n FROM events UNION ALL SELECT 'paid', SUM(1) FROM events WHERE amount > 0 ORDER BY n DESC LIMIT 5",
        "",
        r#"[["all", 6.0], ["paid", 2.0]]"#,
    ),
    (
        "SELECT user_id AS x FROM events WHERE vip UNION SELECT status FROM events WHERE NOT vip OR amount = 20.5 ORDER BY x",
        "",
        r#"[["completed"], ["refunded"], ["u1"], ["u3"]]"#,
    ),
    (
        "SELECT event_type, RANK() OVER (ORDER BY COUNT(*) DESC) AS r, ROW_NUMBER() OVER (ORDER BY event_type) AS i FROM events GROUP BY 1 ORDER BY 1",
        "",
        r#"[["purchase", 1, 1], ["view", 1, 2]]"#,
    ),
    (
        "SELECT event_id, AVG(amount) OVER (ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a, LEAD(status) OVER (ORDER BY timestamp) AS s FROM events WHERE event_type = 'purchase' ORDER BY 1",
        "",
        r#"[["1", 10.0, "completed"], ["2", 15.25, "refunded"], ["3", 10.25, null]]"#,
    ),
    (
        "SELECT status, SUM(amount) / SUM(SUM(amount)) OVER () AS share FROM events WHERE amount > 0 GROUP BY 1",
        "",
        r#"[["completed", 1.0]]"#,
    ),
    (
        "SELECT t.k, x.total FROM (SELECT event_type AS k FROM events GROUP BY 1) AS t CROSS JOIN (SELECT COUNT(*) AS total FROM events) AS x ORDER BY 1",
        "",
        r#"[["purchase", 6], ["view", 6]]"#,
    ),
    (
        "SELECT user_id, event_id FROM (SELECT user_id, event_id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY timestamp) AS i FROM events) AS x WHERE i = 1 ORDER BY user_id",
        "",
        r#"[["u1", "1"], ["u2", "3"], ["u3", "4"], [null, "5"]]"#,
    ),
];
