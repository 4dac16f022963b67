"""A recorded flight with a motor failure through ingest, settling and analysis, in a real database as its own roles."""

import itertools
import uuid
from typing import Any

import numpy as np
import psycopg

from hub.store import jobs
from hub.store.tenant import tenant
from hub.worker.analysis import Analyst, store_analysis
from hub.worker.process import Worker
from shared.frames import Frames
from shared.ids import new_id
from shared.records import SessionClose, SessionOpen
from shared.scoring import Bundle
from shared.topics import Lane
from tests.fix_fleet import Hub, Recorder

SPAN_US = 2_000_000


def fly(r: Recorder, frames: Frames) -> tuple[uuid.UUID, list[bytes]]:
    """The recording as batches of SPAN_US between an opening and a closing record."""
    session, start = new_id(), int(frames.time_us[0]) - 1
    rel = Frames(frames.data, frames.offsets, frames.time_us - start)
    last = int(rel.time_us[-1])
    out = [r.seal(session=session, records=[SessionOpen(session, r.boot, 0, 1, 0, 1, 1, 3, 2)], lane=Lane.alert)]
    edges = [*range(0, last, SPAN_US), last]
    at = np.searchsorted(rel.time_us, edges, side="right").tolist()
    for i, (first, stop) in enumerate(itertools.pairwise(at)):
        out.append(r.seal(rel.slice(first, stop), (edges[i], edges[i + 1]), session))
    closing = SessionClose(
        session, "disarmed", 1, r.seq, r.seq, len(rel), len(rel.data), {}, {}, 0, last, 0, last, r.prev
    )  # fmt: skip
    out.append(r.seal(session=session, records=[closing], covers=(last, last), lane=Lane.alert))
    return session, out


def work(hub: Hub, conn: psycopg.Connection[Any], analyst: Analyst) -> None:
    """Run every job that waits, now."""
    with hub.database.connect() as admin:
        admin.execute("UPDATE jobs SET run_after = now()")
    worker = Worker(conn, analyst)
    while worker.run_due():
        pass


def test_a_closed_flight_is_analysed_and_its_findings_explained(
    ingest_hub: Hub, edge_bundle: Bundle, motor_failure: Frames
) -> None:
    r = ingest_hub.new_recorder()
    session, envelopes = fly(r, motor_failure)
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, Analyst(edge_bundle))
    ((aircraft, anomaly, risk, level, shap, report),) = ingest_hub.rows(
        r.org_id,
        "SELECT detected_aircraft_type, anomaly_detected, risk_score, risk_level, shap_values, ai_report_content"
        " FROM ml_analysis_results WHERE org_id = %s AND session_id = %s",
        r.org_id,
        session,
    )
    assert (aircraft, anomaly, level) == ("copter", True, "CRITICAL")
    assert 0.8 <= risk <= 1
    assert len(shap) == edge_bundle.ranks
    assert "roll minus commanded roll" in report
    findings = ingest_hub.rows(
        r.org_id,
        "SELECT severity, start_us, start_utc_us, evidence, shap FROM findings"
        " WHERE org_id = %s AND session_id = %s AND source = 'hub'",
        r.org_id,
        session,
    )
    assert len(findings) == 1
    severity, start_us, start_utc_us, evidence, finding_shap = findings[0]
    assert severity == "critical"
    assert start_utc_us - start_us == r.clock[0].offset_us()
    assert evidence[0].keys() == {"feature", "value", "nominal", "weight"}
    assert finding_shap[0].keys() == {"feature", "value", "shap"}
    with ingest_hub.database.connect("dbx_worker") as conn:
        with tenant(conn, r.org_id):
            jobs.enqueue(conn, r.org_id, "settle", {session: 0.0})
        work(ingest_hub, conn, Analyst(edge_bundle))  # again, as late data make it: the same finding, no second alert
    alerts = "SELECT kind, severity, session_id FROM alerts WHERE org_id = %s"
    assert ingest_hub.rows(r.org_id, alerts, r.org_id) == [("finding", "critical", session)]


def test_analysing_again_replaces_what_the_hub_found_before(
    ingest_hub: Hub, edge_bundle: Bundle, motor_failure: Frames
) -> None:
    r = ingest_hub.new_recorder()
    session, envelopes = fly(r, motor_failure)
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    analyst = Analyst(edge_bundle)
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, analyst)
        nothing = analyst.analyse([], 2, session)
        for version in ("later data", "later data"):
            with tenant(conn, r.org_id, actor="worker"):
                store_analysis(conn, r.org_id, r.aircraft_id, session, nothing, 0, version)
    counts = ingest_hub.rows(
        r.org_id,
        "SELECT (SELECT count(*) FROM findings WHERE org_id = %s AND source = 'hub'),"
        " (SELECT count(*) FROM ml_analysis_results WHERE org_id = %s)",
        r.org_id,
        r.org_id,
    )
    assert counts == [(0, 2)]
