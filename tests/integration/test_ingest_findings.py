"""A finding that comes when it begins and again when it has ended, and what aircraft say of their models."""

import itertools
import uuid
from dataclasses import replace

import pytest

from hub.ingest.pipeline import Arrival
from shared.ids import new_id
from shared.records import Finding, ModelReport
from shared.topics import Lane
from tests.fix_fleet import UTC0_US, Hub, Recorder

BEGUN = Finding(
    uuid.UUID(int=1),
    None,
    "novelty",
    "warning",
    1.2,
    1.0,
    1_000_000,
    2_000_000,
    "edge 3",
    2,
    [{"feature": "a"}],
)
ENDED = replace(
    BEGUN,
    kind="motor_fail",
    severity="critical",
    score=4.5,
    end_us=9_000_000,
    evidence=[{"feature": "roll_mean"}],
)
FOUND = "SELECT kind, severity, score, start_us, end_us, end_utc_us, evidence FROM findings"
ALERTS = "SELECT severity, times, text FROM alerts WHERE kind = 'finding'"
WHOLE = ("motor_fail", "critical", 4.5, 1_000_000, 9_000_000, UTC0_US + 9_000_000, [{"feature": "roll_mean"}])


def alerting(r: Recorder, *findings: Finding) -> Arrival:
    return r.arrival(r.seal(records=findings, lane=Lane.alert))


def test_the_end_of_a_finding_completes_it(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    begun = replace(BEGUN, finding=new_id())
    ingest_hub.pipeline.handle([alerting(r, begun)])
    assert ingest_hub.rows(r.org_id, FOUND)[0][:3] == ("novelty", "warning", 1.2)
    ingest_hub.pipeline.handle([alerting(r, replace(ENDED, finding=begun.finding))])
    assert ingest_hub.rows(r.org_id, FOUND) == [WHOLE]
    assert ingest_hub.rows(r.org_id, ALERTS) == [("critical", 1, "motor_fail: score 4.5 over 1")]


@pytest.mark.parametrize("order", [*itertools.permutations(range(3)), (0, 0, 1, 2, 1), (2, 1, 0, 2)])
@pytest.mark.parametrize("together", [True, False])
def test_its_begin_and_end_may_come_in_any_order_and_again(
    ingest_hub: Hub, order: tuple[int, ...], together: bool
) -> None:
    r = ingest_hub.new_recorder()
    name = new_id()
    worse = replace(BEGUN, severity="warning", score=1.4)
    told = [replace(f, finding=name) for f in (BEGUN, worse, ENDED)]
    arrivals = [alerting(r, told[i]) for i in order]
    if together:
        ingest_hub.pipeline.handle(arrivals)
    else:
        for arrival in [*arrivals, *arrivals]:
            ingest_hub.pipeline.handle([arrival])
    assert ingest_hub.rows(r.org_id, FOUND) == [WHOLE]
    assert [(s, n) for s, n, _ in ingest_hub.rows(r.org_id, ALERTS)] == [("critical", 1)]


def test_begin_and_end_in_one_batch_are_one_finding(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    name = new_id()
    ingest_hub.pipeline.handle([alerting(r, replace(BEGUN, finding=name), replace(ENDED, finding=name))])
    assert ingest_hub.rows(r.org_id, FOUND) == [WHOLE]


def test_an_aircraft_cannot_change_the_finding_of_another(ingest_hub: Hub) -> None:
    mine = ingest_hub.new_recorder()
    other = ingest_hub.new_recorder(org_id=mine.org_id)
    name = new_id()
    ingest_hub.pipeline.handle([alerting(mine, replace(BEGUN, finding=name))])
    ingest_hub.pipeline.handle([alerting(other, replace(ENDED, finding=name))])
    assert ingest_hub.rows(mine.org_id, "SELECT aircraft_id, kind FROM findings") == [(mine.aircraft_id, "novelty")]


def test_what_an_aircraft_says_of_its_models_is_kept_once(ingest_hub: Hub) -> None:
    r = ingest_hub.new_recorder()
    report = ModelReport(7, 1_000_000, "canary", "edge 3", b"a" * 32, "edge 2", b"b" * 32, 60, 59, 1, 0, "withdrawn\0")
    arrival = r.arrival(r.seal(records=[report], lane=Lane.alert))
    for _ in range(2):
        ingest_hub.pipeline.handle([arrival])
    said = "SELECT number, at_utc_us, stage, active, other_digest, flown_s, agreed_s, detail FROM model_reports"
    assert ingest_hub.rows(r.org_id, said) == [
        (7, UTC0_US + 1_000_000, "canary", "edge 3", b"b" * 32, 60, 59, "withdrawn\N{REPLACEMENT CHARACTER}")
    ]
