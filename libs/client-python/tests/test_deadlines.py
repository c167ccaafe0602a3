"""Each call on a server that takes connections and never answers: it ends when its time is over, and says so."""

from __future__ import annotations

import asyncio
import socket
import threading
import unittest
from collections.abc import Callable
from typing import Any

from penstock import AsyncClient, Client, Query
from penstock.errors import DeadlineExceeded, PenstockError

TIMEOUT = 0.1
# Less than the client takes where nobody says anything, and far more than TIMEOUT.
PATIENCE = 20.0
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SQL = "SELECT COUNT(*) FROM events"
QUERY = Query({"events": "COUNT(*)"})


class Mute:
    """A server that says its first word, and then nothing."""

    def __init__(self, first_word: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._first_word = first_word
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.sendall(self._first_word)
            self._connections.append(connection)

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.close()


class DeadlineTest(unittest.TestCase):
    def addresses(self) -> list[str]:
        servers = [Mute(first_word) for first_word in (b"", SETTINGS)]
        for server in servers:
            self.addCleanup(server.close)
        return [server.address for server in servers]

    def late(self, what: str, call: Callable[[], object]) -> None:
        """The call ends with DeadlineExceeded, before anything but its own timeout could have ended it."""
        failed: list[PenstockError] = []

        def run() -> None:
            try:
                call()
            except PenstockError as error:
                failed.append(error)

        calling = threading.Thread(target=run, daemon=True)
        calling.start()
        calling.join(PATIENCE)
        self.assertFalse(calling.is_alive(), f"{what} goes on")
        self.assertEqual([type(error) for error in failed], [DeadlineExceeded], what)

    def test_threads(self) -> None:
        for address in self.addresses():
            client = Client(address, "k", timeout=TIMEOUT, on_rejected=lambda _: None)
            self.late("sql", lambda: client.sql(SQL))
            self.late("query", lambda: client.query(QUERY))
            self.late("evaluate", lambda: client.evaluate("buyers"))
            self.late("stream", lambda: list(client.stream(SQL)))
            self.late("subscribe", lambda: next(iter(client.subscribe(SQL, timeout=TIMEOUT))))
            self.late("export", lambda: client.export(SQL, timeout=TIMEOUT).read())
            client.track("e")
            self.late("flush", lambda: client.flush(TIMEOUT))
            self.assertEqual(client.pending, 1)
            client.close(0)

    def test_asyncio(self) -> None:
        async def first(items: Any) -> object:
            async for item in items:
                return item
            return None

        async def all_late(address: str) -> None:
            client = AsyncClient(address, "k", timeout=TIMEOUT, on_rejected=lambda _: None)
            calls: dict[str, Callable[[], Any]] = {
                "sql": lambda: client.sql(SQL),
                "query": lambda: client.query(QUERY),
                "evaluate": lambda: client.evaluate("buyers"),
                "stream": lambda: first(client.stream(SQL)),
                "subscribe": lambda: first(client.subscribe(SQL, timeout=TIMEOUT)),
                "export": lambda: client.export(SQL, timeout=TIMEOUT).read(),
            }
            for what, call in calls.items():
                with self.assertRaises(DeadlineExceeded, msg=what):
                    await asyncio.wait_for(call(), PATIENCE)
            await client.track("e")
            with self.assertRaises(DeadlineExceeded):
                await asyncio.wait_for(client.flush(TIMEOUT), PATIENCE)
            await client.close(0)

        for address in self.addresses():
            asyncio.run(all_late(address))


if __name__ == "__main__":
    unittest.main()
