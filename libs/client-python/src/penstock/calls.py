"""What both clients have in common: settings, requests, and how calls fail."""

from __future__ import annotations

import atexit
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Union
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message

from . import errors, questions
from .exports import ExportFormat
from .questions import Priority, Query, Question
from .results import Column, Info, Row, columns_from_wire, info_from_wire, row_from_wire
from .sender import Event, Flushed, Identity, Limits, Rejection, Sender, encoded_event, encoded_identity, log
from .store import Files, Memory
from .v1 import common_pb2, ingest_pb2, metrics_pb2, query_pb2
from .values import event_id as new_event_id
from .values import named

After = Union[str, Flushed, None]
"""What an answer is to include: a flush, or a token."""

LONGEST_WAIT = 30.0
"""How long the server waits for a token at most, in seconds."""

ATTEMPTS = 4
"""How often a question is asked while the server can't be reached."""

_LONGEST_MESSAGE = 64 << 20
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", _LONGEST_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    # What was away is looked for again soon, not after grpc's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Contrary to its name: how long a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", 5_000),
]


@dataclass(frozen=True)
class Method:
    """A method of the contracts."""

    path: str
    answer: type[Any]

    def read(self, data: bytes) -> Any:
        """An answer off the wire."""
        return self.answer.FromString(data)


PUBLISH = Method("/penstock.v1.IngestService/Publish", ingest_pb2.PublishResponse)
IDENTIFY = Method("/penstock.v1.IngestService/Identify", ingest_pb2.IdentifyResponse)
QUERY = Method("/penstock.v1.QueryService/Query", query_pb2.QueryResponse)
SQL = Method("/penstock.v1.QueryService/Sql", query_pb2.SqlResponse)
QUERY_STREAM = Method("/penstock.v1.QueryService/QueryStream", query_pb2.QueryStreamResponse)
SQL_STREAM = Method("/penstock.v1.QueryService/SqlStream", query_pb2.SqlStreamResponse)
SUBSCRIBE = Method("/penstock.v1.QueryService/Subscribe", query_pb2.SubscribeResponse)
EXPORT = Method("/penstock.v1.QueryService/Export", query_pb2.ExportResponse)
EVALUATE = Method("/penstock.v1.MetricsService/Evaluate", metrics_pb2.EvaluateResponse)


def encode(request: Message | bytes) -> bytes:
    """A request on the wire."""
    return request if isinstance(request, bytes) else request.SerializeToString()


@dataclass(frozen=True)
class Settings:
    """Where the server is, and how it is spoken to."""

    address: str
    key: str
    app: str
    timeout: float
    read_your_writes: bool

    @classmethod
    def of(
        cls, address: str | None, key: str | None, app: str | None, timeout: float, read_your_writes: bool
    ) -> Settings:
        """Settings; what isn't given comes from the environment."""
        address = address or os.environ.get("PENSTOCK_ADDRESS", "127.0.0.1:7070")
        key = (key or os.environ.get("PENSTOCK_KEY", "")).strip()  # what comes out of a file ends with its line
        if not key:
            raise ValueError("a key is needed: Client(key=...), or PENSTOCK_KEY in the environment")
        if not all("!" <= character <= "~" for character in key):
            raise ValueError("the key has a character that none has: give what was shown when it was made, and nothing else")
        app = os.environ.get("PENSTOCK_APP", "") if app is None else app
        return cls(address, key, app, timeout, read_your_writes)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.key}"),)

    @property
    def target(self) -> tuple[str, bool]:
        """HOST:PORT, and whether it is spoken to by TLS."""
        if "://" not in self.address:
            return self.address, False
        url = urlsplit(self.address)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"the address {self.address!r} is none: HOST:PORT, http://HOST:PORT or https://HOST")
        return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}", url.scheme == "https"

    def channel(self) -> grpc.Channel:
        """A connection for threads."""
        target, secure = self.target
        if secure:
            return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=_CHANNEL_OPTIONS)
        return grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)

    def async_channel(self) -> Any:
        """A connection for asyncio."""
        target, secure = self.target
        if secure:
            return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=_CHANNEL_OPTIONS)
        return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)


class GrpcWire:
    """The sender's calls, on a connection of their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel: grpc.Channel | None = None
        self._closed = False

    def publish(self, request: bytes) -> ingest_pb2.Acknowledgement:
        """Sends an encoded PublishRequest."""
        answer: ingest_pb2.PublishResponse = self._call(PUBLISH, request)
        return answer.acknowledgement

    def identify(self, request: bytes) -> str:
        """Sends an encoded IdentifyRequest."""
        answer: ingest_pb2.IdentifyResponse = self._call(IDENTIFY, request)
        return answer.position_token

    def close(self) -> None:
        """Ends the connection, and with it the call that is under way."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()

    def _call(self, method: Method, request: bytes) -> Any:
        if self._channel is None:  # made by the thread that uses it, so that a process may fork before its first event
            self._channel = self._settings.channel()
        call = self._channel.unary_unary(method.path, encode, method.read)
        try:
            return call(request, timeout=self._settings.timeout, metadata=self._settings.metadata)
        except (grpc.RpcError, ValueError) as error:  # grpc's word for a channel that was closed meanwhile
            if self._closed or not isinstance(error, grpc.RpcError):
                raise errors.Unavailable("the client is closed") from None
            raise errors.from_rpc(error) from None


class Outbox:
    """Events on their way: the part of a client that sends."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        directory: str | os.PathLike[str] | None,
        on_rejected: Callable[[Rejection], None] | None,
    ) -> None:
        self._keep = directory is not None
        store = Files(directory) if directory is not None else Memory()
        self.sender = Sender(store, GrpcWire(settings), settings.app, limits, on_rejected or _log_rejection)
        self._ending, self._ended = threading.Lock(), False
        atexit.register(self.close)

    def close(self, timeout: float = 10.0) -> None:
        """Sends what is queued, for `timeout` seconds at most, and ends it."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
        atexit.unregister(self.close)
        with suppress(errors.PenstockError, FutureTimeout):
            self.sender.flush().result(timeout)
        self.sender.close(self._keep)


def _log_rejection(rejection: Rejection) -> None:
    log.warning("rejected: %s %s %s: %s", rejection.code, rejection.field, rejection.description, rejection.item)


def event_record(
    event_type: str,
    user_id: str,
    properties: dict[str, Any] | Any,
    timestamp: datetime | None,
    event_id: str,
    app: str,
) -> tuple[str, bytes]:
    """An event's id, and it as a record."""
    event_id = event_id or new_event_id()
    return event_id, encoded_event(Event(event_type, user_id, properties or {}, timestamp, event_id, app))


def identity_record(user_id: str, traits: Any, app: str) -> bytes:
    """What is known of a user, as a record."""
    return encoded_identity(Identity(user_id, traits, app))


class ReadOptions(TypedDict, total=False):
    """What a read waits for, how urgent it is and in which zone it counts."""

    after: After
    """What the answer is to include: a flush, or a token. Default: nothing, or with `read_your_writes` all that this client flushed."""
    wait: float
    """How long the server waits for that, in seconds: at most 30. Default: as long as the call may take."""
    time_zone: str
    """IANA name of the zone in which days, weeks and months begin. Default: the app's."""
    priority: Priority
    """How urgent it is. Default: as the settings say, else as urgent as the key allows."""
    max_staleness: timedelta
    """How old an earlier answer may be that is given while the warehouse can't be reached. Default: none is."""
    timeout: float
    """How long the call may take, in seconds. Default: the client's."""
    app: str
    """The app. Default: the client's."""


def options_to_wire(options: ReadOptions, own_token: str) -> common_pb2.ReadOptions:
    """The options of a read; without `after` it includes what `own_token` covers."""
    after = options.get("after")
    if after is None:
        after = own_token
    wire = common_pb2.ReadOptions(
        position_token=after.token if isinstance(after, Flushed) else after, time_zone=options.get("time_zone", "")
    )
    wait = options.get("wait", options.get("timeout", LONGEST_WAIT))
    wire.max_wait_ms = max(1, round(min(wait, LONGEST_WAIT) * 1000))
    if (priority := options.get("priority")) is not None:
        wire.priority = named(common_pb2.Priority, f"PRIORITY_{priority}")
    if (staleness := options.get("max_staleness")) is not None:
        wire.max_staleness.FromTimedelta(staleness)
    return wire


def stream_request(question: Question, app: str, options: common_pb2.ReadOptions) -> tuple[Method, Message]:
    """A question whose answer comes as a stream."""
    if isinstance(question, str):
        return SQL_STREAM, query_pb2.SqlStreamRequest(sql=question, app_id=app, options=options)
    wire = questions.query_to_wire(question, app)
    return QUERY_STREAM, query_pb2.QueryStreamRequest(query=wire, options=options)


def subscribe_request(
    question: Question, app: str, options: common_pb2.ReadOptions, min_interval: float | None
) -> query_pb2.SubscribeRequest:
    """A question whose answer is wanted as it changes."""
    request = query_pb2.SubscribeRequest(options=options)
    _ask(request, question, app)
    if min_interval is not None:
        request.min_interval.FromTimedelta(timedelta(seconds=min_interval))
    return request


def export_request(
    question: Question, app: str, options: common_pb2.ReadOptions, form: ExportFormat
) -> query_pb2.ExportRequest:
    """A question whose answer is exported."""
    request = query_pb2.ExportRequest(options=options)
    request.format = named(query_pb2.ExportFormat, f"EXPORT_FORMAT_{form}")
    _ask(request, question, app)
    return request


def _ask(request: query_pb2.SubscribeRequest | query_pb2.ExportRequest, question: Question, app: str) -> None:
    if isinstance(question, str):
        request.sql.CopyFrom(query_pb2.SqlQuery(sql=question, app_id=app))
    else:
        request.query.CopyFrom(questions.query_to_wire(question, app))


def evaluate_request(
    name: str, query: Query, version: int, app: str, options: common_pb2.ReadOptions
) -> metrics_pb2.EvaluateRequest:
    """A metric to evaluate."""
    evaluation = questions.evaluation_to_wire(query)
    return metrics_pb2.EvaluateRequest(
        app_id=query.app or app, name=name, version=version, evaluation=evaluation, options=options
    )


def pause(error: errors.PenstockError, attempt: int) -> float | None:
    """How long to wait before a question is asked again, in seconds; None if it isn't to be."""
    if not isinstance(error, errors.Unavailable) or attempt >= ATTEMPTS:
        return None
    return max(error.retry_after or 0.0, random.uniform(0, 0.2 * 2**attempt))


def deadline(timeout: float | None) -> float | None:
    """When a timeout ends."""
    return None if timeout is None else time.monotonic() + timeout


def left(until: float | None) -> float | None:
    """How long it is until then."""
    return None if until is None else max(0.0, until - time.monotonic())


class Rows:
    """The parts of a streamed answer, put together: checks that it is whole."""

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.info = Info()
        self.whole = False

    def take(self, part: common_pb2.ResultPart) -> list[Row]:
        """The rows of a part."""
        kind = part.WhichOneof("part")
        if kind == "header":
            self.columns = columns_from_wire(part.header.columns)
            self.info = info_from_wire(part.header.info)
        elif kind == "rows":
            return [row_from_wire(row) for row in part.rows.rows]
        elif kind == "end":
            self.info, self.whole = info_from_wire(part.end), True
        return []

    def check(self) -> None:
        """Raises `Unavailable` if the answer broke off."""
        if not self.whole:
            raise errors.Unavailable("the answer broke off")
