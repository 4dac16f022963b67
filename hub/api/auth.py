"""Who asks: an API key in the Authorization header, or a browser's session cookie that stands for one.

Answers are remembered for some seconds; a revoked key is refused no later than that.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.requests import Request

from hub.api.problems import Problem
from hub.api.state import Actor, ApiState
from hub.api.tokens import KEY_PREFIX, BadToken
from hub.store.keys import FIND_OWNER, KEY_ROLE, KeyOwner
from hub.store.tenant import HUB_ORG

REMEMBERED_S = 3.0
SESSION_COOKIE = "dbx_session"
_SAFE = ("GET", "HEAD", "OPTIONS")
_MOST_REMEMBERED = 10_000

Role = Literal["viewer", "operator", "admin", "auditor"]
# For the OpenAPI document alone: the checks are below.
bearer_scheme = HTTPBearer(auto_error=False, description="API key of an organisation: `dbx hub key create`")
cookie_scheme = APIKeyCookie(name=SESSION_COOKIE, auto_error=False, description="set by `POST /login`")


@dataclass(frozen=True, slots=True)
class _Remembered:
    owner: KeyOwner
    until_s: float


class Authenticator:
    """Finds the owner of a key or session, and remembers it for REMEMBERED_S."""

    def __init__(self, state: ApiState) -> None:
        self._state = state
        self._known: dict[object, _Remembered] = {}

    async def by_key(self, key: str) -> KeyOwner | None:
        """The owner of an API key; None when it opens nothing (any more)."""
        if not key.startswith(KEY_PREFIX) or len(key) > 200:
            return None
        hashed = self._state.tokens.keyed_hash(key)
        return self._recall(hashed) or self._remember(
            hashed, await self._state.reader.fetch(HUB_ORG, FIND_OWNER, hashed)
        )

    async def by_session(self, cookie: str) -> KeyOwner | None:
        """The owner of the key for which a session stands; None when either counts no more."""
        try:
            org_id, key_id = self._state.tokens.read_session(cookie[:500], int(time.time()))
        except BadToken:
            return None
        name = (org_id, key_id)
        return self._recall(name) or self._remember(name, await self._state.reader.fetch(org_id, KEY_ROLE, key_id))

    def forget(self, key_id: UUID) -> None:
        """A key was revoked here: refuse it at once."""
        self._known = {n: r for n, r in self._known.items() if r.owner.key_id != key_id}

    def _recall(self, name: object) -> KeyOwner | None:
        found = self._known.get(name)
        return found.owner if found and time.monotonic() < found.until_s else None

    def _remember(self, name: object, rows: list[KeyOwner]) -> KeyOwner | None:
        if not rows:
            self._known.pop(name, None)
            return None
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = _Remembered(rows[0], time.monotonic() + REMEMBERED_S)
        return rows[0]


def state_of(request: Request) -> ApiState:
    """The process' state."""
    state: ApiState = request.app.state.api
    return state


async def authenticate(request: Request) -> KeyOwner:
    """The owner of the request. Problem 401, 403 (a foreign page used the cookie), 429."""
    state = state_of(request)
    auth: Authenticator = request.app.state.auth
    authorization = request.headers.get("authorization", "")
    cookie = request.cookies.get(SESSION_COOKIE)
    if authorization:
        scheme, _, key = authorization.partition(" ")
        owner = await auth.by_key(key.strip()) if scheme.lower() == "bearer" else None
    elif cookie:
        refuse_foreign_pages(request)
        owner = await auth.by_session(cookie)
    else:
        raise Problem(401, "unauthorized", "Send `Authorization: Bearer <API key>`.", {"www-authenticate": "Bearer"})
    if owner is None:
        count_stranger(request)
        raise Problem(
            401, "unauthorized", "The key or session is unknown, expired or revoked.", {"www-authenticate": "Bearer"}
        )
    request.state.owner = owner
    request.state.allowance = allowance = state.limit.take(owner.key_id)
    if not allowance.is_allowed:
        raise Problem(429, "too_many_requests", "This key asks too often; wait as long as Retry-After says.")
    return owner


def count_stranger(request: Request) -> None:
    """Somebody showed a key that opens nothing. Problem 429 when that happens too often."""
    allowance = state_of(request).strangers.take(address(request))
    if not allowance.is_allowed:
        raise Problem(429, "too_many_requests", "Too many wrong keys or codes from this address.", allowance.headers())


def refuse_foreign_pages(request: Request) -> None:
    """Changes by cookie only from our own pages (besides SameSite=Strict)."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.headers.get("host")):
        raise Problem(403, "forbidden", "A session may only be used from the hub's own pages.")


def address(request: Request) -> str:
    """The peer's address as we see it."""
    return request.client.host if request.client else ""


def actor(request: Request, owner: KeyOwner) -> Actor:
    """The owner as the audit log names it."""
    return Actor(owner.org_id, f"key {owner.key_id}", request.state.request_id, address(request))


async def _owner(
    request: Request,
    _bearer: Annotated[object, Depends(bearer_scheme)],
    _cookie: Annotated[object, Depends(cookie_scheme)],
) -> KeyOwner:
    return await authenticate(request)


Owner = Annotated[KeyOwner, Depends(_owner)]


class Needs:
    """A dependency: the owner, if its key has one of these roles. Problem 403."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, owner: Owner) -> KeyOwner:
        if owner.role not in self.roles:
            raise Problem(
                403, "forbidden", f"This needs a key with role {' or '.join(self.roles)}; this one is {owner.role}."
            )
        return owner


Operator = Annotated[KeyOwner, Depends(Needs("operator", "admin"))]
Admin = Annotated[KeyOwner, Depends(Needs("admin"))]
State = Annotated[ApiState, Depends(state_of)]
