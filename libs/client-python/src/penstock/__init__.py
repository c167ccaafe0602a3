"""Penstock: events in, answers out.

`Client` is for threads, `AsyncClient` for asyncio; both send events in batches by themselves and answer SQL, typed queries and metrics.
"""

from .aio import AsyncClient, AsyncExport
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
from .questions import Between, Filter, Last, Measure, Period, Query, Question, Top
from .results import Column, Info, Result, Update
from .sender import Event, Flushed, Identity, Limits, Rejection

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncExport",
    "Between",
    "Client",
    "Closed",
    "Column",
    "Conflict",
    "DeadlineExceeded",
    "Event",
    "Export",
    "Filter",
    "Flushed",
    "Identity",
    "Info",
    "InvalidArgument",
    "Last",
    "Limits",
    "Measure",
    "NotFound",
    "PenstockError",
    "Period",
    "PermissionDenied",
    "Query",
    "Question",
    "QueueFull",
    "Rejection",
    "ResourceExhausted",
    "Result",
    "Top",
    "Unauthenticated",
    "Unavailable",
    "Update",
    "Violation",
]
