"""The floor of an invocation: asyncio and SQLite (WAL, FULL), three durable states a call, and nothing else.

All writes of one event-loop tick share one commit, so calls in flight share the price of a sync.
"""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import count
from pathlib import Path

ACCEPT = "INSERT INTO invocations VALUES (?, 'accepted', 'smoke_trigger', ?, NULL)"
DISPATCH = "UPDATE invocations SET state = 'dispatched' WHERE id = ?"
END = "UPDATE invocations SET state = 'succeeded', result = ? WHERE id = ?"
PARAMS = '{"env":"prod","depth":1}'
RESULT = (
    '{"type":"trigger_response","version":1,"tenant_id":"tenant-a","invocation_id":"inv_0123456789abcdef0123456789ab",'
    '"response_slot":"smoke.reply","nonce":"inv_0123456789abcdef0123456789ab","outcome":"succeeded",'
    '"result":{"ok":true,"message":"Smoke check passed"},"emitted_at_ns":1700000000000000000}'
)


class Store:
    """Use from one event loop."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        columns = "id INTEGER PRIMARY KEY, state TEXT, slug TEXT, params TEXT, result TEXT"
        self._connection.execute(f"CREATE TABLE invocations ({columns})")
        self._loop = asyncio.get_running_loop()
        self._pending: list[tuple[str, tuple[object, ...], asyncio.Future[None]]] = []
        self._ids = count(1)

    async def invoke(self) -> None:
        """One call: accepted, dispatched, succeeded, each durable before the next."""
        id = next(self._ids)
        await self._write(ACCEPT, (id, PARAMS))
        await self._write(DISPATCH, (id,))
        await self._write(END, (RESULT, id))

    def _write(self, sql: str, values: tuple[object, ...]) -> asyncio.Future[None]:
        if not self._pending:
            self._loop.call_soon(self._commit)
        future: asyncio.Future[None] = self._loop.create_future()
        self._pending.append((sql, values, future))
        return future

    def _commit(self) -> None:
        batch, self._pending = self._pending, []
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for sql, values, _ in batch:
            execute(sql, values)
        execute("COMMIT")
        for _, _, future in batch:
            future.set_result(None)

    def close(self) -> None:
        self._connection.close()
