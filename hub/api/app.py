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
    routes_feedback,
    routes_files,
    routes_flights,
    routes_logs,
    routes_maintenance,
    routes_models,
    routes_notices,
    routes_telemetry,
    shapes,
    upload,
)
from hub.api.auth import Authenticator
from hub.api.gate import Gate, RequestLog
from hub.api.pipeline import DatabaseGone, QueryFailed
from hub.api.problems import PROBLEM_TYPE, Problem, on_error
from hub.api.publisher import DirectivePublisher, OpenDirectives
from hub.api.receiving import UploadReceiving
from hub.api.session import session_routes
from hub.api.state import ApiParts, ApiState
from hub.ingest.pipeline import HubKey
from hub.installation import Enrolling, Installation
from hub.pages.serve import page_routes
from hub.settings import HubSettings
from shared.ids import key_id
from shared.scoring import read_keys

ROUTERS: tuple[APIRouter, ...] = (
    routes_account.router,
    routes_aircraft.router,
    routes_flights.router,
    routes_telemetry.router,
    routes_files.router,
    routes_logs.router,
    routes_models.router,
    routes_notices.router,
    routes_maintenance.router,
    routes_feedback.router,
    routes_enroll.router,
    upload.router,
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": shapes.ProblemShape, "content": {PROBLEM_TYPE: {}}, "description": "Problem (RFC 9457)"},
    "5XX": {"model": shapes.ProblemShape, "content": {PROBLEM_TYPE: {}}, "description": "Problem (RFC 9457)"},
}
_ABOUT = "Flights of an organisation's aircraft: recorded on board, whole in the hub, explained and provable."


def create_app(settings: HubSettings) -> FastAPI:
    """The application of one hub's data folder."""
    hub = Installation(settings)
    hub_key = HubKey(hub.hub_key, key_id(hub.hub_key.public_key().public_bytes_raw()))
    api_url = hub.database_url("dbx_api")
    host, port = hub.device_broker
    tls = hub.authority.hub_client().client_context()
    return build_app(
        ApiParts(
            database_url=api_url,
            pepper=hub.pepper,
            hub_key=hub.hub_key,
            is_https=settings.api_url.startswith("https:"),
            enrolling=Enrolling(hub),
            receiving=UploadReceiving(hub.database_url("dbx_ingest"), hub_key),
            max_log_bytes=settings.max_log_mb << 20,
            spool=hub.folder / "spool",
            release_keys=tuple(read_keys(settings.release_keys)) if settings.release_keys else (),
            publishing=DirectivePublisher(host, port, tls, OpenDirectives(api_url)),
        )
    )


def build_app(parts: ApiParts) -> FastAPI:
    """The application for these parts; `app.state.api` is its state."""
    state = ApiState(parts)
    requests = RequestLog(state)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        writer = asyncio.create_task(requests.run())
        if parts.publishing is not None:
            parts.publishing.start()
        try:
            yield
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
            await asyncio.to_thread(state.close)

    app = FastAPI(
        title="DBX Aviation", version=routes_account.VERSION, description=_ABOUT, lifespan=lifespan,
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.api = state
    app.state.auth = Authenticator(state)
    for error in (Problem, HTTPException, RequestValidationError, DatabaseGone, QueryFailed):
        app.add_exception_handler(error, on_error)
    for router in ROUTERS:
        app.include_router(router, responses=_PROBLEMS)
    app.router.routes += [*session_routes(), *page_routes()]
    app.add_middleware(Gate, requests=requests, long_bodies={"/v1/logs": parts.max_log_bytes})
    return app
