"""Penstock: events in, answers out.

`Client` is for threads, `AsyncClient` for asyncio; both send events in batches by themselves and answer SQL, typed queries and metrics.
"""

from .aio import AsyncClient, AsyncExport
from .calls import ReadOptions
from .client import Client, Export
from .errors import (
    Closed,
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PenstockError,
    PermissionDenied,
    QueueFull,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)
from .exports import ExportFormat
from .questions import Between, Filter, Grain, Last, Measure, Op, Period, Priority, Query, Question, Range, Top
from .results import Column, ColumnType, Info, Result, Row, Update
from .sender import Event, Flushed, Identity, Limits, Rejection
from .values import Scalar

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncExport",
    "Between",
    "Client",
    "Closed",
    "Column",
    "ColumnType",
    "Conflict",
    "DeadlineExceeded",
    "Event",
    "Export",
    "ExportFormat",
    "Filter",
    "Flushed",
    "Grain",
    "Identity",
    "Info",
    "InvalidArgument",
    "Last",
    "Limits",
    "Measure",
    "NotFound",
    "Op",
    "PenstockError",
    "Period",
    "PermissionDenied",
    "Priority",
    "Query",
    "Question",
    "QueueFull",
    "Range",
    "ReadOptions",
    "Rejection",
    "ResourceExhausted",
    "Result",
    "Row",
    "Scalar",
    "Top",
    "Unauthenticated",
    "Unavailable",
    "Update",
    "Violation",
]
