"""What the end-to-end test has this client do: see services/penstock/tests/e2e/libraries.rs. Every language's client has such a program."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from typing import Any

from penstock import AsyncClient, Client, Filter, InvalidArgument, Limits, Query, QueueFull, Rejection

SQL = "SELECT event_type, COUNT(*) AS events, SUM(amount) AS amount FROM events GROUP BY event_type ORDER BY event_type"
REVENUE = Query({"revenue": "SUM(amount)"}, ["user_plan"], [Filter("status", "in", ["done", "sent"])], order_by=["-revenue"])
LIVE = Query({"orders": "COUNT(*)"}, ["user_id"], [Filter("event_type", "=", "order")])
WRONG = "SELECT COUNT(*) FROM events WHERE nothing("
WHEN_TOLD = Limits(batch_events=1 << 20, batch_seconds=3600)  # batches leave when a flush or an end wants it


def rejected(rejection: Rejection) -> dict[str, Any]:
    return {"code": rejection.code, "field": rejection.field, "user": rejection.item.user_id}


def refused(error: InvalidArgument) -> dict[str, Any]:
    fields = [violation.field for violation in error.violations]
    return {"code": error.code, "reason": error.reason, "fields": fields, "position": error.position}


class Awaited:
    """A client for threads, or an export of one, as if it were one for asyncio."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.of, name)

        async def items(*args: Any, **options: Any) -> AsyncIterator[Any]:
            for item in method(*args, **options):
                yield item

        async def call(*args: Any, **options: Any) -> Any:
            return method(*args, **options)

        if name in ("stream", "subscribe"):
            return items
        return (lambda *args: Awaited(method(*args))) if name == "export" else call


async def story(client: Callable[..., Any]) -> dict[str, Any]:
    rejections: list[dict[str, Any]] = []
    seen: list[dict[str, int]] = []
    penstock = client(
        limits=Limits(batch_seconds=60), read_your_writes=True, on_rejected=lambda r: rejections.append(rejected(r))
    )
    for n in range(20):
        await penstock.identify(f"u{n}", {"plan": "pro" if n % 2 else "free"})
        await penstock.track("order", f"u{n}", {"amount": n + 0.125, "status": "done", "gift": n == 0, "coupon": None})
    await penstock.track("", "nobody")
    await penstock.identify("u0", {"plan": 7})
    flushed = await penstock.flush(60)

    sql = await penstock.sql(SQL)  # includes each of its writes, in whatever partition
    query = await penstock.query(REVENUE)
    metric = await penstock.evaluate("buyers", Query(filters=[Filter("user_plan", "=", "pro")]))
    rows = len([row async for row in penstock.stream("SELECT event_id FROM events")])
    await frames(penstock)
    table = await penstock.export("SELECT user_id, amount FROM events ORDER BY amount").to_arrow()
    csv = await penstock.export("SELECT MAX(amount) AS most FROM events", "csv").read()
    try:
        await penstock.sql(WRONG)
    except InvalidArgument as error:
        wrong = refused(error)
    async for update in penstock.subscribe(LIVE, min_interval=0.2):
        seen.append({row["user_id"]: row["orders"] for row in update.result.dicts()})
        if len(seen) == 1:
            await penstock.track("order", "u0")
            await penstock.track("order", "new")
            await penstock.flush(60)
        if seen[-1]["u0"] == 2 and "new" in seen[-1]:
            break
    await penstock.close()

    assert sql.info.complete_until < datetime.now(timezone.utc)
    return {
        "flushed": [flushed.accepted, flushed.rejected],
        "rejections": rejections,
        "columns": [[column.name, column.type] for column in sql.columns],
        "sql": [list(row) for row in sql],
        "query": query.dicts(),
        "metric": metric.scalar(),
        "rows": rows,
        "export": [table.num_rows, *table.column("amount").to_pylist()[:2]],
        "csv": csv.decode(),
        "wrong": wrong,
        "live": [len(seen[0]), seen[0]["u0"], len(seen[-1])],
    }


async def frames(penstock: Any) -> None:
    """An answer, and the same as a file, are the same in Arrow, in pandas and in Polars: each column's type, and each value."""
    import polars
    from polars.testing import assert_frame_equal

    orders = "SELECT user_id, timestamp, amount, gift, country FROM events WHERE event_type = '{}' ORDER BY amount"
    answer = await penstock.sql(orders.format("order"))
    rows = [tuple(row) for row in answer]
    assert len(rows) == 20 and rows[0][2:] == (0.125, True, None) and rows[1][0] == "u1", rows
    kinds: dict[str, Any] = {
        "user_id": polars.String(),
        "timestamp": polars.Datetime("ms", "UTC"),
        "amount": polars.Float64(),
        "gift": polars.Boolean(),
        "country": polars.String(),
    }
    frame = answer.to_polars()
    assert frame.schema == kinds and frame.rows() == rows, frame
    assert_frame_equal(await penstock.export(orders.format("order")).to_polars(), frame)
    none = (await penstock.sql(orders.format("nothing"))).to_polars()
    assert none.schema == kinds and none.is_empty(), none
    count = (await penstock.sql(SQL)).to_polars()
    assert count.schema["events"] == polars.Int64() and count["events"].to_list() == [20], count

    table = answer.to_arrow()
    assert [str(kind) for kind in table.schema.types] == ["string", "timestamp[ms, tz=UTC]", "double", "bool", "string"], table
    assert [tuple(row.values()) for row in table.to_pylist()] == rows, table
    assert (await penstock.export(orders.format("order")).to_arrow()).equals(table)
    named = answer.to_pandas().drop(columns="country")
    assert [str(kind) for kind in named.dtypes] == ["str", "datetime64[ms, UTC]", "float64", "bool"], named.dtypes
    assert [tuple(row) for row in named.itertuples(index=False)] == [row[:4] for row in rows], named
    file = await penstock.export(orders.format("order")).to_pandas()
    assert file.drop(columns="country").equals(named), file


def send(events: int) -> dict[str, Any]:
    """Sends so many through whatever happens, with a queue much smaller than they are. Says how far it is."""
    limits = Limits(batch_events=50, batch_seconds=0.01, queue_bytes=64 << 10)
    most = 0
    with Client(limits=limits, timeout=5) as penstock:
        for n in range(events):
            penstock.track("sent", f"u{n % 17}", {"n": n, "pad": "x" * 100})
            most = max(most, penstock.pending)
            if n % 100 == 99:
                print(n + 1, flush=True)
        flushed = penstock.flush(100)
    return {"accepted": flushed.accepted, "rejected": flushed.rejected, "bounded": most < 1000}


def leave(events: int) -> None:
    """Queues so many on disk, says so, and waits for its end."""
    penstock = Client(directory=os.environ["PENSTOCK_DIRECTORY"])
    for n in range(events):
        penstock.track("left", f"u{n % 17}", {"n": n})
    print("queued", flush=True)
    threading.Event().wait()


def end(events: int) -> dict[str, Any]:
    """Queues so many and ends without a word: the end of the process sends them."""
    penstock = Client(limits=WHEN_TOLD)
    for n in range(events):
        penstock.track("ended", f"u{n % 17}", {"n": n})
    return {"queued": penstock.pending}


async def end_async(events: int) -> dict[str, Any]:
    """The same with asyncio, whose loop is over by then."""
    penstock = AsyncClient(limits=WHEN_TOLD)
    for n in range(events):
        await penstock.track("ended", f"u{n % 17}", {"n": n})
    return {"queued": penstock.pending}


def resume() -> dict[str, Any]:
    """Sends what another process left."""
    with Client(directory=os.environ["PENSTOCK_DIRECTORY"]) as penstock:
        flushed = penstock.flush(100)
    return {"accepted": flushed.accepted, "rejected": flushed.rejected}


def full(events: int) -> dict[str, Any]:
    """Queues without a server until there is no more room, in memory or on disk. Says how many were taken, and how many came back at the end."""
    handed_back: list[Rejection] = []
    penstock = Client(
        when_full="raise",
        limits=Limits(queue_bytes=64 << 10),
        directory=os.environ.get("PENSTOCK_DIRECTORY"),
        on_rejected=handed_back.append,
    )
    queued = 0
    try:
        for n in range(events):
            penstock.track("full", "u", {"n": n, "pad": "x" * 100})
            queued += 1
    except QueueFull:
        pass
    penstock.close(timeout=0.1)
    not_sent = sum(1 for rejection in handed_back if rejection.code == "NOT_SENT")
    return {"queued": queued, "handed_back": not_sent}


def main() -> None:
    what, *more = sys.argv[1:]
    numbers = [int(text) for text in more]
    tellings: dict[str, Any] = {
        "story": lambda: asyncio.run(story(lambda **settings: Awaited(Client(**settings)))),
        "async": lambda: asyncio.run(story(AsyncClient)),
        "send": send,
        "leave": leave,
        "end": end,
        "end-async": lambda events: asyncio.run(end_async(events)),
        "resume": resume,
        "full": full,
    }
    print(json.dumps(tellings[what](*numbers)))


main()
