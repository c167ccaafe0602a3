"""The sender: takes records at once, sends them in batches from a thread of its own, and says what became of each.

One batch is under way at a time, so events arrive in the order in which they were tracked. Every event has its id from the start:
what is sent again counts once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, Union

from google.protobuf.timestamp_pb2 import Timestamp

from . import values
from .errors import Closed, InvalidArgument, PenstockError
from .store import EVENT, IDENTIFY, OVERHEAD, Store
from .v1 import common_pb2, ingest_pb2

log = logging.getLogger("penstock")

RETRY_FIRST_SECONDS = 0.1
RETRY_MOST_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    event_type: str
    """What happened, as in "purchase"."""
    user_id: str = ""
    """Who did it; empty if nobody is known."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Values by name: bool, int, float, str or datetime with a zone; those that are None are left out."""
    timestamp: datetime | None = None
    """When it happened. Default: now."""
    event_id: str = ""
    """The id. Default: a new UUIDv7."""
    app: str = ""
    """The app. Default: the client's."""


@dataclass(frozen=True)
class Identity:
    """What is known of a user."""

    user_id: str
    """The user."""
    traits: Mapping[str, Any]
    """Values by name; one that isn't named keeps its value. `country` and `plan` become columns of the user's later events."""
    app: str = ""
    """The app. Default: the client's."""


@dataclass(frozen=True)
class Rejection:
    """Why something that was queued was not accepted."""

    code: str
    """The rule that it breaks: TOO_OLD, IN_THE_FUTURE, REQUIRED, TOO_LONG, TOO_MANY, NOT_FINITE, NOT_EXACT, MALFORMED, NOT_ALLOWED,
    PROPERTY_LIMIT; or NOT_SENT, if the client was closed before it could be sent."""
    field: str
    """The path of the field at fault, as in "properties.price"."""
    description: str
    """What is wrong and what would be right."""
    item: Union[Event, Identity]
    """What was refused."""


@dataclass(frozen=True)
class Flushed:
    """What became of what was queued."""

    accepted: int
    """How many events were accepted since the last flush returned: durable, and counted once each."""
    rejected: int
    """How many were not; each was given to `on_rejected`."""
    token: str
    """Covers all that this client ever sent: `after` of a question that is to include it. Empty if nothing was accepted yet."""


@dataclass(frozen=True)
class Limits:
    """When batches leave, and how much may be queued."""

    batch_events: int = 500
    """How many events a batch has at most: with them it leaves."""
    batch_bytes: int = 512 * 1024
    """How many bytes a batch has at most."""
    batch_seconds: float = 0.2
    """How long an event waits for others, in seconds."""
    queue_bytes: int = 32 << 20
    """How many bytes may be queued: with more the queue is full."""


class Wire(Protocol):
    """How batches get to the server. Raises `PenstockError`."""

    def publish(self, request: bytes) -> ingest_pb2.Acknowledgement:
        """Sends an encoded PublishRequest."""

    def identify(self, request: bytes) -> str:
        """Sends an encoded IdentifyRequest; returns the token."""

    def close(self) -> None:
        """Breaks off what is under way."""


class Sender:
    """A bounded queue and the thread that empties it."""

    def __init__(self, store: Store, wire: Wire, app: str, limits: Limits, on_rejected: Callable[[Rejection], None]) -> None:
        self._store = store
        self._wire = wire
        self._app = app
        self._limits = limits
        self._on_rejected = on_rejected
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Counts of records: all that came, and all whose end is known.
        self._queued = store.records
        self._done = 0
        self._accepted = self._rejected = 0
        self._token = ""
        self._due = time.monotonic()
        self._flushes: list[tuple[int, Future[Flushed]]] = []
        self._waiting: list[Future[None]] = []
        self._failure: PenstockError | None = None
        self._closing = False
        if store.records:
            self._start()

    def offer(self, record: bytes) -> Future[None] | None:
        """Queues a record. If there is no room: what is done when there may be. Raises `Closed`, OSError, or what keeps the sender from
        sending if it is full and nothing moves."""
        with self._changed:
            if self._closing:
                raise Closed("the client is closed")
            store = self._store
            if store.records and store.size + len(record) + OVERHEAD > self._limits.queue_bytes:
                if self._failure is not None:
                    raise self._failure
                waiting: Future[None] = Future()
                self._waiting.append(waiting)
                self._changed.notify_all()
                return waiting
            if not store.records:
                self._due = time.monotonic() + self._limits.batch_seconds
            store.append(record)
            self._queued += 1
            if self._thread is None:
                self._start()
            # The thread looks by itself when the time is over.
            if store.records == 1 or self._full_batch():
                self._changed.notify_all()
        return None

    def flush(self) -> Future[Flushed]:
        """Done when the end of everything queued so far is known, or with what keeps it from being sent."""
        flushed: Future[Flushed] = Future()
        with self._changed:
            if self._closing:
                raise Closed("the client is closed")
            self._failure = None
            self._flushes.append((self._queued, flushed))
            self._settle()
            self._changed.notify_all()
        return flushed

    @property
    def pending(self) -> int:
        """How many records are queued or under way."""
        with self._changed:
            return self._store.records

    @property
    def token(self) -> str:
        """Covers all that was accepted."""
        with self._changed:
            return self._token

    def close(self, keep: bool) -> None:
        """Ends the thread. What is still queued is kept where it is, or handed out as rejected."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            thread, waiting, self._waiting = self._thread, self._waiting, []
            self._changed.notify_all()
        for room in waiting:
            _fail(room, Closed("the client is closed"))
        self._wire.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        for _, flushed in self._flushes:
            _fail(flushed, Closed("the client is closed"))
        while not keep and (left := self._store.first(self._limits.batch_events, self._limits.batch_bytes)):
            for record in left:
                self._reject(record, "NOT_SENT", "", "the client was closed before it could be sent")
            self._store.drop(len(left))
        self._store.close()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="penstock-sender", daemon=True)
        self._thread.start()

    def _full_batch(self) -> bool:
        return self._store.records >= self._limits.batch_events or self._store.size >= self._limits.batch_bytes

    def _run(self) -> None:
        attempt = 0
        while (batch := self._next()) is not None:
            try:
                done = self._send(batch)
            except PenstockError as error:
                attempt += 1
                if not self._pause(error, attempt):
                    return
                continue
            except Exception as error:  # a fault of ours must not end the thread in silence
                log.exception("what is queued can't be sent")
                self._fail_flushes(PenstockError(f"what is queued can't be sent: {error!r}", code="INTERNAL"))
                continue
            attempt = 0
            with self._changed:
                self._store.drop(done)
                self._done += done
                waiting, self._waiting = self._waiting, []
                self._settle()
            for room in waiting:
                if room.set_running_or_notify_cancel():
                    room.set_result(None)

    def _next(self) -> list[bytes] | None:
        """Waits until a batch is to leave: records of one kind. None at the end."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                wanted = bool(self._flushes) or bool(self._waiting) or self._full_batch() or now >= self._due
                if self._store.records and self._failure is None and wanted:
                    batch = self._store.first(self._limits.batch_events, self._limits.batch_bytes)
                    # Whatever comes from now on has waited for less long.
                    self._due = now + self._limits.batch_seconds
                    kind = batch[0][0]
                    if kind == IDENTIFY:
                        return batch[:1]
                    alike = next((i for i, record in enumerate(batch) if record[0] != kind), len(batch))
                    return batch[:alike]
                idle = not self._store.records or self._failure is not None
                self._changed.wait(None if idle else self._due - now)
        return None

    def _send(self, batch: list[bytes]) -> int:
        """Sends some of a batch; returns how many records have their end. Raises if none has."""
        if batch[0][0] == IDENTIFY:
            return self._send_identity(batch[0])
        request = b"".join(
            [
                _tagged(1, self._app.encode()),
                *(_tagged(2, record[1:]) for record in batch),
                _tagged(3, self._token.encode()),
            ]
        )
        try:
            acknowledgement = self._wire.publish(request)
        except InvalidArgument as error:
            return self._refused(batch, error)
        for rejection in acknowledgement.rejections:
            _, _, path = rejection.field.partition(".")
            self._reject(batch[rejection.index], rejection.code, path, rejection.message)
        self._acknowledged(acknowledgement.accepted, acknowledgement.position_token)
        return len(batch)

    def _send_identity(self, record: bytes) -> int:
        request = _tagged(1, self._app.encode()) + record[1:] + _tagged(4, self._token.encode())
        try:
            self._acknowledged(0, self._wire.identify(request))
        except PenstockError as error:
            # One that names a field is about this user, not about the key.
            if error.retryable or not error.violations:
                raise
            return self._refused([record], error)
        return 1

    def _refused(self, batch: list[bytes], error: PenstockError) -> int:
        """A batch that was refused as a whole."""
        if self._token and any(v.field == "position_token" for v in error.violations):
            with self._changed:
                self._token = ""  # another installation's
            return self._send(batch)
        if len(batch) > 1:
            # More than the server takes at once.
            return self._send(batch[: len(batch) // 2])
        violation = error.violations[0] if error.violations else None
        code, path = (violation.reason, violation.field) if violation else (error.reason or error.code, "")
        path = path.removeprefix("events[0].")
        self._reject(batch[0], code, path, violation.description if violation else error.message)
        return 1

    def _acknowledged(self, accepted: int, token: str) -> None:
        with self._changed:
            self._accepted += accepted
            self._token = token or self._token

    def _reject(self, record: bytes, code: str, path: str, description: str) -> None:
        with self._changed:
            self._rejected += 1
        try:
            self._on_rejected(Rejection(code, path, description, decoded(record)))
        except Exception:
            log.exception("on_rejected failed")

    def _pause(self, error: PenstockError, attempt: int) -> bool:
        """Waits until it is worth trying again. False if the sender ends meanwhile."""
        if not error.retryable:
            log.error("what is queued can't be sent, and stays queued until the next flush: %s", error)
            self._fail_flushes(error)
            return True
        longest = min(RETRY_MOST_SECONDS, RETRY_FIRST_SECONDS * 2 ** min(attempt - 1, 16))
        pause = max(error.retry_after or 0.0, random.uniform(0, longest))
        log.warning("a batch is sent again in %.1f s: %s", pause, error)
        until = time.monotonic() + pause
        with self._changed:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._closing

    def _fail_flushes(self, error: PenstockError) -> None:
        with self._changed:
            self._failure = error
            flushes, self._flushes = self._flushes, []
            waiting, self._waiting = self._waiting, []
        for _, flushed in flushes:
            _fail(flushed, error)
        for room in waiting:
            _fail(room, error)

    def _settle(self) -> None:
        """Ends the flushes that have what they wait for."""
        for flush in list(self._flushes):
            wanted, flushed = flush
            if self._done >= wanted:
                self._flushes.remove(flush)
                if flushed.set_running_or_notify_cancel():
                    flushed.set_result(Flushed(self._accepted, self._rejected, self._token))
                    self._accepted = self._rejected = 0


def _fail(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _tagged(tag: int, content: bytes) -> bytes:
    """A field of bytes, as protobuf writes it; nothing if it is empty."""
    if not content and tag != 2:
        return b""
    head, length = bytearray([tag << 3 | 2]), len(content)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


def encoded_event(event: Event) -> bytes:
    """An event as a record. Raises TypeError or ValueError for what can't be sent."""
    message = ingest_pb2.Event(
        event_id=event.event_id, event_type=event.event_type, user_id=event.user_id, app_id=event.app
    )
    if event.timestamp is not None:
        message.timestamp.CopyFrom(values.to_time(event.timestamp, "timestamp"))
    else:
        # When it was tracked, however late it is sent.
        seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
        message.timestamp.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
    values.fill(message.properties, event.properties, "properties")
    return bytes([EVENT]) + message.SerializeToString()


def encoded_identity(identity: Identity) -> bytes:
    """What is known of a user as a record. Raises TypeError or ValueError for what can't be sent."""
    message = ingest_pb2.IdentifyRequest(user_id=identity.user_id, app_id=identity.app)
    values.fill(message.traits, identity.traits, "traits")
    return bytes([IDENTIFY]) + message.SerializeToString()


def decoded(record: bytes) -> Event | Identity:
    """What a record is."""

    def plain(properties: Mapping[str, common_pb2.Value]) -> dict[str, Any]:
        return {name: values.from_value(value) for name, value in properties.items()}

    if record[0] == IDENTIFY:
        user = ingest_pb2.IdentifyRequest.FromString(record[1:])
        return Identity(user.user_id, plain(user.traits), user.app_id)
    event = ingest_pb2.Event.FromString(record[1:])
    timestamp = values.from_time(event.timestamp).astimezone(timezone.utc)
    return Event(event.event_type, event.user_id, plain(event.properties), timestamp, event.event_id, event.app_id)
