"""The ASGI application: `/v1` (documented in `/v1/openapi.json`), sessions and pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hub.api import (
    routes_account,
    routes_aircraft,
    routes_enroll,
    routes_files,
    routes_flights,
    routes_telemetry,
    shapes,
    upload,
)
from hub.api.auth import Authenticator
from hub.api.gate import Gate, RequestLog
from hub.api.pipeline import DatabaseGone, QueryFailed
from hub.api.problems import PROBLEM_TYPE, Problem, on_error
from hub.api.session import session_routes
from hub.api.state import ApiParts, ApiState
from hub.pages.serve import page_routes

_ROUTERS: tuple[APIRouter, ...] = (
    routes_account.router,
    routes_aircraft.router,
    routes_flights.router,
    routes_telemetry.router,
    routes_files.router,
    routes_enroll.router,
    upload.router,
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": shapes.ProblemShape, "content": {PROBLEM_TYPE: {}}, "description": "Problem (RFC 9457)"},
    "5XX": {"model": shapes.ProblemShape, "content": {PROBLEM_TYPE: {}}, "description": "Problem (RFC 9457)"},
}
_ABOUT = "Flights of an organisation's aircraft: recorded on board, whole in the hub, explained and provable."


def build_app(parts: ApiParts) -> FastAPI:
    """The application for these parts; `app.state.api` is its state."""
    state = ApiState(parts)
    requests = RequestLog(state)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        writer = asyncio.create_task(requests.run())
        try:
            yield
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            state.close()

    app = FastAPI(
        title="DBX Aviation", version=routes_account.VERSION, description=_ABOUT, lifespan=lifespan,
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.api = state
    app.state.auth = Authenticator(state)
    for error in (Problem, HTTPException, RequestValidationError, DatabaseGone, QueryFailed):
        app.add_exception_handler(error, on_error)
    for router in _ROUTERS:
        app.include_router(router, prefix="/v1", responses=_PROBLEMS)
    app.router.routes += [*session_routes(), *page_routes()]
    app.add_middleware(Gate, requests=requests)
    return app
