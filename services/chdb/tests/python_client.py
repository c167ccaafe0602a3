"""The official Python client, unchanged, against the warehouse process on the given port."""

import datetime as dt
import sys
import uuid
from decimal import Decimal

import clickhouse_connect
import pandas as pd
import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError

PORT = int(sys.argv[1])


def check_types(client):
    row = client.query(
        "SELECT toUInt64(18446744073709551615), -1.5, 'é\\t', [1, 2], map('a', 1), toDate('2024-02-29'),"
        " toDateTime64('2024-01-02 03:04:05.678', 3, 'UTC'), NULL, toDecimal64('1.25', 2),"
        " toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), toLowCardinality('x'), (1, 'a'), true"
    ).result_rows[0]
    assert row[:5] == (18446744073709551615, -1.5, "é\t", [1, 2], {"a": 1}), row
    assert row[5] == dt.date(2024, 2, 29) and row[6].microsecond == 678000, row
    assert row[7:] == (None, Decimal("1.25"), uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0"), "x", (1, "a"), True), row


def check_parameters(client):
    value = "tab\t quote' back\\ line\n"
    result = client.query(
        "SELECT {s:String}, {n:Int64} + 1, {a:Array(String)}, {d:DateTime}",
        parameters={"s": value, "n": 41, "a": ["x", "y'"], "d": dt.datetime(2024, 1, 2, 3, 4, 5)},
    )
    assert result.result_rows[0][:3] == (value, 42, ["x", "y'"]), result.result_rows
    long = "x" * 200_000
    assert client.query("SELECT length({s:String})", parameters={"s": long}).result_rows == [(200_000,)]


def check_inserts(client):
    client.command("CREATE TABLE people (id UInt32, name String, at DateTime, score Nullable(Float64)) ENGINE = MergeTree ORDER BY id")
    at = dt.datetime(2024, 1, 2, 3, 4, 5)
    rows = [[n, f"name {n}", at, n / 2 if n % 2 else None] for n in range(100_000)]
    summary = client.insert("people", rows, column_names=["id", "name", "at", "score"])
    assert summary.written_rows == len(rows), summary.summary
    assert client.query("SELECT count(), sum(id), countIf(score IS NULL) FROM people").result_rows == [(100_000, 4999950000, 50_000)]
    frame = client.query_df("SELECT id, name, score FROM people ORDER BY id LIMIT 10")
    assert list(frame.columns) == ["id", "name", "score"] and frame["name"][3] == "name 3"
    client.insert_df("people", pd.DataFrame({"id": [1], "name": ["df"], "at": [at], "score": [1.0]}))
    client.insert_arrow("people", pa.table({"id": pa.array([2], pa.uint32()), "name": ["arrow"], "at": pa.array([1], pa.uint32()), "score": [2.0]}))
    client.raw_insert("people", ["id", "name"], b"3,raw\n", fmt="CSV")
    names = client.query("SELECT name FROM people WHERE name IN ('df', 'arrow', 'raw') ORDER BY name").result_columns
    assert names == [["arrow", "df", "raw"]], names
    table = client.query_arrow("SELECT id FROM people ORDER BY id LIMIT 1000")
    assert table.num_rows == 1000


def check_streams(client):
    seen = 0
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(1000000)") as stream:
        for block in stream:
            seen += len(block)
    assert seen == 1_000_000, seen
    assert len(client.query("SELECT number FROM numbers(3000000)").result_rows) == 3_000_000
    raw = client.raw_query("SELECT 1 AS a FORMAT CSVWithNames")
    assert raw == b'"a"\n1\n', raw


def check_errors(client):
    for sql, code in [("SELECT * FROM nope", "60"), ("SELEC 1", "62"), ("SELECT * FROM file('x')", "497")]:
        try:
            client.query(sql)
        except DatabaseError as error:
            assert f"Code: {code}." in str(error) or f"error code {code}" in str(error), error
        else:
            raise AssertionError(f"{sql} did not fail")
    try:
        with client.query_row_block_stream("SELECT throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_block_size = 10000") as stream:
            rows = sum(len(block) for block in stream)
    except Exception as error:  # the client wraps it in classes of its own
        assert "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in str(error) or "395" in str(error), repr(error)
    else:
        raise AssertionError(f"a short answer of {rows} rows")


def main():
    for compress in (True, False, "gzip", "zstd", "lz4"):
        client = clickhouse_connect.get_client(host="127.0.0.1", port=PORT, compress=compress)
        assert client.ping()
        for check in (check_types, check_parameters, check_inserts, check_streams, check_errors):
            check(client)
        client.command("DROP TABLE people")
        client.close()
    print("ok", clickhouse_connect.__version__ if hasattr(clickhouse_connect, "__version__") else "")


main()
