"""Answers questions about the events that flights.py wrote, by DuckDB: answers.py FILE < questions > answers

Questions are a JSON list of {"zone": ..., "sql": ...} over a table `events`; answers are a list of lists of rows. A value is
a tagged text, so that none loses a bit on its way: i:1, n:0.1, b:true, s:text, t:0 (UTC milliseconds); null is null.
"""

import datetime
import decimal
import json
import sys

import duckdb

# Numbers are doubles, as in the other engine: sums of integers would be exact here alone.
EVENTS = """
CREATE TABLE events AS
SELECT event_id, make_timestamp_ms(timestamp) AT TIME ZONE 'UTC' AS timestamp, 'flight' AS event_type, user_id,
       carrier, airline, origin, dest, tailnum, flight, dep_delay, arr_delay, air_time, distance, speed, departed,
       make_timestamp_ms(departure) AT TIME ZONE 'UTC' AS departure
FROM read_csv(?, delim = '\t', header = true, quote = '', nullstr = '', columns = {
  event_id: 'VARCHAR', timestamp: 'BIGINT', user_id: 'VARCHAR', carrier: 'VARCHAR', airline: 'VARCHAR',
  origin: 'VARCHAR', dest: 'VARCHAR', tailnum: 'VARCHAR', flight: 'DOUBLE', dep_delay: 'DOUBLE',
  arr_delay: 'DOUBLE', air_time: 'DOUBLE', distance: 'DOUBLE', speed: 'DOUBLE', departed: 'BOOLEAN',
  departure: 'BIGINT'})
"""
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def tagged(value):
    match value:
        case None:
            return None
        case bool():
            return f"b:{str(value).lower()}"
        case int():
            return f"i:{value}"
        case float():
            return f"n:{value!r}"
        case decimal.Decimal():
            return f"n:{float(value)!r}"
        case datetime.datetime():
            return f"t:{(value - EPOCH) // datetime.timedelta(milliseconds=1)}"
        case str():
            return f"s:{value}"
    raise TypeError(f"{value!r} has no tag")


def main() -> None:
    with duckdb.connect() as connection:
        connection.execute(EVENTS, [sys.argv[1]])
        # As in PostgreSQL and in Penstock: NULL orders as the largest value, and what divides by zero is NULL.
        connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
        connection.execute("SET ieee_floating_point_ops = false")
        connection.execute("SET error_on_division_by_zero = false")
        answers = []
        for question in json.load(sys.stdin):
            connection.execute(f"SET TimeZone = '{question['zone']}'")
            try:
                rows = connection.execute(question["sql"]).fetchall()
            except duckdb.Error as error:
                sys.exit(f"{question['sql']}\n{error}")
            answers.append([[tagged(value) for value in row] for row in rows])
    json.dump(answers, sys.stdout)


main()
