//! Conditions on events and on groups; three values of truth.

use super::{Question, ROUNDING, ask};

pub(super) const QUESTIONS: [Question; 19] = [
    ask(
        "IN and NOT IN",
        "SELECT COUNT(*) FROM events WHERE carrier IN ('UA', 'DL', 'nobody') AND dest NOT IN ('SFO', 'ATL')",
    ),
    ask(
        "IN of numbers",
        "SELECT COUNT(*), SUM(distance) FROM events WHERE flight IN (1, 15, 1545, 8500) AND dep_delay NOT IN (0, -1)",
    ),
    ask("IN with NULL is never false", "SELECT COUNT(*) FROM events WHERE carrier NOT IN ('UA', NULL)"),
    ask(
        "BETWEEN",
        "SELECT COUNT(*) FROM events WHERE dep_delay BETWEEN -5 AND 15.5 AND distance NOT BETWEEN 500 AND 1000",
    ),
    ask(
        "LIKE",
        "SELECT COUNT(*), COUNT_IF(airline LIKE '%Air%'), COUNT_IF(airline NOT LIKE '%Air%'), COUNT_IF(dest LIKE \
         'S_A'), COUNT_IF(airline ILIKE '%AIR%'), COUNT_IF(tailnum LIKE 'N%AA') FROM events WHERE tailnum LIKE \
         'N_____'",
    ),
    ask(
        "IS NULL",
        "SELECT COUNT(*), COUNT(dep_delay), COUNT(arr_delay) FROM events WHERE tailnum IS NULL OR (dep_delay IS NOT \
         NULL AND arr_delay IS NULL)",
    ),
    ask(
        "events of nobody",
        "SELECT carrier, COUNT(*) AS n FROM events WHERE user_id IS NULL GROUP BY carrier ORDER BY n DESC, carrier",
    ),
    ask("NOT of what is unknown", "SELECT COUNT(*) FROM events WHERE NOT (dep_delay > 0)"),
    ask("NOT of AND with unknown", "SELECT COUNT(*) FROM events WHERE NOT (dep_delay > 0 AND origin = 'JFK')"),
    ask("OR with unknown", "SELECT COUNT(*) FROM events WHERE arr_delay > 100 OR origin = 'JFK'"),
    ask(
        "bools",
        "SELECT departed, COUNT(*), COUNT(dep_delay) FROM events WHERE departed IS NOT TRUE OR dest = 'HNL' GROUP BY \
         departed ORDER BY COUNT(*)",
    ),
    ask(
        "distinctness",
        "SELECT COUNT(*) FROM events WHERE dep_delay IS DISTINCT FROM arr_delay AND tailnum IS NOT DISTINCT FROM \
         user_id",
    ),
    ask(
        "NULL on both sides",
        "SELECT COUNT(*), COUNT_IF(dep_delay = arr_delay), COUNT_IF(dep_delay != arr_delay) FROM events",
    ),
    ask(
        "a range of time",
        "SELECT COUNT(*), MIN(timestamp), MAX(timestamp) FROM events WHERE timestamp >= '2013-03-01' AND timestamp < \
         '2013-03-15 12:30:00' AND departure > timestamp",
    ),
    ask(
        "a range of local time",
        "SELECT COUNT(*), MIN(timestamp), MAX(timestamp) FROM events WHERE timestamp BETWEEN '2013-03-10' AND \
         '2013-03-10 15:00:00'",
    )
    .in_zone("America/New_York"),
    ask(
        "a range of days",
        "SELECT COUNT(*), MIN(timestamp), MAX(timestamp) FROM events WHERE date_trunc('day', timestamp) > \
         '2013-11-02' AND date_trunc('day', timestamp) <= '2013-11-04'",
    )
    .in_zone("America/New_York"),
    ask(
        "HAVING",
        "SELECT dest, COUNT(*) AS n, AVG(arr_delay) AS late FROM events GROUP BY dest HAVING COUNT(*) > 5000 AND \
         AVG(arr_delay) > 5 ORDER BY n DESC",
    )
    .near(&[(2, ROUNDING)], "AVG(ABS(arr_delay))"),
    ask(
        "HAVING by a name",
        "SELECT origin, dest, COUNT(*) AS n FROM events GROUP BY 1, 2 HAVING n BETWEEN 1000 AND 1100 ORDER BY 3, 1, \
         2",
    ),
    ask("HAVING without groups", "SELECT COUNT(*) FROM events HAVING COUNT(*) > 1000000"),
];
