//! Aggregates over everything, and over groups that are not times.

use super::{Bound, Question, ROUNDING, ask};

pub(super) const QUESTIONS: [Question; 21] = [
    ask("every event", "SELECT COUNT(*) FROM events"),
    ask(
        "counts of values",
        "SELECT COUNT(user_id), COUNT(tailnum), COUNT(dep_delay), COUNT(arr_delay), COUNT(departure), \
         COUNT(departed) FROM events",
    ),
    ask(
        "conditional counts",
        "SELECT COUNT(*) FILTER (WHERE dep_delay > 60), COUNT_IF(departed), COUNT(arr_delay) FILTER (WHERE NOT \
         departed), COUNT_IF(carrier = 'UA' AND origin = 'EWR') FROM events",
    ),
    ask(
        "distinct values of every kind",
        "SELECT COUNT(DISTINCT user_id), COUNT(DISTINCT tailnum), COUNT(DISTINCT carrier), COUNT(DISTINCT flight), \
         COUNT(DISTINCT speed), COUNT(DISTINCT dep_delay), COUNT(DISTINCT departed), COUNT(DISTINCT timestamp), \
         COUNT(DISTINCT departure), COUNT(DISTINCT event_id), COUNT(DISTINCT event_type) FROM events",
    ),
    // No part is ever NULL here: DuckDB would count such a combination, Penstock does not.
    ask(
        "distinct combinations",
        "SELECT COUNT(DISTINCT (origin, dest)), COUNT(DISTINCT (carrier, origin, dest)) FROM events",
    ),
    ask(
        "distinct values under a condition",
        "SELECT COUNT(DISTINCT user_id) FILTER (WHERE dest = 'SEA'), COUNT(DISTINCT dest) FILTER (WHERE dep_delay > \
         600) FROM events",
    ),
    ask(
        "sums",
        "SELECT SUM(dep_delay), SUM(arr_delay), SUM(distance), SUM(speed), SUM(speed) FILTER (WHERE carrier = 'HA') \
         FROM events",
    )
    .near(&[(3, ROUNDING), (4, ROUNDING)], "SUM(ABS(speed)), SUM(ABS(speed)) FILTER (WHERE carrier = 'HA')"),
    ask("averages", "SELECT AVG(dep_delay), AVG(arr_delay), AVG(speed) FROM events").near(
        &[(0, ROUNDING), (1, ROUNDING), (2, ROUNDING)],
        "AVG(ABS(dep_delay)), AVG(ABS(arr_delay)), AVG(ABS(speed))",
    ),
    ask(
        "least and greatest of every kind",
        "SELECT MIN(dep_delay), MAX(dep_delay), MIN(speed), MAX(speed), MIN(dest), MAX(airline), MIN(timestamp), \
         MAX(timestamp), MIN(departure), MAX(departure), MIN(flight), MAX(flight) FROM events",
    ),
    ask(
        "exact percentiles",
        "SELECT MEDIAN(dep_delay), MEDIAN(speed), PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY dep_delay), \
         PERCENTILE_DISC(0.95) WITHIN GROUP (ORDER BY dep_delay), PERCENTILE_CONT(0.001) WITHIN GROUP (ORDER BY \
         arr_delay), PERCENTILE_DISC(0) WITHIN GROUP (ORDER BY arr_delay), PERCENTILE_DISC(1) WITHIN GROUP (ORDER BY \
         arr_delay), PERCENTILE_DISC(0.25) WITHIN GROUP (ORDER BY speed) FROM events",
    ),
    ask(
        "exact percentiles of groups",
        "SELECT carrier, MEDIAN(arr_delay) AS m, PERCENTILE_CONT(0.9, arr_delay) AS c, PERCENTILE_DISC(0.9, \
         arr_delay) AS d, PERCENTILE_DISC(0.5, speed) AS s FROM events GROUP BY carrier ORDER BY carrier",
    )
    .in_duckdb(
        "SELECT carrier, MEDIAN(arr_delay), QUANTILE_CONT(arr_delay, 0.9), QUANTILE_DISC(arr_delay, 0.9), \
         QUANTILE_DISC(speed, 0.5) FROM events GROUP BY carrier ORDER BY carrier",
    ),
    // The sketches' stated errors: 2 % of the rank, 2 % of the count.
    ask(
        "sketched percentiles",
        "SELECT origin, PERCENTILE(0.5, dep_delay), PERCENTILE(0.95, dep_delay), APPROX_PERCENTILE(0.99, speed) FROM \
         events GROUP BY origin ORDER BY origin",
    )
    .in_duckdb("SELECT origin, NULL, NULL, NULL FROM events GROUP BY origin ORDER BY origin")
    .near(
        &[(1, Bound::Between), (2, Bound::Between), (3, Bound::Between)],
        "QUANTILE_DISC(dep_delay, 0.48), QUANTILE_DISC(dep_delay, 0.52), QUANTILE_DISC(dep_delay, 0.93), \
         QUANTILE_DISC(dep_delay, 0.97), QUANTILE_DISC(speed, 0.97), QUANTILE_DISC(speed, 1.0)",
    ),
    ask(
        "sketched distinct counts",
        "SELECT APPROX_COUNT_DISTINCT(user_id), APPROX_COUNT_DISTINCT(timestamp), APPROX_COUNT_DISTINCT(carrier) \
         FROM events",
    )
    .in_duckdb("SELECT ANY_VALUE(NULL), NULL, NULL FROM events")
    .near(
        &[(0, Bound::Between), (1, Bound::Between), (2, Bound::Between)],
        "0.98 * COUNT(DISTINCT user_id), 1.02 * COUNT(DISTINCT user_id), 0.98 * COUNT(DISTINCT timestamp), 1.02 * \
         COUNT(DISTINCT timestamp), COUNT(DISTINCT carrier), COUNT(DISTINCT carrier)",
    ),
    // A deviation's rounding is relative to the values' root mean square, a variance's to its square.
    ask(
        "deviation and variance",
        "SELECT carrier, STDDEV(dep_delay), STDDEV_SAMP(speed), VARIANCE(dep_delay), VAR_SAMP(speed) FROM events \
         GROUP BY carrier ORDER BY carrier",
    )
    .near(
        &[(1, ROUNDING), (2, ROUNDING), (3, ROUNDING), (4, ROUNDING)],
        "SQRT(AVG(dep_delay * dep_delay)), SQRT(AVG(speed * speed)), AVG(dep_delay * dep_delay), AVG(speed * speed)",
    ),
    ask(
        "a deviation of one value",
        "SELECT dest, COUNT(*), STDDEV(dep_delay), VARIANCE(dep_delay) FROM events WHERE dest IN ('LEX', 'LGA') \
         GROUP BY dest ORDER BY dest",
    ),
    ask(
        "aggregates of nothing",
        "SELECT COUNT(*), COUNT(DISTINCT carrier), SUM(dep_delay), AVG(dep_delay), MIN(dest), MAX(timestamp), \
         MEDIAN(dep_delay), PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY dep_delay), STDDEV(dep_delay) FROM events \
         WHERE carrier = 'ZZ'",
    ),
    ask("groups of nothing", "SELECT dest, COUNT(*) FROM events WHERE carrier = 'ZZ' GROUP BY dest"),
    ask(
        "a ratio of aggregates",
        "SELECT carrier, SUM(dep_delay) / COUNT(DISTINCT user_id) AS r, SUM(distance) / SUM(air_time) * 60 AS mph \
         FROM events GROUP BY carrier ORDER BY carrier",
    )
    .near(
        &[(1, ROUNDING), (2, ROUNDING)],
        "SUM(ABS(dep_delay)) / COUNT(DISTINCT user_id), SUM(distance) / SUM(air_time) * 60",
    ),
    ask(
        "a ratio by zero",
        "SELECT origin, COUNT(*) / COUNT_IF(dest = 'HNL' AND origin = 'EWR') AS r, SUM(distance) / SUM(flight - \
         flight) AS s FROM events GROUP BY origin ORDER BY origin",
    ),
    ask(
        "a sum of a choice",
        "SELECT SUM(CASE WHEN dep_delay > 0 THEN dep_delay ELSE 0 END), SUM(CASE WHEN departed THEN 1 ELSE 0 END) / \
         COUNT(*), AVG(COALESCE(dep_delay, 0)), MAX(-dep_delay) FROM events",
    )
    .near(&[(1, ROUNDING), (2, ROUNDING)], "1.0, AVG(ABS(COALESCE(dep_delay, 0)))"),
    ask(
        "groups of two keys, one of them NULL",
        "SELECT carrier, tailnum, COUNT(*), MAX(dep_delay) FROM events WHERE carrier IN ('9E', 'AA', 'UA') GROUP BY \
         carrier, tailnum ORDER BY carrier, tailnum",
    ),
];
