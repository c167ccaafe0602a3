"""Reads exported files by readers that are not ours: exported.py DIR > summary

DIR has the same events as events.arrow, events.csv and events.ndjson. The summary is JSON: the Arrow schema, how many rows each file
has that another has not, and of the events how many there are, how many ids, the sum of n, how many words are NULL and how many empty, the
first and last time in UTC ms, and how many are not in the order of time.
"""

import json
import pathlib
import sys

import duckdb
import pyarrow

COLUMNS = "{event_id: 'VARCHAR', timestamp: 'TIMESTAMPTZ', n: 'DOUBLE', word: 'VARCHAR', even: 'BOOLEAN'}"
SUMMARY = """
SELECT count(*), count(DISTINCT event_id), sum(n), count(*) FILTER (word IS NULL), count(*) FILTER (word = ''),
       epoch_ms(min(timestamp)), epoch_ms(max(timestamp)), count(*) FILTER (even)
FROM arrow
"""


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    with pyarrow.OSFile(str(folder / "events.arrow")) as file:
        table = pyarrow.ipc.open_stream(file).read_all()
    times = table.column("timestamp").to_numpy()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("arrow", table)
        csv = f"read_csv('{folder}/events.csv', header = true, allow_quoted_nulls = false, columns = {COLUMNS})"
        ndjson = f"read_json('{folder}/events.ndjson', format = 'newline_delimited', columns = {COLUMNS})"
        different = 0
        for other in (csv, ndjson):
            for a, b in (("arrow", other), (other, "arrow")):
                query = f"SELECT count(*) FROM (SELECT * FROM {a} EXCEPT ALL SELECT * FROM {b})"
                different += connection.execute(query).fetchone()[0]
        summary = connection.execute(SUMMARY).fetchone()
    print(json.dumps({
        "schema": {field.name: str(field.type) for field in table.schema},
        "different": different,
        "summary": [float(value) for value in summary],
        "unordered": int((times[1:] < times[:-1]).sum()),
    }))


if __name__ == "__main__":
    main()
