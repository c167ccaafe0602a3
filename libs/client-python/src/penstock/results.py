"""Answers: rows and columns, and what people make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from .v1 import common_pb2, query_pb2
from .values import Scalar, from_time, from_value

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ColumnType = Literal["number", "integer", "string", "bool", "time"]
"""The type of a column's values, any of which may be None."""

Row = tuple[Any, ...]
"""A value for each column: float, int, str, bool, datetime (UTC) or None."""


@dataclass(frozen=True)
class Column:
    """A column of an answer."""

    name: str
    """Its name: the alias, or the text of the expression."""
    type: ColumnType
    """The type of its values."""
    unit: str = ""
    """The unit of its values, as in "USD"; empty if none is known."""
    sketch: str = ""
    """Empty when the values are exact; else the sketch that they come from."""


@dataclass(frozen=True)
class Info:
    """What is known of an answer beside its rows."""

    complete_until: datetime | None = None
    """Every event acknowledged before this instant is in the answer."""
    token: str = ""
    """The position reached, as `after` of another question."""
    route: str = ""
    """Where it came from: raw, rollup, cache or states."""
    elapsed_us: int = 0
    """From the request's arrival to the last row, in microseconds."""
    read_rows: int = 0
    """How many rows were read from tables."""
    read_bytes: int = 0
    """The same in bytes, uncompressed."""
    queued_us: int = 0
    """How much of the time it waited for its turn, in microseconds."""
    truncated: bool = False
    """Whether rows were left out because the row cap was reached."""
    stale: bool = False
    """Whether it is an earlier answer, since the warehouse can't be reached and `max_staleness` allows it."""


@dataclass(frozen=True)
class Result(Sequence[Row]):
    """An answer: a sequence of rows that knows its columns."""

    columns: tuple[Column, ...]
    """Its columns, in the order in which they were asked for."""
    rows: list[Row]
    """Its rows."""
    info: Info
    """As of when it is, where it came from and what it cost."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by the columns' names."""
        names = self.names
        return [dict(zip(names, row)) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """The values of one column. Raises KeyError if there is none of that name."""
        if name not in self.names:
            raise KeyError(f"there is no column {name!r}: there are {', '.join(self.names)}")
        index = self.names.index(name)
        return [row[index] for row in self.rows]

    def scalar(self) -> Scalar | None:
        """The value of an answer that has one row of one column. Raises ValueError if it has another shape."""
        if len(self.rows) != 1 or len(self.columns) != 1:
            raise ValueError(f"the answer has {len(self.rows)} rows of {len(self.columns)} columns, not one value")
        return cast("Scalar | None", self.rows[0][0])

    def to_arrow(self) -> pyarrow.Table:
        """As an Arrow table: float64, int64, utf8, bool and timestamp[ms, UTC]. Needs the extra `arrow`."""
        import pyarrow as pa

        types = {
            "number": pa.float64(),
            "integer": pa.int64(),
            "string": pa.string(),
            "bool": pa.bool_(),
            "time": pa.timestamp("ms", tz="UTC"),
        }
        schema = pa.schema(
            [pa.field(c.name, types[c.type], metadata={"unit": c.unit} if c.unit else None) for c in self.columns]
        )
        columns = zip(*self.rows) if self.rows else ((),) * len(self.columns)
        arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas DataFrame. Needs the extra `pandas`."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """As a Polars DataFrame. Needs the extra `polars`."""
        import polars

        return cast("polars.DataFrame", polars.from_arrow(self.to_arrow()))

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        return str(self.to_pandas().to_html(index=False))


@dataclass(frozen=True)
class Update:
    """A push of a subscription: the whole answer as it is now, and what is different from before."""

    result: Result
    """The whole answer."""
    changed: list[Row]
    """Rows that are new or in the place of another; all of them in the first push."""
    removed: list[Row]
    """The keys of rows that are gone: the values of `keys`, in that order."""
    keys: tuple[str, ...]
    """The columns whose values tell rows apart: the groups. Empty: all together do."""


class LiveAnswer:
    """The state of a subscription, push by push."""

    def __init__(self) -> None:
        self._result = Result((), [], Info())
        self._keys: tuple[int, ...] = ()
        # By key, or, where all columns together tell rows apart, equal rows counted.
        self._rows: dict[Row, list[Row]] = {}

    def push(self, push: query_pb2.SubscribeResponse) -> Update | None:
        """Takes a push. None for a heartbeat."""
        kind = push.WhichOneof("push")
        if kind == "state":
            self._result = result_from_wire(push.state.result)
            self._keys = tuple(push.state.key_columns)
            self._rows = {}
            changed, removed = list(self._result.rows), []
            self._put(changed)
        elif kind == "change":
            changed = [row_from_wire(row) for row in push.change.upserted]
            removed = [row_from_wire(row) for row in push.change.removed]
            for key in removed:
                rows = self._rows.get(key, [])
                if rows:
                    rows.pop()
                if not rows:
                    self._rows.pop(key, None)
            self._put(changed)
            rows = [row for same in self._rows.values() for row in same]
            self._result = replace(self._result, rows=rows, info=info_from_wire(push.change.info))
        else:
            return None
        names = self._result.names
        return Update(self._result, changed, removed, tuple(names[key] for key in self._keys))

    def _put(self, rows: list[Row]) -> None:
        for row in rows:
            if self._keys:
                self._rows[tuple(row[key] for key in self._keys)] = [row]
            else:
                self._rows.setdefault(row, []).append(row)


def row_from_wire(row: common_pb2.Row) -> Row:
    """A row's values."""
    return tuple(map(from_value, row.values))


def columns_from_wire(columns: Sequence[common_pb2.Column]) -> tuple[Column, ...]:
    """An answer's columns."""

    def kind(column: common_pb2.Column) -> ColumnType:
        name = common_pb2.ColumnType.Name(column.type)
        return cast("ColumnType", name.removeprefix("COLUMN_TYPE_").lower())

    return tuple(Column(c.name, kind(c), c.unit, c.sketch) for c in columns)


def info_from_wire(info: common_pb2.ResultInfo) -> Info:
    """What is known of an answer."""
    complete = info.watermark.HasField("complete_until")
    return Info(
        complete_until=from_time(info.watermark.complete_until) if complete else None,
        token=info.watermark.position_token,
        route=common_pb2.Route.Name(info.route).removeprefix("ROUTE_").lower(),
        elapsed_us=info.cost.elapsed_us,
        read_rows=info.cost.read_rows,
        read_bytes=info.cost.read_bytes,
        queued_us=info.cost.queued_us,
        truncated=info.truncated,
        stale=info.stale,
    )


def result_from_wire(result: common_pb2.Result) -> Result:
    """A whole answer."""
    rows = [row_from_wire(row) for row in result.rows]
    return Result(columns_from_wire(result.columns), rows, info_from_wire(result.info))
