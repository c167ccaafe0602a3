"""Writes a file of events by a writer that is not ours: parquet.py FILE"""

import decimal
import sys

import pyarrow
import pyarrow.parquet

ROWS = 2_500
table = pyarrow.table(
    {
        "event_id": [f"row-{i}" for i in range(ROWS)],
        "who": pyarrow.array(range(ROWS), pyarrow.int32()),
        "amount": pyarrow.array([decimal.Decimal(f"{i % 10}.50") for i in range(ROWS)], pyarrow.decimal128(9, 2)),
        "zip": pyarrow.array([i for i in range(ROWS)], pyarrow.int64()),
        "paid": pyarrow.array([None if i == 7 else i % 2 == 0 for i in range(ROWS)]),
        "due": pyarrow.array([1_767_225_600_000_000_000 + i for i in range(ROWS)], pyarrow.timestamp("ns")),
        "ratio": pyarrow.array([float("nan") if i == 41 else 0.25 for i in range(ROWS)]),
    }
)
pyarrow.parquet.write_table(table, sys.argv[1], compression="zstd", row_group_size=1_000)
pyarrow.parquet.write_table(table.append_column("tags", [[["a"]] * ROWS]), sys.argv[1] + ".nested")
