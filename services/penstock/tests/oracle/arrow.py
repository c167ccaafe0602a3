"""Reads a stream of Arrow by a reader that is not ours: arrow.py FILE > what it has, as JSON: each column's type by name, and the rows."""

import json
import sys

import pyarrow


def main() -> None:
    with pyarrow.OSFile(sys.argv[1]) as file:
        table = pyarrow.ipc.open_stream(file).read_all()
    table.validate(full=True)
    schema = [[field.name, str(field.type)] for field in table.schema]
    print(json.dumps({"schema": schema, "rows": [list(row.values()) for row in table.to_pylist()]}))


if __name__ == "__main__":
    main()
