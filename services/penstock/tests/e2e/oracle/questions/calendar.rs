//! Buckets and parts of the calendar, in zones that change their clocks and in one that doesn't.

use super::{Question, ROUNDING, ask};

const DAYS: &str = "SELECT date_trunc('day', timestamp) AS day, COUNT(*), COUNT(DISTINCT user_id), SUM(distance) \
                    FROM events GROUP BY day ORDER BY day";
const WEEKS: &str =
    "SELECT date_trunc('week', timestamp) AS week, COUNT(*), AVG(dep_delay) FROM events GROUP BY 1 ORDER BY 1";
const MONTHS: &str = "SELECT date_trunc('month', timestamp) AS month, origin, COUNT(*), MEDIAN(arr_delay), \
                      MAX(dep_delay) FROM events GROUP BY month, origin ORDER BY month, origin";
const HOURS: &str = "SELECT date_trunc('hour', timestamp) AS hour, COUNT(*), COUNT(DISTINCT dest) FROM events GROUP \
                     BY hour ORDER BY hour";
const PARTS: &str = "SELECT EXTRACT(year FROM timestamp) AS y, EXTRACT(quarter FROM timestamp) AS q, EXTRACT(month \
                     FROM timestamp) AS m, EXTRACT(week FROM timestamp) AS w, EXTRACT(day FROM timestamp) AS d, \
                     EXTRACT(doy FROM timestamp) AS doy, EXTRACT(dow FROM timestamp) AS dow, EXTRACT(isodow FROM \
                     timestamp) AS isodow, COUNT(*) FROM events GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY y, doy";
const CLOCK: &str = "SELECT EXTRACT(hour FROM timestamp) AS h, EXTRACT(minute FROM timestamp) AS m, COUNT(*) FROM \
                     events GROUP BY h, m ORDER BY h, m";
/// DuckDB's own hours join the two that a clock change gives one name; every zone here is whole hours off UTC.
const HOURS_BY_INSTANT: &str = "SELECT to_timestamp(floor(epoch(timestamp) / 3600) * 3600) AS hour, COUNT(*), \
                                COUNT(DISTINCT dest) FROM events GROUP BY hour ORDER BY hour";

pub(super) const QUESTIONS: [Question; 25] = [
    ask("days of UTC", DAYS),
    ask("days of New York", DAYS).in_zone("America/New_York"),
    ask("days of Berlin", DAYS).in_zone("Europe/Berlin"),
    ask("days of Kolkata", DAYS).in_zone("Asia/Kolkata"),
    ask("weeks of UTC", WEEKS).near(&[(2, ROUNDING)], "AVG(ABS(dep_delay))"),
    ask("weeks of New York", WEEKS).in_zone("America/New_York").near(&[(2, ROUNDING)], "AVG(ABS(dep_delay))"),
    ask("weeks of Berlin", WEEKS).in_zone("Europe/Berlin").near(&[(2, ROUNDING)], "AVG(ABS(dep_delay))"),
    ask("months of UTC", MONTHS),
    ask("months of New York", MONTHS).in_zone("America/New_York"),
    ask("months of Berlin", MONTHS).in_zone("Europe/Berlin"),
    ask("hours of UTC", HOURS),
    ask("hours of New York", HOURS).in_zone("America/New_York").in_duckdb(HOURS_BY_INSTANT),
    ask("hours of Berlin", HOURS).in_zone("Europe/Berlin").in_duckdb(HOURS_BY_INSTANT),
    ask(
        "quarters and years",
        "SELECT date_trunc('year', timestamp) AS y, date_trunc('quarter', timestamp) AS q, COUNT(*) FROM events \
         GROUP BY y, q ORDER BY y, q",
    )
    .in_zone("America/New_York"),
    ask(
        "minutes of one morning",
        "SELECT date_trunc('minute', timestamp) AS minute, COUNT(*) FROM events WHERE timestamp BETWEEN '2013-07-04 \
         06:00' AND '2013-07-04 12:00' GROUP BY 1 ORDER BY 1",
    )
    .in_zone("America/New_York"),
    ask(
        "a zone in the call",
        "SELECT date_trunc('day', timestamp, 'America/New_York') AS day, COUNT(*) AS n FROM events GROUP BY day \
         ORDER BY day",
    )
    .in_duckdb(
        "SELECT date_trunc('day', timestamp AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York' AS day, \
         COUNT(*) FROM events GROUP BY 1 ORDER BY 1",
    ),
    ask(
        "AT TIME ZONE",
        "SELECT date_trunc('week', timestamp AT TIME ZONE 'Europe/Berlin') AS week, EXTRACT(hour FROM timestamp AT \
         TIME ZONE 'America/New_York') AS h, COUNT(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .in_duckdb(
        "SELECT date_trunc('week', timestamp AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS week, \
         EXTRACT(hour FROM timestamp AT TIME ZONE 'America/New_York') AS h, COUNT(*) FROM events GROUP BY 1, 2 ORDER \
         BY 1, 2",
    ),
    ask("parts of a date in UTC", PARTS),
    ask("parts of a date in New York", PARTS).in_zone("America/New_York"),
    ask("the clock in UTC", CLOCK),
    ask("the clock in New York", CLOCK).in_zone("America/New_York"),
    ask("the clock in Kolkata", CLOCK).in_zone("Asia/Kolkata"),
    ask(
        "buckets of a property",
        "SELECT date_trunc('month', departure) AS month, COUNT(*) AS n, COUNT(DISTINCT date_trunc('day', departure)) \
         AS days FROM events GROUP BY 1 ORDER BY 1 NULLS FIRST",
    )
    .in_zone("America/New_York"),
    ask(
        "distances of time",
        "SELECT date_diff('day', timestamp, departure) AS days, date_diff('hour', timestamp, departure) AS hours, \
         COUNT(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .in_zone("America/New_York"),
    // Over the changes of the clock a day is 23 or 25 hours long, and a month ends where its days do.
    ask(
        "moved times",
        "SELECT timestamp + INTERVAL 1 DAY AS a, timestamp - INTERVAL '36 hours' AS b, timestamp + INTERVAL 1 MONTH \
         AS c, date_trunc('month', timestamp) + INTERVAL '1 month' - INTERVAL 1 DAY AS d, COUNT(*) FROM events WHERE \
         carrier = 'HA' OR carrier = 'YV' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    )
    .in_zone("America/New_York"),
];
