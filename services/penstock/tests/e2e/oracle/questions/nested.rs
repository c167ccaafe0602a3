//! Queries in queries, tables joined with one another, and windows over results.

use super::{Question, ROUNDING, ask};

pub(super) const QUESTIONS: [Question; 17] = [
    ask(
        "a table of days",
        "WITH daily AS (SELECT date_trunc('day', timestamp) AS day, COUNT(*) AS n FROM events GROUP BY 1) SELECT \
         COUNT(*), MAX(n), MIN(n), AVG(n), MEDIAN(n) FROM daily",
    )
    .in_zone("America/New_York"),
    ask(
        "tables that build on one another",
        "WITH a AS (SELECT carrier, dest, COUNT(*) AS n FROM events WHERE origin = 'JFK' GROUP BY 1, 2), b AS (SELECT \
         carrier, COUNT(*) AS places, MAX(n) AS most FROM a GROUP BY carrier) SELECT * FROM b WHERE places > 1 ORDER \
         BY carrier",
    ),
    ask(
        "rows of a subquery",
        "SELECT x.airline, x.late FROM (SELECT airline, dep_delay AS late, event_id FROM events WHERE dest = 'HNL' AND \
         dep_delay > 30) AS x WHERE x.late < 200 ORDER BY x.late DESC, x.event_id LIMIT 20",
    ),
    ask(
        "IN a query, NULL among its rows",
        "SELECT COUNT(*), COUNT(DISTINCT tailnum) FROM events WHERE tailnum IN (SELECT tailnum FROM events GROUP BY \
         tailnum HAVING COUNT(*) > 400)",
    ),
    ask(
        "NOT IN a query",
        "SELECT COUNT(*), COUNT(DISTINCT tailnum) FROM events WHERE tailnum NOT IN (SELECT tailnum FROM events WHERE \
         dep_delay > 60 AND tailnum IS NOT NULL)",
    ),
    ask(
        "IN a query of numbers",
        "SELECT COUNT(*) FROM events WHERE flight IN (SELECT MAX(flight) FROM events GROUP BY carrier)",
    ),
    ask(
        "against the mean",
        "SELECT carrier, COUNT(*) FROM events WHERE dep_delay > 5 * (SELECT AVG(dep_delay) FROM events) GROUP BY \
         carrier ORDER BY carrier",
    ),
    ask(
        "a share of all",
        "SELECT origin, COUNT(*) / (SELECT COUNT(*) FROM events) AS share FROM events GROUP BY origin ORDER BY origin",
    )
    .in_duckdb(
        "SELECT origin, COUNT(*) / (SELECT COUNT(*) FROM events) AS share, 1.0 FROM events GROUP BY origin ORDER BY \
         origin",
    )
    .near(&[(1, ROUNDING)], ""),
    ask(
        "two subqueries joined",
        "SELECT a.carrier, a.n, b.late FROM (SELECT carrier, COUNT(*) AS n FROM events GROUP BY 1) AS a LEFT JOIN \
         (SELECT carrier, COUNT(*) AS late FROM events WHERE dep_delay > 600 GROUP BY 1) AS b ON a.carrier = b.carrier \
         ORDER BY 1",
    ),
    ask(
        "events joined with a subquery, NULL in its key",
        "SELECT e.carrier, COUNT(*) AS n, COUNT(p.far) AS known FROM events AS e LEFT JOIN (SELECT tailnum, \
         MAX(distance) AS far FROM events WHERE origin = 'EWR' GROUP BY 1) AS p ON e.tailnum = p.tailnum WHERE \
         e.dep_delay > 0 GROUP BY 1 ORDER BY 1",
    ),
    ask(
        "events joined by two keys",
        "SELECT COUNT(*), SUM(e.distance) FROM events AS e JOIN (SELECT carrier, dest FROM events GROUP BY 1, 2 HAVING \
         COUNT(*) > 3000) AS big ON e.carrier = big.carrier AND e.dest = big.dest WHERE e.origin = 'LGA'",
    ),
    ask(
        "UNION ALL",
        "SELECT 'early' AS what, COUNT(*) AS n FROM events WHERE dep_delay < 0 UNION ALL SELECT 'late', COUNT(*) FROM \
         events WHERE dep_delay > 0 UNION ALL SELECT 'gone', COUNT(*) FROM events WHERE dep_delay IS NULL ORDER BY n",
    ),
    ask("UNION", "SELECT origin AS place FROM events UNION SELECT dest FROM events WHERE carrier = 'HA' ORDER BY place"),
    ask(
        "sums so far, changes, means of months",
        "SELECT date_trunc('month', timestamp) AS m, SUM(COUNT(*)) OVER (ORDER BY date_trunc('month', timestamp)) AS s, \
         COUNT(*) - LAG(COUNT(*)) OVER (ORDER BY date_trunc('month', timestamp)) AS c, AVG(COUNT(*)) OVER (ORDER BY \
         date_trunc('month', timestamp) ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a, LEAD(COUNT(*), 2) OVER (ORDER \
         BY date_trunc('month', timestamp)) AS l FROM events GROUP BY 1 ORDER BY 1",
    )
    .in_zone("America/New_York"),
    ask(
        "ranks",
        "SELECT origin, dest, COUNT(*) AS n, RANK() OVER (PARTITION BY origin ORDER BY COUNT(*) DESC) AS r, \
         DENSE_RANK() OVER (ORDER BY COUNT(*)) AS d, ROW_NUMBER() OVER (ORDER BY origin, dest) AS i, MAX(COUNT(*)) \
         OVER (PARTITION BY dest) AS most FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    ask(
        "the three of each",
        "SELECT x.origin, x.dest, x.n FROM (SELECT origin, dest, COUNT(*) AS n, ROW_NUMBER() OVER (PARTITION BY origin \
         ORDER BY COUNT(*) DESC, dest) AS i FROM events GROUP BY 1, 2) AS x WHERE x.i <= 3 ORDER BY x.origin, x.n DESC",
    ),
    ask(
        "windows over events",
        "SELECT event_id, LAG(dest) OVER (PARTITION BY tailnum ORDER BY timestamp, event_id) AS came_from, \
         SUM(distance) OVER (PARTITION BY tailnum ORDER BY timestamp, event_id ROWS UNBOUNDED PRECEDING) AS flown, \
         COUNT(dep_delay) OVER (PARTITION BY tailnum) AS all_of_it FROM events WHERE tailnum = 'N14228' OR tailnum = \
         'N380HA' ORDER BY event_id",
    ),
];
