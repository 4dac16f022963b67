"""A recorded flight with a motor failure through ingest, settling and analysis, in a real database as its own roles."""

import itertools
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import ChannelGrid, GridInput, to_grid
from firmware_bridge.sensed import SensedReader
from hub.store import jobs
from hub.store.analysis import outdated
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
    assert [v["feature"] for v in shap[-2:]] == ["others", "base"]
    assert 0 < sum(v["shap"] for v in shap) <= 1.0001
    assert "Inspect first (motor failure" in report
    findings = ingest_hub.rows(
        r.org_id,
        "SELECT kind, severity, start_us, start_utc_us, evidence, shap FROM findings"
        " WHERE org_id = %s AND session_id = %s AND source = 'hub'",
        r.org_id,
        session,
    )
    assert len(findings) == 1
    kind, severity, start_us, start_utc_us, evidence, finding_shap = findings[0]
    assert (kind, severity) == ("motor_fail", "critical")
    assert start_utc_us - start_us == r.clock[0].offset_us()
    assert evidence[0].keys() == {"feature", "value", "nominal", "weight"}
    assert finding_shap[0].keys() == {"feature", "value", "shap"}
    with ingest_hub.database.connect("dbx_worker") as conn:
        with tenant(conn, r.org_id):
            jobs.enqueue(conn, r.org_id, "settle", {session: 0.0})
        work(ingest_hub, conn, Analyst(edge_bundle))  # again, as late data make it: the same finding, no second alert
    alerts = "SELECT kind, severity, session_id FROM alerts WHERE org_id = %s"
    assert ingest_hub.rows(r.org_id, alerts, r.org_id) == [("finding", "critical", session)]
    assert count_findings(ingest_hub, r.org_id) == 1


def count_findings(hub: Hub, org_id: uuid.UUID) -> int:
    (row,) = hub.rows(org_id, "SELECT count(*) FROM findings WHERE org_id = %s AND source = 'hub'", org_id)
    return int(row[0])


def analyses(hub: Hub, org_id: uuid.UUID) -> list[str]:
    """The models that flights were analysed by, oldest first."""
    query = "SELECT model_version FROM ml_analysis_results WHERE org_id = %s ORDER BY created_at"
    return [row[0] for row in hub.rows(org_id, query, org_id)]


def test_a_flight_that_another_model_analysed_is_analysed_again_once_without_a_second_alert(
    ingest_hub: Hub, edge_bundle: Bundle, motor_failure: Frames
) -> None:
    r = ingest_hub.new_recorder()
    _, envelopes = fly(r, motor_failure)
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    older = Analyst(Bundle(edge_bundle.manifest, edge_bundle.onnx, bytes(32)))
    newer = Analyst(edge_bundle)
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, older)
        work(ingest_hub, conn, newer)
        assert analyses(ingest_hub, r.org_id) == [older.version, newer.version]
        work(ingest_hub, conn, newer)
    assert analyses(ingest_hub, r.org_id) == [older.version, newer.version]
    assert count_findings(ingest_hub, r.org_id) == 1
    assert ingest_hub.rows(r.org_id, "SELECT times FROM alerts WHERE org_id = %s", r.org_id) == [(1,)]


def test_flights_to_analyse_again_are_asked_for_a_few_at_a_time_the_newest_first(
    ingest_hub: Hub, edge_bundle: Bundle, gusty_flight: Frames
) -> None:
    r = ingest_hub.new_recorder()
    flights = []
    for _ in range(3):
        session, envelopes = fly(r, gusty_flight.slice(0, 400))
        flights.append(session)
        ingest_hub.pipeline.handle(r.arrivals(envelopes))
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, Analyst(edge_bundle))
    with ingest_hub.database.connect() as admin:
        for i, session in enumerate(flights):
            admin.execute("UPDATE flight_sessions SET started_utc_us = %s WHERE session_id = %s", (i, session))
    with ingest_hub.database.connect("dbx_worker") as conn, tenant(conn, r.org_id):
        assert outdated(conn, r.org_id, "another model", 2, 2) == [flights[2], flights[1]]
        jobs.enqueue(conn, r.org_id, "settle", {flights[2]: 0.0})
        assert outdated(conn, r.org_id, "another model", 2, 2) == [flights[1], flights[0]]
        assert outdated(conn, r.org_id, Analyst(edge_bundle).version, 2, 2) == []


def test_what_the_aircraft_told_raises_no_second_alert_in_the_hub(
    ingest_hub: Hub, edge_bundle: Bundle, motor_failure: Frames
) -> None:
    r = ingest_hub.new_recorder()
    session, envelopes = fly(r, motor_failure)
    found = Analyst(edge_bundle).analyse(grids_of(motor_failure), 2, session).findings[0].finding
    on_board = replace(found, finding=new_id(), start_us=found.start_us + 1_000_000)
    envelopes.insert(-1, r.seal(session=session, records=[on_board], lane=Lane.alert))
    ingest_hub.pipeline.handle(r.arrivals(envelopes))
    with ingest_hub.database.connect("dbx_worker") as conn:
        work(ingest_hub, conn, Analyst(edge_bundle))
    assert count_findings(ingest_hub, r.org_id) == 1
    assert ingest_hub.rows(r.org_id, "SELECT dedupe_key, times FROM alerts WHERE org_id = %s", r.org_id) == [
        (f"finding:{on_board.finding}", 1)
    ]


def grids_of(frames: Frames) -> list[ChannelGrid]:
    """The flight's grid, on the clock that `fly` gives it."""
    start = int(frames.time_us[0]) - 1
    columns = columns_of(Frames(frames.data, frames.offsets, frames.time_us - start))
    grid = to_grid([GridInput(columns, (1, 1), (0, int(columns.time_us[-1])))])[0]
    return [replace(grid, sensed=SensedReader().read(columns, (1, 1), grid.tick_us))]


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
