"""`dbx hub api`: the application under granian. One process serves by itself; several are granian's workers."""

import asyncio
import logging
import os
import threading

import psycopg
from fastapi import FastAPI
from granian import Granian
from granian.constants import Interfaces
from granian.server.embed import Server

from hub import migrate
from hub.api.app import create_app
from hub.installation import Installation
from hub.settings import DATA, load

log = logging.getLogger("dbx.api")
BACKLOG = 2048


def run(installation: Installation, stop: threading.Event) -> None:
    """Serve until `stop` is set. SchemaError when the database does not fit this code."""
    with psycopg.connect(installation.database_url("dbx_api"), autocommit=True) as conn:
        migrate.check(conn)
    settings = installation.settings
    if settings.api_processes == 1:
        asyncio.run(_serve(create_app(settings), settings.api_host, settings.api_port, stop))
        return
    os.environ[DATA] = str(settings.data_dir)  # the workers' settings
    server = Granian(
        f"{__name__}:make_app", settings.api_host, settings.api_port, interface=Interfaces.ASGI,
        workers=settings.api_processes, factory=True, websockets=False, backlog=BACKLOG, log_access=False,
        respawn_failed_workers=True,
    )  # fmt: skip
    server.serve()


def make_app() -> FastAPI:
    """The application in one of several worker processes."""
    return create_app(load(os.environ))


async def _serve(app: FastAPI, host: str, port: int, stop: threading.Event) -> None:
    server = Server(
        app, host, port, interface=Interfaces.ASGI, websockets=False, backlog=BACKLOG, log_enabled=False
    )  # fmt: skip
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.stop()  # type: ignore[no-untyped-call]
    await serving
    stop.set()
