"""Python's values and those of the contracts."""

from __future__ import annotations

import math
import os
import threading
import time
from datetime import datetime, timedelta, timezone
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Union

from google.protobuf.timestamp_pb2 import Timestamp

from .v1 import common_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

Scalar = Union[bool, int, float, str, datetime]
"""What a property, a trait or a filter can say. Instants have a zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EXACT = 2**53


def to_time(value: datetime, where: str) -> Timestamp:
    """An instant on the wire. Raises ValueError if it has no zone."""
    if value.tzinfo is None:
        raise ValueError(f"{where} has no time zone: write datetime(..., tzinfo=timezone.utc)")
    since = value - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def from_time(value: Timestamp) -> datetime:
    """An instant off the wire, in UTC."""
    return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


def to_value(value: object, where: str) -> common_pb2.Value:
    """A value on the wire. Raises TypeError or ValueError, which say `where` and what would be right."""
    if isinstance(value, str):
        return common_pb2.Value(string=value)
    if isinstance(value, bool) or type(value).__name__ == "bool":  # numpy has one of its own
        return common_pb2.Value(bool=bool(value))
    if isinstance(value, Integral):
        if not -_EXACT <= int(value) <= _EXACT:
            raise ValueError(f"{where} is beyond 2**53, where numbers are no longer exact: send large ids as text")
        return common_pb2.Value(integer=int(value))
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: numbers must be finite")
        return common_pb2.Value(number=float(value))
    if isinstance(value, datetime):
        return common_pb2.Value(time=to_time(value, where))
    raise TypeError(f"{where} is a {type(value).__name__}: values are bool, int, float, str or datetime; leave out what is None")


def named(enum: Any, name: str) -> Any:
    """The value of an enum of the contracts by its name. Raises ValueError if there is none."""
    return enum.Value(name.upper())


def fill(target: MutableMapping[str, common_pb2.Value], values: Mapping[str, object], what: str) -> None:
    """Puts values into a message's map; those that are None are left out."""
    for name, value in values.items():
        if value is not None:
            target[name].CopyFrom(to_value(value, f"{what}.{name}"))


def from_value(value: common_pb2.Value) -> Scalar | None:
    """A value off the wire."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null":
        return None
    if kind == "time":
        return from_time(value.time)
    plain: Scalar = getattr(value, kind)
    return plain


_ids = threading.Lock()
_last_id = (0, 0)


def event_id() -> str:
    """A UUIDv7: by time, and among those of one process strictly ascending."""
    global _last_id
    now, random = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
    with _ids:
        last_ms, count = _last_id
        # Within a millisecond, or when the clock goes back, the 12 bits behind the time count on; then the time does.
        if now > last_ms:
            last_ms, count = now, random >> 69
        elif count < 0xFFF:
            count += 1
        else:
            last_ms, count = last_ms + 1, 0
        _last_id = (last_ms, count)
    number = last_ms << 80 | 7 << 76 | count << 64 | 0b10 << 62 | random & (1 << 62) - 1
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
