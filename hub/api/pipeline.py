"""Reads of many requests over few shared connections, pipelined: a request costs one round trip, and waits for nobody.

Each read is a transaction of its own, sent as one packet of five statements and a Sync:

    ROLLBACK   BEGIN READ ONLY   SET LOCAL app.current_org_id = '<org>'   <query>   COMMIT

The ROLLBACK in front makes it impossible to inherit a transaction that the read before left failed. Results come back
in the order of sending, so that none can be given another's rows. When a connection breaks, what was under way on it
fails with `DatabaseGone`, and a read is tried once more on a fresh one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import numpy as np
import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader, PyFormat, Transformer

from hub.store.query import Query, Row
from hub.store.tenant import settings

_SESSION = (
    "SET client_min_messages = error",
    "SET timezone = 'UTC'",
    "SET statement_timeout = '30s'",
    "SET application_name = 'dbx-api'",
)
_ARRAY_OIDS = {1005: (b"\0\0\0\x15", ">i2"), 1007: (b"\0\0\0\x17", ">i4"), 1016: (b"\0\0\0\x14", ">i8")}
_ELEMENTS = dict(_ARRAY_OIDS.values())
_FATAL = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED)
_LOST_SQLSTATES = ("57P01", "57P02", "57P03", "08")


class DatabaseGone(Exception):
    """The connection broke, or none could be made. The same read may succeed when tried again."""


class QueryFailed(Exception):
    """The server refused the statement; `sqlstate` is its five-letter code."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class IntArrayLoader(Loader):
    """Binary int2[], int4[] and int8[] to numpy; the query must have replaced NULL elements (ValueError otherwise)."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> Any:
        """Flat array in the machine's byte order."""
        raw = bytes(data)
        element = np.dtype(_ELEMENTS[raw[8:12]])
        if raw[:4] == b"\0\0\0\0":
            return np.zeros(0, element.newbyteorder("="))
        pair = np.dtype([("size", ">i4"), ("value", element)])
        body = np.frombuffer(raw, pair, (len(raw) - 20) // pair.itemsize, 20)
        if len(raw) != 20 + body.nbytes or int(body["size"].min()) < 0:
            raise ValueError("a NULL element")
        return body["value"].astype(element.newbyteorder("="))


class _Pending:
    """One read under way."""

    def __init__(self, query: Query[Any], future: "asyncio.Future[list[Any]]") -> None:
        self.query = query
        self.future = future
        self.rows: pq.abc.PGresult | None = None
        self.error: Exception | None = None


class Pipe:
    """One connection in pipeline mode. Belongs to one event loop; not thread-safe."""

    def __init__(self, conn: "psycopg.AsyncConnection[Any]", prepared: frozenset[str]) -> None:
        self.pending: deque[_Pending] = deque()
        self.is_closed = False
        self._conn = conn
        self._pg = conn.pgconn
        self._socket = conn.pgconn.socket
        self._prepared = prepared
        self._loop = asyncio.get_running_loop()
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._on_readable)

    @classmethod
    async def open(cls, url: str, queries: Sequence[Query[Any]]) -> "Pipe":
        """Connect and prepare `queries`; others are sent unprepared. DatabaseGone when that cannot be done."""
        try:
            conn = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
            for line in _SESSION:
                await conn.execute(line.encode())
            for oid in _ARRAY_OIDS:
                conn.adapters.register_loader(oid, IntArrayLoader)
            await asyncio.to_thread(_prepare, conn.pgconn, queries)
        except psycopg.Error as e:
            raise DatabaseGone(str(e)) from None
        return cls(conn, frozenset(q.name for q in queries))

    def send(self, org_id: UUID, query: Query[Row], params: Sequence[Any]) -> "asyncio.Future[list[Row]]":
        """Queue one read of `org_id`, which is also the query's $1. The future gives its rows."""
        if self.is_closed:
            raise DatabaseGone("the connection is closed")
        tx = Transformer(self._conn)
        values = tx.dump_sequence((org_id, *params), [PyFormat.TEXT] * (len(params) + 1))
        self._pg.send_query_params(b"ROLLBACK", None)
        self._pg.send_query_params(b"BEGIN READ ONLY", None)
        self._pg.send_query_params(settings(org_id).as_bytes(None), None)
        if query.name in self._prepared:
            self._pg.send_query_prepared(query.name.encode(), values, tx.formats, pq.Format.BINARY)
        else:
            self._pg.send_query_params(query.sql.encode(), values, tx.types, tx.formats, pq.Format.BINARY)
        self._pg.send_query_params(b"COMMIT", None)
        self._pg.pipeline_sync()
        item = _Pending(query, self._loop.create_future())
        self.pending.append(item)
        self._flush()
        return cast("asyncio.Future[list[Row]]", item.future)

    def close(self, reason: str = "closed") -> None:
        """Close, failing what is under way with DatabaseGone. Harmless when repeated."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._pg.finish()
        for item in self.pending:
            if not item.future.done():
                item.future.set_exception(DatabaseGone(reason))
        self.pending.clear()

    def _flush(self) -> None:
        try:
            if self._pg.flush() == 1:
                self._loop.add_writer(self._socket, self._flush)
            else:
                self._loop.remove_writer(self._socket)
        except psycopg.Error as e:
            self.close(str(e))

    def _on_readable(self) -> None:
        try:
            self._pg.consume_input()
            ends = 0  # one NULL ends a statement's results; two in a row: nothing more has come
            while ends < 2 and self.pending and not self._pg.is_busy():
                result = self._pg.get_result()
                ends = 0 if result else ends + 1
                if result:
                    self._take(result)
        except psycopg.Error as e:
            self.close(str(e))

    def _take(self, result: "pq.abc.PGresult") -> None:
        item = self.pending[0]
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self.pending.popleft()
            self._finish(item)
        elif result.status == pq.ExecStatus.TUPLES_OK:
            item.rows = result
        elif result.status in _FATAL and item.error is None:
            item.error = _error(result)

    def _finish(self, item: _Pending) -> None:
        if item.future.done():  # the reader went away
            return
        if item.error is not None or item.rows is None:
            item.future.set_exception(item.error or QueryFailed("02000", f"{item.query.name} gave no result"))
            return
        try:
            tx = Transformer(self._conn)
            tx.set_pgresult(item.rows)
            rows = tx.load_rows(0, item.rows.ntuples, tuple)
            item.future.set_result([item.query.row(*row) for row in rows])
        except Exception as e:
            item.future.set_exception(e)


class Reader:
    """Reads for any organisation over `size` pipes, opened when first needed and replaced when they break."""

    def __init__(self, url: str, queries: Sequence[Query[Any]], size: int) -> None:
        self._url = url
        self._queries = tuple(queries)
        self._pipes: list[Pipe | None] = [None] * size
        self._opening = [asyncio.Lock() for _ in range(size)]
        self._next = 0

    async def fetch(self, org_id: UUID, query: Query[Row], *params: Any) -> list[Row]:
        """The rows of `query`, whose $1 is `org_id` and $2... are `params`. DatabaseGone, QueryFailed."""
        for attempt in (1, 2):
            try:
                pipe = await self._pipe()
                return await pipe.send(org_id, query, params)
            except DatabaseGone:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def _pipe(self) -> Pipe:
        """The pipe with the least under way."""
        self._next = (self._next + 1) % len(self._pipes)
        order = [(i + self._next) % len(self._pipes) for i in range(len(self._pipes))]
        slot = min(order, key=lambda i: len(p.pending) if (p := self._pipes[i]) and not p.is_closed else 0)
        async with self._opening[slot]:
            pipe = self._pipes[slot]
            if pipe is None or pipe.is_closed:
                pipe = self._pipes[slot] = await Pipe.open(self._url, self._queries)
            return pipe

    def close(self) -> None:
        """Close all pipes."""
        for pipe in self._pipes:
            if pipe is not None:
                pipe.close()


def _prepare(pgconn: "pq.abc.PGconn", queries: Sequence[Query[Any]]) -> None:
    for query in queries:
        result = pgconn.prepare(query.name.encode(), query.sql.encode())
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise QueryFailed("42000", f"{query.name}: {result.get_error_message()}")


def _error(result: "pq.abc.PGresult") -> Exception:
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"00000").decode()
    message = result.get_error_message()
    return DatabaseGone(message) if sqlstate.startswith(_LOST_SQLSTATES) else QueryFailed(sqlstate, message)
