"""Answers questions by DuckDB: answers.py < questions > answers

Questions are {"tables": [statements that make them], "questions": [{"zone": ..., "sql": ...}]} in JSON. Each answer is a list of
rows, or the text of an error. A value is a tagged text, so that none loses a bit on its way: i:1, n:0.1, b:true, s:text, t:0 (UTC
milliseconds); null is null.
"""

import datetime
import decimal
import json
import sys

import duckdb

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
        asked = json.load(sys.stdin)
        for table in asked["tables"]:
            connection.execute(table)
        # As in PostgreSQL and in Penstock: NULL orders as the largest value, and what divides by zero is NULL.
        connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
        connection.execute("SET ieee_floating_point_ops = false")
        connection.execute("SET error_on_division_by_zero = false")
        answers = []
        for question in asked["questions"]:
            connection.execute(f"SET TimeZone = '{question['zone']}'")
            try:
                rows = connection.execute(question["sql"]).fetchall()
            except duckdb.Error as error:
                answers.append(str(error))
                continue
            answers.append([[tagged(value) for value in row] for row in rows])
    json.dump(answers, sys.stdout)


main()
