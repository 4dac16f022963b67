"""The worker process: settles, analyses, keeps house. Any number side by side: a job is run by who claims it."""

import datetime as dt
import logging
import threading
import time
import uuid
from typing import Any

import psycopg

from hub.ingest.table_rows import RowTypes
from hub.installation import Installation
from hub.migrate import check
from hub.store import analysis, chunks, jobs, sessions
from hub.store.device_keys import list_organisations
from hub.store.jobs import Job
from hub.store.rows import use_rows
from hub.store.tenant import tenant
from hub.worker.analysis import Analyst, data_version, store_analysis
from hub.worker.log_shelf import LogShelf, open_shelf
from hub.worker.logs import take_in
from hub.worker.maintenance import maintain
from hub.worker.settle import Settled, settle
from shared.features import FEATURE_VERSION
from shared.scoring import packaged_bundle

log = logging.getLogger("dbx.worker")
POLL_S = 0.5
LONGEST_PAUSE_S = 10.0
DAYS_S = 3600.0
DAYS_AHEAD = 3
SILENT_S = 7200.0
"""So long nothing of a live flight: longer than most lost links, short enough to look at a crash the same day."""
SILENT_CHECK_S = 300.0
RENEW_S = 60.0
RENEWED = 30
"""Flights that another model analysed and that are looked at again, per organisation and RENEW_S; newest first."""


class Worker:
    """Runs due jobs on one connection as dbx_worker."""

    def __init__(self, conn: psycopg.Connection[Any], analyst: Analyst, shelf: LogShelf | None = None) -> None:
        use_rows(conn)
        self._conn = conn
        self._types = RowTypes(conn)
        self._analyst = analyst
        self._shelf = shelf or LogShelf()
        self._days_s = 0.0
        self._silent_s = 0.0
        self._renew_s = 0.0

    def run_due(self) -> int:
        """Run what is due, logs last, one at a time; how many jobs. psycopg.OperationalError: the database is gone."""
        self._keep_days()
        self._close_silent()
        self._renew()
        done = 0
        for org_id, job_id in jobs.due(self._conn):
            job = self._run(org_id, job_id)
            done += job is not None
            if job is not None and job.kind == "log":
                break  # that may have taken long: see first what else is due by now
        return done

    def _run(self, org_id: uuid.UUID, job_id: uuid.UUID) -> Job | None:
        with tenant(self._conn, org_id, actor="worker"):
            job = jobs.claim(self._conn, org_id, job_id)
        if job is None:
            return None
        try:
            self._do(job)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # the lock goes with the connection, and the job is done by whoever is there
        except Exception as e:  # one job must not stop the others; it says why and waits longer each time
            log.exception("job failed", extra={"kind": job.kind, "subject": str(job.subject_id), "times": job.attempts})
            with tenant(self._conn, org_id, actor="worker"):
                jobs.postpone(self._conn, job, f"{type(e).__name__}: {e}")
        else:
            with tenant(self._conn, org_id, actor="worker"):
                jobs.finish(self._conn, job)
        return job

    def _do(self, job: Job) -> None:
        began = time.monotonic()
        if job.kind == "log":
            flights = take_in(self._conn, self._types, job.org_id, job.subject_id, self._shelf)
            log.info("log taken in", extra={"log": str(job.subject_id), "flights": len(flights),
                                            "seconds": round(time.monotonic() - began, 3)})  # fmt: skip
        for session in flights if job.kind == "log" else [job.subject_id]:
            self._settle(job.org_id, session)

    def _settle(self, org_id: uuid.UUID, session: uuid.UUID) -> None:
        began = time.monotonic()
        settled = settle(self._conn, self._types, org_id, session, self._shelf)
        if settled is None:
            return
        rows = sum(len(g.tick_us) for g in settled.grids)
        log.info("settled", extra={"session": str(session), "rows": rows,
                                   "seconds": round(time.monotonic() - began, 3)})  # fmt: skip
        if settled.state == "closed":
            self._analyse(org_id, session, settled)

    def _analyse(self, org_id: uuid.UUID, session: uuid.UUID, settled: Settled) -> None:
        began = time.monotonic()
        result = self._analyst.analyse(settled.grids, settled.mav_type, session)
        with tenant(self._conn, org_id, actor="worker"):
            store_analysis(
                self._conn, org_id, settled.aircraft_id, session, result, settled.offset_us,
                data_version(settled.digests), self._analyst.version,
            )  # fmt: skip
            maintain(self._conn, org_id, settled.aircraft_id, session, settled.grids, result.aircraft.name)
        log.info("analysed", extra={"session": str(session), "risk": result.risk_level,
                                    "seconds": round(time.monotonic() - began, 3)})  # fmt: skip

    def _close_silent(self) -> None:
        """Flights whose aircraft fell silent (crashed, perhaps) are closed and settled as far as they came."""
        if time.monotonic() < self._silent_s:
            return
        for org_id in list_organisations(self._conn):
            with tenant(self._conn, org_id, actor="worker"):
                silent = sessions.close_silent(self._conn, org_id, SILENT_S)
                jobs.enqueue(self._conn, org_id, "settle", dict.fromkeys(silent, 0.0))
            for session in silent:
                log.warning("flight closed: the aircraft is silent", extra={"session": str(session)})
        self._silent_s = time.monotonic() + SILENT_CHECK_S

    def _renew(self) -> None:
        """Ask for the analysis of flights by the models that are now, after an upgrade, until all are done."""
        if time.monotonic() < self._renew_s:
            return
        found = 0
        for org_id in list_organisations(self._conn):
            with tenant(self._conn, org_id, actor="worker"):
                flights = analysis.outdated(self._conn, org_id, self._analyst.version, FEATURE_VERSION, RENEWED)
                jobs.enqueue(self._conn, org_id, "settle", {f: i * RENEW_S / RENEWED for i, f in enumerate(flights)})
            found += len(flights)
        if found:
            log.info("flights to analyse again", extra={"flights": found, "model": self._analyst.version})
        self._renew_s = time.monotonic() + RENEW_S if found else float("inf")

    def _keep_days(self) -> None:
        """The partitions of today and the next days, made ahead of time."""
        if time.monotonic() < self._days_s:
            return
        today = dt.datetime.now(dt.UTC).date()
        chunks.ensure_days(self._conn, [today + dt.timedelta(days=k) for k in range(DAYS_AHEAD + 1)])
        self._days_s = time.monotonic() + DAYS_S


def run(installation: Installation, stop: threading.Event) -> None:
    """Work until `stop`. What `dbx hub worker` runs."""
    analyst = Analyst(packaged_bundle())
    threading.Thread(target=analyst.prepare, name="prepare", daemon=True).start()
    url = installation.database_url("dbx_worker")
    pause_s = POLL_S
    while not stop.is_set():
        try:
            with (
                psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="dbx-worker") as conn,
                open_shelf(installation.folder / "spool") as shelf,
            ):
                check(conn)
                conn.execute("SET client_min_messages = error")
                worker = Worker(conn, analyst, shelf)
                log.info("worker runs")
                pause_s = POLL_S
                while not stop.is_set():
                    if not worker.run_due():
                        stop.wait(POLL_S)
        except (psycopg.OperationalError, psycopg.InterfaceError) as e:
            log.error("database failed", extra={"error": str(e)})
            stop.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
