"""The client for threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import grpc
from google.protobuf.message import Message

from . import calls, errors
from .calls import Method, Outbox, ReadOptions, Settings, deadline, left
from .exports import ExportFile, ExportFormat, to_pandas, to_polars
from .questions import Query, Question, query_to_wire
from .results import LiveAnswer, Result, Row, Update, result_from_wire
from .sender import Flushed, Limits, Rejection
from .v1 import common_pb2, query_pb2

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Client:
    """Sends events and asks questions. For threads, of which many may share one; see `AsyncClient` for asyncio.

    >>> with Client("127.0.0.1:7070", key, app="shop") as penstock:
    ...     penstock.track("purchase", "u1", {"amount": 12.5})
    ...     done = penstock.flush()
    ...     print(penstock.sql("SELECT COUNT(*) FROM events", after=done).scalar())

    What is tracked is queued at once and sent by a thread of its own. `close`, or the end of a `with`, sends what is left;
    so does the end of the process.
    """

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        app: str | None = None,
        *,
        timeout: float = 30.0,
        read_your_writes: bool = False,
        when_full: Literal["wait", "raise"] = "wait",
        limits: Limits = Limits(),
        directory: str | os.PathLike[str] | None = None,
        on_rejected: Callable[[Rejection], None] | None = None,
    ) -> None:
        """A client of the server at `address`.

        Args:
            address: HOST:PORT, http://HOST:PORT or https://HOST. Default: PENSTOCK_ADDRESS, or 127.0.0.1:7070.
            key: The API key, or an embed token. Default: PENSTOCK_KEY.
            app: The app of events and questions that name none. Default: PENSTOCK_APP; not needed if the key reaches one app alone.
            timeout: How long a call may take, in seconds, where it doesn't say otherwise.
            read_your_writes: Whether each answer includes all that this client had flushed before it asked.
            when_full: Whether `track` waits while the queue is full, or raises `QueueFull`.
            limits: When batches leave, and how much may be queued.
            directory: Where the queue lies on disk: what is queued there survives the process, however it ends, and is sent by the next
                client that has the directory. Default: it is in memory.
            on_rejected: Called with each event that was refused, in the sender's thread. Default: it is logged as a warning.
        """
        self._settings = Settings.of(address, key, app, timeout, read_your_writes)
        self._when_full = when_full
        self._channel = self._settings.channel()
        self._outbox = Outbox(self._settings, limits, directory, on_rejected)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Sending

    def track(
        self,
        event_type: str,
        user_id: str = "",
        properties: Mapping[str, Any] | None = None,
        *,
        timestamp: datetime | None = None,
        event_id: str = "",
        app: str = "",
    ) -> str:
        """Queues an event and returns its id. The server counts an id once within 24 hours, however often it is sent.

        Args:
            event_type: What happened, as in "purchase".
            user_id: Who did it; empty if nobody is known.
            properties: Values by name: bool, int, float, str or datetime with a zone; those that are None are left out.
            timestamp: When it happened. Default: now.
            event_id: The id. Default: a new UUIDv7.
            app: The app. Default: the client's.

        Raises:
            TypeError, ValueError: A property can't be sent.
            QueueFull: The queue has no room, and the client was made with `when_full="raise"`.
            Closed: The client was closed.
            OSError: The queue lies on disk, and can't be written.
            PenstockError: The queue has no room, and this keeps it from being sent.
        """
        event_id, record = calls.event_record(event_type, user_id, properties, timestamp, event_id, app)
        self._put(record)
        return event_id

    def identify(self, user_id: str, traits: Mapping[str, Any], *, app: str = "") -> None:
        """Queues what is known of a user: the user's events that are tracked from here on carry it.

        Traits that aren't named keep their values. `country` and `plan` become the columns country and user_plan of the user's later
        events. Raises as `track` does.
        """
        self._put(calls.identity_record(user_id, traits, app))

    def flush(self, timeout: float | None = None) -> Flushed:
        """Sends at once what is queued, and returns when each event that was tracked before is accepted or rejected.

        Raises:
            DeadlineExceeded: It took longer than `timeout` seconds. What is queued stays queued.
            PenstockError: This keeps it from being sent: a key that is revoked, say. What is queued stays queued; the next flush tries again.
        """
        flushed = self._outbox.sender.flush()
        try:
            return flushed.result(timeout)
        except FutureTimeout:
            flushed.cancel()
            raise errors.DeadlineExceeded(f"{self.pending} are still queued after {timeout} s") from None

    def close(self, timeout: float = 10.0) -> None:
        """Sends what is queued, for `timeout` seconds at most, and ends the client.

        What can't be sent by then goes to `on_rejected` with the code NOT_SENT, or stays in the directory for the next client.
        """
        self._outbox.close(timeout)
        self._channel.close()

    @property
    def pending(self) -> int:
        """How many events are queued or under way."""
        return self._outbox.sender.pending

    def _put(self, record: bytes) -> None:
        while (room := self._outbox.sender.offer(record)) is not None:
            if self._when_full == "raise":
                room.cancel()
                raise errors.QueueFull("the queue is full")
            room.result()

    # Asking

    def sql(self, text: str, **options: Unpack[ReadOptions]) -> Result:
        """Answers a SELECT over `events` and `users`, up to 10,000 rows; see `stream` for more.

        Raises:
            InvalidArgument: With `position` where in the text the fault is, and what would be right.
            PenstockError: See the errors.
        """
        request = query_pb2.SqlRequest(sql=text, app_id=self._app(options), options=self._options(options))
        return self._result(calls.SQL, request, options)

    def query(self, query: Query, **options: Unpack[ReadOptions]) -> Result:
        """Answers a typed query, up to 10,000 rows; see `stream` for more. Raises as `sql` does."""
        wire = query_to_wire(query, self._app(options))
        return self._result(calls.QUERY, query_pb2.QueryRequest(query=wire, options=self._options(options)), options)

    def evaluate(
        self, metric: str, query: Query = Query(), *, version: int = 0, **options: Unpack[ReadOptions]
    ) -> Result:
        """Evaluates a metric by its name; the query says by what it is split, and has no measures. Raises as `sql` does."""
        request = calls.evaluate_request(metric, query, version, self._app(options), self._options(options))
        return self._result(calls.EVALUATE, request, options)

    def stream(self, question: Question, **options: Unpack[ReadOptions]) -> Iterator[Row]:
        """Answers with any number of rows, as they come. Raises as `sql` does, and `Unavailable` if the answer breaks off."""
        method, request = calls.stream_request(question, self._app(options), self._options(options))
        answer = calls.Rows()
        with self._stream(method, request, self._timeout(options)) as parts:
            for part in parts:
                yield from answer.take(part.part)
        answer.check()

    def subscribe(
        self, question: Question, *, min_interval: float | None = None, **options: Unpack[ReadOptions]
    ) -> Iterator[Update]:
        """Answers now, and again whenever the answer changes, for as long as it is iterated over.

        Each update has the whole answer, put together from what the server says is different. Where the server goes away it is asked
        again.

        Args:
            question: SQL, or a typed query.
            min_interval: The least time from one update to the next, in seconds: 0.2 to 3600. Default: 1.
            options: What the first answer waits for; `timeout` is how long the subscription may take in all. Default: for ever.
        """
        request = calls.subscribe_request(question, self._app(options), self._options(options), min_interval)
        attempt, until = 0, deadline(options.get("timeout"))
        while True:
            answer = LiveAnswer()
            try:
                with self._stream(calls.SUBSCRIBE, request, left(until)) as pushes:
                    for push in pushes:
                        attempt = 0
                        if (update := answer.push(push)) is not None:
                            yield update
                error: errors.PenstockError = errors.Unavailable("the subscription ended")
            except errors.PenstockError as failed:
                error = failed
            attempt += 1
            self._pause(error, attempt, until)

    def export(
        self, question: Question, form: ExportFormat = "arrow", **options: Unpack[ReadOptions]
    ) -> Export:
        """Answers with a file of any length. The key needs the `export` permission. See `Export`.

        Where the server goes away meanwhile, the export goes on behind the last piece.
        """
        request = calls.export_request(question, self._app(options), self._options(options), form)
        return Export(self, request, options.get("timeout"))

    def _app(self, options: ReadOptions) -> str:
        return options.get("app", self._settings.app)

    def _options(self, options: ReadOptions) -> common_pb2.ReadOptions:
        own = self._outbox.sender.token if self._settings.read_your_writes else ""
        return calls.options_to_wire(options, own)

    def _timeout(self, options: ReadOptions) -> float:
        return options.get("timeout", self._settings.timeout)

    def _result(self, method: Method, request: Message, options: ReadOptions) -> Result:
        call = self._channel.unary_unary(method.path, calls.encode, method.read)
        attempt, until = 0, deadline(self._timeout(options))
        while True:
            try:
                answer = call(request, timeout=left(until), metadata=self._settings.metadata)
                return result_from_wire(answer.result)
            except grpc.RpcError as failed:
                error = errors.from_rpc(failed)
            attempt += 1
            self._pause(error, attempt, until)

    @contextmanager
    def _stream(self, method: Method, request: Message, timeout: float | None) -> Iterator[Iterator[Any]]:
        """A streamed answer, which ends with the block."""
        stream = self._channel.unary_stream(method.path, calls.encode, method.read)
        call = stream(request, timeout=timeout, metadata=self._settings.metadata)
        try:
            yield call
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from None
        finally:
            call.cancel()

    @staticmethod
    def _pause(error: errors.PenstockError, attempt: int, until: float | None) -> None:
        """Waits before a question is asked again; raises the error if it isn't to be."""
        pause = calls.pause(error, attempt)
        if pause is None or (until is not None and time.monotonic() + pause >= until):
            raise error
        time.sleep(pause)


class Export(ExportFile):
    """A file of any length, piece by piece as it is iterated over, or as a whole by one of the methods. To be read once."""

    def __init__(self, client: Client, request: query_pb2.ExportRequest, timeout: float | None) -> None:
        """Made by `Client.export`."""
        super().__init__(request, timeout)
        self._client = client

    def __iter__(self) -> Iterator[bytes]:
        """The pieces, in order. Raises as `Client.sql` does."""
        attempt, until = 0, deadline(self._timeout)
        while True:
            try:
                with self._client._stream(calls.EXPORT, self._request, left(until)) as pieces:
                    for piece in pieces:
                        attempt = 0
                        yield self._take(piece)
                if self._whole:
                    return
                error: errors.PenstockError = errors.Unavailable("the export broke off")
            except errors.PenstockError as failed:
                error = failed
            attempt += 1
            self._client._pause(error, attempt, until)

    def read(self) -> bytes:
        """The whole file."""
        return b"".join(self)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Writes the file, and returns how many rows it has. Nothing is at `path` until it is whole."""
        part = Path(path).with_name(Path(path).name + ".part")
        with open(part, "wb") as file:
            file.writelines(self)
        part.replace(path)
        return self.rows

    def to_arrow(self) -> pyarrow.Table:
        """As an Arrow table. Needs the extra `arrow`, and the format "arrow"."""
        return self._table(self.read())

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas DataFrame. Needs the extra `pandas`, and the format "arrow"."""
        return to_pandas(self.to_arrow())

    def to_polars(self) -> polars.DataFrame:
        """As a Polars DataFrame. Needs the extra `polars`, and the format "arrow"."""
        return to_polars(self.to_arrow())
