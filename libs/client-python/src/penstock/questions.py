"""What can be asked: SQL as text, or a `Query`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar, Union

from google.protobuf.duration_pb2 import Duration

from .v1 import common_pb2, metrics_pb2, query_pb2
from .values import Scalar, named, to_time, to_value

Grain = Literal["minute", "hour", "day", "week", "month", "quarter", "year"]
"""The width of a time bucket. Weeks begin on Monday."""

Op = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "like", "is null", "is not null"]
"""How a filter compares. "in" and "not in" take several values, "is null" and "is not null" none, all others one."""

Priority = Literal["interactive", "scheduled", "background"]
"""How urgent a question is: a person waits; nobody waits, but it is wanted soon; or whenever there is room."""

_OPS = {
    "=": common_pb2.FILTER_OP_EQ,
    "!=": common_pb2.FILTER_OP_NE,
    "<": common_pb2.FILTER_OP_LT,
    "<=": common_pb2.FILTER_OP_LE,
    ">": common_pb2.FILTER_OP_GT,
    ">=": common_pb2.FILTER_OP_GE,
    "in": common_pb2.FILTER_OP_IN,
    "not in": common_pb2.FILTER_OP_NOT_IN,
    "like": common_pb2.FILTER_OP_LIKE,
    "is null": common_pb2.FILTER_OP_IS_NULL,
    "is not null": common_pb2.FILTER_OP_IS_NOT_NULL,
}


@dataclass(frozen=True)
class Measure:
    """What to compute, where a formula alone doesn't say it all."""

    formula: str
    """As in "SUM(amount) / COUNT(DISTINCT user_id)"."""
    unit: str = ""
    """The unit of the value, as in "USD". Default: what comes of the units of the formulas that it names."""


@dataclass(frozen=True)
class Filter:
    """A condition on a field or property: `Filter("status", "=", "completed")`, `Filter("country", "in", ["DE", "FR"])`."""

    field: str
    """The field or property."""
    op: Op
    """How it compares with the value."""
    value: Scalar | Sequence[Scalar] | None = None
    """A value; several for "in" and "not in"; none for "is null" and "is not null"."""


@dataclass(frozen=True)
class Between:
    """From an instant on, up to another, excluded. Either may be missing."""

    start: datetime | None = None
    """The first instant, with a zone. Default: there is none."""
    end: datetime | None = None
    """The instant at which it ends, which isn't in it any more. Default: there is none."""


@dataclass(frozen=True)
class Last:
    """The time up to now: `Last(timedelta(days=30))`."""

    duration: timedelta
    """How long it is."""


@dataclass(frozen=True)
class Period:
    """Whole units of the calendar in the query's zone: `Period("month")` is this month, `Period("day", ago=1)` yesterday."""

    unit: Grain
    """The unit."""
    ago: int = 0
    """How many units the last of them lies back. 0: the one that is now, up to its end."""
    count: int = 1
    """How many units."""


Range = Union[Between, Last, Period]
"""A range of time."""


@dataclass(frozen=True)
class Top:
    """Of one dimension only the values with the greatest measures."""

    n: int
    """How many values, 1 to 1,000."""
    dimension: str = ""
    """The dimension's column. Default: the first."""
    by: str = ""
    """The measure's column. Default: the first."""
    others: str = ""
    """What the events of all other values are counted under. Empty: they are left out."""


@dataclass(frozen=True)
class Query:
    """A typed question.

    >>> Query(measures={"revenue": "SUM(amount)"}, dimensions=["country"], range=Last(timedelta(days=7)), grain="day")
    """

    measures: Mapping[str, str | Measure] | Sequence[str] = ()
    """What to compute: formulas by the names of their columns, or formulas alone. None where a metric is evaluated."""
    dimensions: Mapping[str, str] | Sequence[str] = ()
    """By what to group: expressions by the names of their columns, or expressions alone."""
    filters: Sequence[Filter] = ()
    """Conditions, all to be met."""
    range: Range | None = None
    """The time range. Default: all time."""
    grain: Grain | None = None
    """Time buckets; their start becomes the first column, "time"."""
    order_by: Sequence[str] = ()
    """Columns to sort by; "-revenue" sorts by it descending."""
    limit: int = 0
    """The most rows wanted. 0: all."""
    offset: int = 0
    """Rows to pass over first."""
    having: str = ""
    """A condition on rows, as in "revenue > 100"."""
    compare: Literal["previous", "year"] | datetime | None = None
    """Compare with the time right before, the same a year before, or the time from an instant on."""
    fill: Literal["zero", "null"] | None = None
    """Rows for buckets without events."""
    top: Top | None = None
    """The greatest values of a dimension, and the others."""
    totals: bool = False
    """A last row for all events, marked in the column "is_total"."""
    app: str | None = None
    """The app. Default: the client's."""


Question = Union[str, Query]
"""SQL as text, or a typed query."""


def grain_to_wire(grain: Grain | None) -> query_pb2.Grain:
    """A grain as the contracts have it."""
    value: query_pb2.Grain = named(query_pb2.Grain, f"GRAIN_{grain or 'unspecified'}")
    return value


def filter_to_wire(condition: Filter) -> common_pb2.Filter:
    """A filter as the contracts have it."""
    value, where = condition.value, f"the filter on {condition.field}"
    if condition.op not in _OPS:
        raise ValueError(f"{where} has the operator {condition.op!r}: there are {', '.join(_OPS)}")
    if value is None:
        values: Sequence[Scalar] = ()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        values = value
    else:
        values = (value,)
    op = _OPS[condition.op]
    return common_pb2.Filter(field=condition.field, op=op, values=[to_value(v, where) for v in values])


def range_to_wire(span: Range | None) -> query_pb2.TimeRange | None:
    """A range as the contracts have it."""
    if span is None:
        return None
    if isinstance(span, Last):
        last = Duration()
        last.FromTimedelta(span.duration)
        return query_pb2.TimeRange(last=last)
    if isinstance(span, Period):
        period = query_pb2.Period(unit=grain_to_wire(span.unit), ago=span.ago, count=span.count)
        return query_pb2.TimeRange(period=period)
    wire = query_pb2.TimeRange()
    if span.start is not None:
        getattr(wire, "from").CopyFrom(to_time(span.start, "the range's start"))  # a keyword of Python's
    if span.end is not None:
        wire.to.CopyFrom(to_time(span.end, "the range's end"))
    return wire


def query_to_wire(query: Query, app: str) -> query_pb2.TypedQuery:
    """A typed query as the contracts have it."""
    wire = query_pb2.TypedQuery(
        app_id=query.app or app,
        measures=[_measure(name, what) for name, what in _named(query.measures)],
        dimensions=[query_pb2.Dimension(name=name, expression=what) for name, what in _named(query.dimensions)],
        offset=query.offset,
    )
    shape_to_wire(query, wire)
    return wire


def shape_to_wire(shape: Query, wire: query_pb2.TypedQuery | metrics_pb2.Evaluation) -> None:
    """What a typed query and the evaluation of a metric have in common."""
    wire.filters.extend(map(filter_to_wire, shape.filters))
    if (span := range_to_wire(shape.range)) is not None:
        wire.range.CopyFrom(span)
    wire.grain = grain_to_wire(shape.grain)
    wire.order_by.extend(
        query_pb2.OrderBy(column=column.removeprefix("-"), descending=column.startswith("-")) for column in shape.order_by
    )
    wire.limit, wire.having, wire.totals = shape.limit, shape.having, shape.totals
    if shape.fill is not None:
        wire.fill = named(query_pb2.Fill, f"FILL_{shape.fill}")
    if isinstance(shape.compare, datetime):
        getattr(wire.comparison, "from").CopyFrom(to_time(shape.compare, "the comparison's start"))
    elif shape.compare is not None:
        wire.comparison.earlier = named(query_pb2.Earlier, f"EARLIER_{shape.compare}")
    if shape.top is not None:
        top = shape.top
        wire.top.CopyFrom(query_pb2.Top(n=top.n, dimension=top.dimension, by=top.by, others=top.others))


def evaluation_to_wire(shape: Query) -> metrics_pb2.Evaluation:
    """How a metric is evaluated, as the contracts have it."""
    if shape.measures or shape.offset:
        raise ValueError("a metric is evaluated without measures of the query's own, and without an offset")
    wire = metrics_pb2.Evaluation(
        dimensions=[query_pb2.Dimension(name=name, expression=what) for name, what in _named(shape.dimensions)]
    )
    shape_to_wire(shape, wire)
    return wire


T = TypeVar("T")


def _named(things: Mapping[str, T] | Sequence[str]) -> Iterator[tuple[str, T | str]]:
    if isinstance(things, Mapping):
        yield from things.items()
    else:
        yield from (("", thing) for thing in things)


def _measure(name: str, what: str | Measure) -> query_pb2.Measure:
    if isinstance(what, str):
        return query_pb2.Measure(name=name, formula=what)
    return query_pb2.Measure(name=name, formula=what.formula, unit=what.unit)
