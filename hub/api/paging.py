"""Lists: bounded limits, opaque cursors, ETags."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import orjson
from fastapi import Query as QueryParam
from starlette.requests import Request
from starlette.responses import Response

from hub.api.problems import Problem
from hub.api.tokens import BadToken, Tokens

MAX_LIMIT = 200
Limit = Annotated[int, QueryParam(ge=1, le=MAX_LIMIT, description="items on a page")]
Cursor = Annotated[str | None, QueryParam(max_length=600, description="`next_cursor` of the page before")]


def open_cursor(tokens: Tokens, purpose: str, cursor: str | None, count: int) -> list[Any]:
    """The `count` values in a cursor; Nones without one. Problem 400."""
    if cursor is None:
        return [None] * count
    try:
        return tokens.unpack(f"cursor {purpose}", cursor, count)
    except BadToken as e:
        raise Problem(400, "bad_cursor", f"The cursor is not one that this list gave out: {e}.") from None


def page(
    tokens: Tokens, purpose: str, rows: Sequence[Any], limit: int, view: Callable[[Any], Any],
    position: Callable[[Any], list[Any]],
) -> dict[str, Any]:  # fmt: skip
    """One page of `rows`, of which one more than `limit` was asked for. position: what the next page starts after."""
    more = len(rows) > limit
    shown = rows[:limit]
    cursor = tokens.pack(f"cursor {purpose}", position(shown[-1])) if more else None
    return {"items": [view(r) for r in shown], "next_cursor": cursor}


def answer(request: Request, body: Any, status: int = 200, etag: bool = True) -> Response:
    """JSON; 304 when the client already has exactly this."""
    return answer_bytes(request, orjson.dumps(body), "application/json", status, etag=etag)


def answer_bytes(
    request: Request, data: bytes, media_type: str, status: int = 200, filename: str | None = None, etag: bool = True
) -> Response:
    """The same for anything that was made whole. filename: to be saved under that name."""
    headers = {"cache-control": "private, no-cache", "vary": "authorization, cookie"}
    if filename is not None:
        headers["content-disposition"] = f'attachment; filename="{filename}"'
    if etag and status == 200:
        headers["etag"] = tag = f'"{hashlib.blake2b(data, digest_size=12).hexdigest()}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
    return Response(data, status, headers, media_type)
