"""`POST /login` and `POST /logout`: a browser's session. The cookie stands for a key without holding it, and counts no
longer than the key does."""

import time
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hub.api.auth import SESSION_COOKIE, count_stranger, refuse_foreign_pages, state_of
from hub.api.problems import Problem
from hub.api.tokens import SESSION_S


async def login(request: Request) -> Response:
    """Form field `key`; 303 to the first page, or 401."""
    refuse_foreign_pages(request)
    fields = parse_qs((await request.body()).decode("latin-1"), max_num_fields=10)
    owner = await request.app.state.auth.by_key(fields.get("key", [""])[0].strip())
    if owner is None:
        count_stranger(request)
        raise Problem(401, "unauthorized", "The key is unknown, expired or revoked.")
    token = state_of(request).tokens.session(owner.org_id, owner.key_id, int(time.time()))
    response = RedirectResponse("/", 303, {"cache-control": "no-store"})
    is_secure = state_of(request).parts.is_https or request.url.scheme == "https"
    response.set_cookie(
        SESSION_COOKIE, token, max_age=SESSION_S, path="/", secure=is_secure, httponly=True, samesite="strict"
    )
    return response


async def logout(request: Request) -> Response:
    """Forget the session in this browser."""
    refuse_foreign_pages(request)
    response = RedirectResponse("/login", 303, {"cache-control": "no-store"})
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")
    return response


def session_routes() -> list[Route]:
    """Not part of `/v1`: for the pages."""
    return [
        Route("/login", login, methods=["POST"], include_in_schema=False),
        Route("/logout", logout, methods=["POST"], include_in_schema=False),
    ]
