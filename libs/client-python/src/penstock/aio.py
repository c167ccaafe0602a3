"""The client for asyncio: the same names, awaited."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
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


class AsyncClient:
    """`Client` for asyncio, to be made within a running loop: see there for what each argument means.

    >>> async with AsyncClient("127.0.0.1:7070", key, app="shop") as penstock:
    ...     await penstock.track("purchase", "u1", {"amount": 12.5})
    ...     done = await penstock.flush()
    ...     print((await penstock.sql("SELECT COUNT(*) FROM events", after=done)).scalar())
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
        """A client of the server at `address`; `on_rejected` is called in the loop."""
        loop = asyncio.get_running_loop()
        self._settings = Settings.of(address, key, app, timeout, read_your_writes)
        self._when_full = when_full
        self._channel = self._settings.async_channel()

        def in_loop(rejection: Rejection) -> None:
            assert on_rejected is not None
            loop.call_soon_threadsafe(on_rejected, rejection)

        self._outbox = Outbox(self._settings, limits, directory, in_loop if on_rejected else None)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Sending

    async def track(
        self,
        event_type: str,
        user_id: str = "",
        properties: Mapping[str, Any] | None = None,
        *,
        timestamp: datetime | None = None,
        event_id: str = "",
        app: str = "",
    ) -> str:
        """Queues an event and returns its id; waits only while the queue is full. See `Client.track`."""
        event_id, record = calls.event_record(event_type, user_id, properties, timestamp, event_id, app)
        await self._put(record)
        return event_id

    async def identify(self, user_id: str, traits: Mapping[str, Any], *, app: str = "") -> None:
        """Queues what is known of a user. See `Client.identify`."""
        await self._put(calls.identity_record(user_id, traits, app))

    async def flush(self, timeout: float | None = None) -> Flushed:
        """Sends at once what is queued, and returns when the end of each event is known. See `Client.flush`."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._outbox.sender.flush()), timeout)
        except asyncio.TimeoutError:
            raise errors.DeadlineExceeded(f"{self.pending} are still queued after {timeout} s") from None

    async def close(self, timeout: float = 10.0) -> None:
        """Sends what is queued, for `timeout` seconds at most, and ends the client. See `Client.close`."""
        await asyncio.get_running_loop().run_in_executor(None, self._outbox.close, timeout)
        await self._channel.close()

    @property
    def pending(self) -> int:
        """How many events are queued or under way."""
        return self._outbox.sender.pending

    async def _put(self, record: bytes) -> None:
        while (room := self._outbox.sender.offer(record)) is not None:
            if self._when_full == "raise":
                room.cancel()
                raise errors.QueueFull("the queue is full")
            await asyncio.wrap_future(room)

    # Asking

    async def sql(self, text: str, **options: Unpack[ReadOptions]) -> Result:
        """Answers a SELECT over `events` and `users`, up to 10,000 rows. See `Client.sql`."""
        request = query_pb2.SqlRequest(sql=text, app_id=self._app(options), options=self._options(options))
        return await self._result(calls.SQL, request, options)

    async def query(self, query: Query, **options: Unpack[ReadOptions]) -> Result:
        """Answers a typed query, up to 10,000 rows. See `Client.query`."""
        wire = query_to_wire(query, self._app(options))
        request = query_pb2.QueryRequest(query=wire, options=self._options(options))
        return await self._result(calls.QUERY, request, options)

    async def evaluate(
        self, metric: str, query: Query = Query(), *, version: int = 0, **options: Unpack[ReadOptions]
    ) -> Result:
        """Evaluates a metric by its name. See `Client.evaluate`."""
        request = calls.evaluate_request(metric, query, version, self._app(options), self._options(options))
        return await self._result(calls.EVALUATE, request, options)

    async def stream(self, question: Question, **options: Unpack[ReadOptions]) -> AsyncIterator[Row]:
        """Answers with any number of rows, as they come. See `Client.stream`."""
        method, request = calls.stream_request(question, self._app(options), self._options(options))
        answer = calls.Rows()
        async with self._stream(method, request, self._timeout(options)) as parts:
            async for part in parts:
                for row in answer.take(part.part):
                    yield row
        answer.check()

    async def subscribe(
        self, question: Question, *, min_interval: float | None = None, **options: Unpack[ReadOptions]
    ) -> AsyncIterator[Update]:
        """Answers now, and again whenever the answer changes. See `Client.subscribe`."""
        request = calls.subscribe_request(question, self._app(options), self._options(options), min_interval)
        attempt, until = 0, deadline(options.get("timeout"))
        while True:
            answer = LiveAnswer()
            try:
                async with self._stream(calls.SUBSCRIBE, request, left(until)) as pushes:
                    async for push in pushes:
                        attempt = 0
                        if (update := answer.push(push)) is not None:
                            yield update
                error: errors.PenstockError = errors.Unavailable("the subscription ended")
            except errors.PenstockError as failed:
                error = failed
            attempt += 1
            await self._pause(error, attempt, until)

    def export(
        self, question: Question, form: ExportFormat = "arrow", **options: Unpack[ReadOptions]
    ) -> AsyncExport:
        """Answers with a file of any length. See `Client.export`."""
        request = calls.export_request(question, self._app(options), self._options(options), form)
        return AsyncExport(self, request, options.get("timeout"))

    def _app(self, options: ReadOptions) -> str:
        return options.get("app", self._settings.app)

    def _options(self, options: ReadOptions) -> common_pb2.ReadOptions:
        own = self._outbox.sender.token if self._settings.read_your_writes else ""
        return calls.options_to_wire(options, own)

    def _timeout(self, options: ReadOptions) -> float:
        return options.get("timeout", self._settings.timeout)

    async def _result(self, method: Method, request: Message, options: ReadOptions) -> Result:
        call = self._channel.unary_unary(method.path, calls.encode, method.read)
        attempt, until = 0, deadline(self._timeout(options))
        while True:
            try:
                answer = await call(request, timeout=left(until), metadata=self._settings.metadata)
                return result_from_wire(answer.result)
            except grpc.RpcError as failed:
                error = errors.from_rpc(failed)
            attempt += 1
            await self._pause(error, attempt, until)

    @asynccontextmanager
    async def _stream(self, method: Method, request: Message, timeout: float | None) -> AsyncIterator[Any]:
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
    async def _pause(error: errors.PenstockError, attempt: int, until: float | None) -> None:
        """Waits before a question is asked again; raises the error if it isn't to be."""
        pause = calls.pause(error, attempt)
        if pause is None or (until is not None and time.monotonic() + pause >= until):
            raise error
        await asyncio.sleep(pause)


class AsyncExport(ExportFile):
    """`Export` for asyncio."""

    def __init__(self, client: AsyncClient, request: query_pb2.ExportRequest, timeout: float | None) -> None:
        """Made by `AsyncClient.export`."""
        super().__init__(request, timeout)
        self._client = client

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, in order."""
        attempt, until = 0, deadline(self._timeout)
        while True:
            try:
                async with self._client._stream(calls.EXPORT, self._request, left(until)) as pieces:
                    async for piece in pieces:
                        attempt = 0
                        yield self._take(piece)
                if self._whole:
                    return
                error: errors.PenstockError = errors.Unavailable("the export broke off")
            except errors.PenstockError as failed:
                error = failed
            attempt += 1
            await self._client._pause(error, attempt, until)

    async def read(self) -> bytes:
        """The whole file."""
        return b"".join([piece async for piece in self])

    async def to_arrow(self) -> pyarrow.Table:
        """As an Arrow table."""
        return self._table(await self.read())

    async def to_pandas(self) -> pandas.DataFrame:
        """As a pandas DataFrame."""
        return to_pandas(await self.to_arrow())

    async def to_polars(self) -> polars.DataFrame:
        """As a Polars DataFrame."""
        return to_polars(await self.to_arrow())
