//! Plain rows, order, pages, and the functions of single values.

use super::{Question, ask};

pub(super) const QUESTIONS: [Question; 22] = [
    ask(
        "plain rows",
        "SELECT event_id, timestamp, event_type, user_id, carrier, airline, origin, dest, tailnum, flight, \
         dep_delay, arr_delay, air_time, distance, speed, departed, departure FROM events WHERE flight = 15 AND \
         timestamp < '2013-03-01' ORDER BY timestamp, event_id",
    ),
    ask("rows in any order", "SELECT timestamp, tailnum, dep_delay FROM events WHERE dest = 'ALB'").in_any_order(),
    ask(
        "a page",
        "SELECT event_id, timestamp, tailnum FROM events ORDER BY timestamp, event_id LIMIT 100 OFFSET 200000",
    ),
    ask("the last page", "SELECT event_id FROM events WHERE dest = 'HDN' ORDER BY event_id LIMIT 10 OFFSET 10"),
    ask("no rows wanted", "SELECT event_id FROM events LIMIT 0"),
    ask("NULL last", "SELECT dep_delay, event_id FROM events WHERE dest = 'BUR' ORDER BY dep_delay, event_id"),
    ask(
        "NULL first",
        "SELECT dep_delay, event_id FROM events WHERE dest = 'BUR' ORDER BY dep_delay DESC, event_id DESC",
    ),
    ask(
        "NULL where it is told to be",
        "SELECT arr_delay, tailnum, event_id FROM events WHERE dest = 'ANC' OR dest = 'MTJ' ORDER BY tailnum DESC \
         NULLS LAST, arr_delay NULLS FIRST, event_id",
    ),
    ask("order by position", "SELECT dest, COUNT(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20"),
    ask(
        "order by a name",
        "SELECT tailnum AS plane, COUNT(*) AS n FROM events GROUP BY plane ORDER BY n DESC, plane LIMIT 50 OFFSET 3",
    ),
    ask(
        "order by what isn't shown",
        "SELECT carrier FROM events GROUP BY carrier ORDER BY MAX(distance) DESC, COUNT(*) DESC, carrier",
    ),
    ask("distinct rows", "SELECT DISTINCT carrier, origin FROM events ORDER BY carrier DESC, origin"),
    ask(
        "COALESCE in groups",
        "SELECT COALESCE(tailnum, 'none') AS plane, COUNT(*) AS n FROM events GROUP BY plane ORDER BY n DESC, plane \
         LIMIT 5",
    ),
    ask(
        "CASE in groups",
        "SELECT CASE WHEN dep_delay IS NULL THEN 'cancelled' WHEN dep_delay <= 0 THEN 'early' WHEN dep_delay < 60 \
         THEN 'late' ELSE 'very late' END AS fate, CASE origin WHEN 'JFK' THEN 1 WHEN 'LGA' THEN 2 END AS which, \
         COUNT(*) FROM events GROUP BY fate, which ORDER BY fate, which",
    ),
    ask(
        "division by zero",
        "SELECT event_id, dep_delay / arr_delay AS a, distance / (arr_delay - arr_delay) AS b, dep_delay % arr_delay \
         AS c FROM events WHERE dest = 'HDN' ORDER BY event_id",
    ),
    ask(
        "arithmetic",
        "SELECT DISTINCT dep_delay, dep_delay % 7, ABS(dep_delay), dep_delay * 0.1 + 3, -dep_delay, SIGN(dep_delay), \
         dep_delay - 2 * (dep_delay + 1), SQRT(ABS(dep_delay)) FROM events ORDER BY dep_delay",
    ),
    ask(
        "rounding",
        "SELECT DISTINCT air_time, ROUND(air_time / 4) AS r, ROUND(air_time / 8, 2) AS r2, FLOOR(air_time / 4) AS f, \
         CEIL(air_time / 4) AS c, TRUNC(-air_time / 4) AS t, ROUND(-air_time / 4) AS n FROM events ORDER BY air_time",
    ),
    ask(
        "the greater and the lesser",
        "SELECT DISTINCT GREATEST(dep_delay, arr_delay, 0) AS g, LEAST(dep_delay, arr_delay) AS l, NULLIF(dep_delay, \
         0) AS z FROM events WHERE dest = 'ABQ' ORDER BY g, l, z",
    ),
    ask(
        "texts",
        "SELECT DISTINCT airline, LOWER(airline), UPPER(airline), LENGTH(airline), SUBSTRING(airline, 3, 5), \
         LEFT(airline, 4), RIGHT(airline, 4), REPLACE(airline, 'Air', '-'), REVERSE(carrier), carrier || ': ' || \
         airline, CONCAT(origin, '-', dest), STRPOS(airline, 'Air'), SPLIT_PART(airline, ' ', 2) FROM events WHERE \
         dest = 'MCO' OR dest = 'CLT' ORDER BY airline, CONCAT(origin, '-', dest)",
    ),
    ask(
        "texts that aren't there",
        "SELECT DISTINCT tailnum || '!' AS a, CONCAT(tailnum, '!') AS b, LENGTH(tailnum) AS c, STARTS_WITH(tailnum, \
         'N9') AS d FROM events WHERE dest = 'SEA' ORDER BY b",
    ),
    ask(
        "grouped by a text's part",
        "SELECT SUBSTRING(tailnum, 1, 2) AS prefix, COUNT(*) AS n, COUNT(DISTINCT RIGHT(tailnum, 2)) AS ends FROM \
         events GROUP BY prefix ORDER BY n DESC, prefix",
    ),
    ask(
        "casts",
        "SELECT DISTINCT CAST(flight AS integer) AS i, departed::integer AS b, '12.5'::double + flight AS f FROM \
         events WHERE dest = 'HNL' ORDER BY i, b",
    ),
];
