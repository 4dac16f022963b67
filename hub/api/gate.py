"""What happens to every request: an id, a bound on its body, headers, its line in the request log, a last catch."""

import asyncio
import ipaddress
import logging
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import psycopg
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.limits import Allowance
from hub.api.pipeline import DatabaseGone
from hub.api.problems import as_problem, problem_response
from hub.api.state import ApiState
from hub.api.upload import MAX_UPLOAD_BYTES
from hub.store.keys import KeyOwner
from hub.store.requests import RequestRow, insert_requests
from shared.ids import new_id
from shared.scoring import MAX_BUNDLE_BYTES

log = logging.getLogger("dbx.api")
MAX_BODY_BYTES = 64 << 10
BODY_S = 20.0
SLOWEST_BYTES_PER_S = 50_000
"""Who sends a body slower than this (after BODY_S) holds a connection for nothing."""
_LONG_BODIES = {
    "/v1/envelopes": MAX_UPLOAD_BYTES, "/v1/device/logs": 512 << 10, "/v1/models/releases": MAX_BUNDLE_BYTES
}  # fmt: skip
_FLUSH_S = 1.0
_MOST_WAITING = 20_000


@dataclass(frozen=True, slots=True)
class _Line:
    org_id: UUID
    row: RequestRow


class RequestLog:
    """Requests on their way to `api_requests`: written once a second, in one statement per organisation. When the
    database is away the oldest are dropped and counted: a log must not hold up what it logs."""

    def __init__(self, state: ApiState) -> None:
        self._state = state
        self._waiting: deque[_Line] = deque(maxlen=_MOST_WAITING)
        self.dropped = 0

    def add(self, org_id: UUID, row: RequestRow) -> None:
        """Remember one request."""
        self.dropped += len(self._waiting) == _MOST_WAITING
        self._waiting.append(_Line(org_id, row))

    async def run(self) -> None:
        """Write until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_S)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        by_org: dict[UUID, list[RequestRow]] = defaultdict(list)
        while self._waiting:
            line = self._waiting.popleft()
            by_org[line.org_id].append(line.row)
        for org_id, rows in by_org.items():
            try:
                await asyncio.to_thread(self._write, org_id, rows)
            except (DatabaseGone, psycopg.Error) as e:
                self.dropped += len(rows)
                log.warning("request log not written", extra={"rows": len(rows), "error": str(e)[:200]})

    def _write(self, org_id: UUID, rows: list[RequestRow]) -> None:
        self._state.log_now(org_id, lambda conn: insert_requests(conn, org_id, rows))


class Gate:
    """The outermost ASGI layer."""

    def __init__(self, app: ASGIApp, requests: RequestLog, long_bodies: Mapping[str, int]) -> None:
        """long_bodies: path -> bytes, besides those that are always so."""
        self.app = app
        self.requests = requests
        self.long_bodies = {**_LONG_BODIES, **long_bodies}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        began = time.perf_counter()
        kept = scope.setdefault("state", {})
        kept["request_id"] = str(request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), str(request_id), kept.get("allowance"))
            await send(message)

        try:
            most = self.long_bodies.get(scope["path"], MAX_BODY_BYTES)
            await self.app(scope, _bounded(most, receive), send_with_headers)
        except Exception as error:
            problem = as_problem(error)
            if problem.status == 500:
                log.exception("request failed", extra={"request_id": str(request_id), "path": scope["path"][:200]})
            if status:
                raise
            await problem_response(str(request_id), problem)(scope, receive, send_with_headers)
        finally:
            self._note(scope, request_id, status, began)

    def _note(self, scope: Scope, request_id: UUID, status: int, began: float) -> None:
        owner: KeyOwner | None = scope["state"].get("owner")
        if owner is None:
            return
        route = getattr(scope.get("route"), "path", "")
        duration_us = min(int((time.perf_counter() - began) * 1e6), 2**31 - 1)
        row = RequestRow(request_id, owner.key_id, scope["method"], route, status, duration_us, _address(scope))
        self.requests.add(owner.org_id, row)


def _add_headers(headers: MutableHeaders, request_id: str, allowance: Allowance | None) -> None:
    headers["x-request-id"] = request_id
    headers.setdefault("x-content-type-options", "nosniff")
    headers.setdefault("referrer-policy", "same-origin")
    for name, value in allowance.headers().items() if allowance else ():
        headers[name] = value


def _bounded(most: int, receive: Receive) -> Receive:
    """`receive` that refuses a body beyond `most` bytes, declared or not, and one that drips."""
    until_s = time.monotonic() + BODY_S + most / SLOWEST_BYTES_PER_S
    seen = 0
    is_whole = False

    async def bounded() -> Message:
        nonlocal seen, is_whole
        if is_whole:
            return await receive()  # waits until the peer goes away, as long as the answer takes
        try:
            message = await asyncio.wait_for(receive(), until_s - time.monotonic())
        except TimeoutError:
            raise HTTPException(408, "The body took too long.", {"connection": "close"}) from None
        is_whole = not message.get("more_body", False)
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, f"The body may have {most} bytes.", {"connection": "close"})
        return message

    return bounded


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    try:
        return str(ipaddress.ip_address(client[0])) if client else None
    except ValueError:  # a socket, or a test's client
        return None
