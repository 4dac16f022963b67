"""Released models on board: what is on disk, when it is switched, what is reported, when it is withdrawn."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent import directives
from agent.hub_https import HubRefuses
from agent.models import Models
from agent.models_shelf import Choice, Shelf, Wanted
from agent.models_trial import MOST_FINDINGS, MOST_TIMES, Trial, trial_from
from shared.frames import Frames
from shared.receipt import Directive
from shared.scoring import packaged_bundle, read_keys
from tests.fix_models import Released, ReleaseKey
from tests.fix_recorder import Bench

AUTOPILOT = (1, 1)
WOLF = 0.01
"""A threshold that healthy flights are above all the time."""


@dataclass
class Board:
    """An agent's models, without its threads."""

    bench: Bench
    key: ReleaseKey
    hub: dict[str, bytes | OSError] = field(default_factory=dict)
    version: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.models = self.start()

    @property
    def folder(self) -> Path:
        return self.bench.path.parent

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.folder, [*read_keys(), self.key.public])

    def start(self) -> Models:
        """Start (again) on the same folder."""
        shelf = self.shelf
        self.models = Models(shelf, shelf.open(), self._fetch)
        return self.models

    def _fetch(self, path: str) -> bytes:
        self.asked += 1
        found = self.hub[path.rpartition("/")[2]]
        if isinstance(found, OSError):
            raise found
        return found

    def direct(self, bundle: Released, stage: str, **changes: Any) -> int:
        """A directive comes; its version."""
        self.version += 1
        self.hub.setdefault(bundle.digest.hex(), bundle.data)
        body = {"digest": bundle.digest.hex(), "stage": stage, "size": len(bundle.data)} | changes
        self.repeat(self.version, body)
        return self.version

    def repeat(self, version: int, body: dict[str, Any], kind: str = "model", last: int = 0) -> None:
        directive = Directive(self.bench.stream, version, kind, body, 0)
        directives.enact(self.bench.recorder, directive, last, self.bench.now, self.models)

    def fetch(self) -> bool:
        """What the models thread does, once."""
        wanted = self.models._choice.wanted
        return wanted is not None and self.models._prepare(wanted)

    def step(self, is_disarmed: bool = True) -> None:
        self.models.step(self.bench.recorder, is_disarmed, self.bench.now)

    def release(self, bundle: Released, stage: str) -> None:
        self.direct(bundle, stage)
        self.fetch()
        self.step()

    def fly(self, frames: Frames, times: int = 1) -> None:
        span_us = int(frames.time_us[-1] - frames.time_us[0]) + 60_000_000
        for i in range(times):
            flight = Frames(frames.data, frames.offsets, frames.time_us + i * span_us)
            self.models.engine.update(flight, AUTOPILOT, True, None)
            self.models.engine.finish()

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.bench.records() if r["type"] == kind]

    @property
    def answers(self) -> list[tuple[int, str]]:
        return [(r["version"], r["state"]) for r in self.said("directive_report")]

    @property
    def in_force(self) -> tuple[str, str, str]:
        """(stage, model, the other one)."""
        status = self.models.status()
        return status["stage"], status["model"], status["other"]


@pytest.fixture
def board(bench: Bench, release_key: ReleaseKey) -> Board:
    return Board(bench, release_key)


PACKAGED = packaged_bundle().name


def test_a_release_waits_until_the_vehicle_is_disarmed(board: Board) -> None:
    bundle = board.key.bundle("3")
    version = board.direct(bundle, "canary")
    assert board.fetch()
    board.step(is_disarmed=False)
    assert (board.in_force, board.answers) == (("packaged", PACKAGED, ""), [])
    board.step()
    assert board.in_force == ("canary", "edge 3", PACKAGED)
    assert board.answers == [(version, "enacted")]
    report = board.said("model_report")[-1]
    assert (report["active"], report["active_digest"], report["stage"]) == ("edge 3", bundle.digest, "canary")
    assert report["other"] == PACKAGED


def test_stages_follow_each_other_and_survive_a_restart(board: Board) -> None:
    bundle = board.key.bundle("3")
    for stage, expected in (
        ("shadow", ("shadow", PACKAGED, "edge 3")),
        ("canary", ("canary", "edge 3", PACKAGED)),
        ("fleet", ("fleet", "edge 3", "")),
    ):
        board.release(bundle, stage)
        assert board.in_force == expected
        board.start()
        assert board.in_force == expected
    assert board.asked == 1, "what is on disk is not fetched again"


def test_the_next_release_is_compared_with_what_the_fleet_has(board: Board) -> None:
    board.release(board.key.bundle("3"), "fleet")
    board.release(board.key.bundle("4"), "canary")
    assert board.in_force == ("canary", "edge 4", "edge 3")
    board.release(board.key.bundle("5"), "canary")
    assert board.in_force == ("canary", "edge 5", "edge 3"), "a canary is not trusted"
    kept = {p.stem for p in (board.folder / "models").glob("*.bundle")}
    assert kept == {board.key.bundle(v).digest.hex() for v in "35"}


def test_a_model_that_cries_wolf_is_withdrawn_after_the_flight(board: Board, gusty_flight: Frames) -> None:
    board.release(board.key.bundle("3", threshold=WOLF), "canary")
    board.fly(gusty_flight, MOST_FINDINGS + 1)
    board.step(is_disarmed=False)
    assert board.in_force[0] == "canary", "never switched while armed"
    board.step()
    assert board.in_force == ("packaged", PACKAGED, "")
    assert "edge 3 withdrawn: 4 findings against 0" in board.said("model_report")[-1]["detail"]
    board.start()
    assert board.in_force == ("packaged", PACKAGED, "")


def test_a_shadow_that_cries_wolf_is_withdrawn_too_and_raised_nothing(board: Board, gusty_flight: Frames) -> None:
    board.release(board.key.bundle("3", threshold=WOLF), "shadow")
    board.fly(gusty_flight, MOST_FINDINGS)
    board.step()
    assert board.in_force == ("shadow", PACKAGED, "edge 3")
    board.fly(gusty_flight, 1)
    board.step()
    assert board.in_force == ("packaged", PACKAGED, "")


def test_how_two_models_agree_is_told_after_each_flight(board: Board, gusty_flight: Frames) -> None:
    board.release(board.key.bundle("3"), "shadow")
    board.fly(gusty_flight)
    before = len(board.said("model_report"))
    board.step()
    board.step()
    assert len(board.said("model_report")) == before + 1
    report = board.said("model_report")[-1]
    assert report["flown_s"] >= 20
    assert report["agreed_s"] == report["flown_s"]
    flown_s = report["flown_s"]
    board.start()
    board.fly(gusty_flight)
    assert board.models.engine.trial.flown_s == 2 * flown_s


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b.data[:-1], "bundle_size"),
        (lambda b: b.data[:-1] + bytes([b.data[-1] ^ 1]), "bad_signature"),
        (lambda b: HubRefuses(404, "Not Found"), "404"),
    ],
)
def test_a_bundle_that_is_not_what_was_released_is_refused(
    board: Board, change: Callable[[Released], bytes | OSError], why: str
) -> None:
    bundle = board.key.bundle("3")
    board.hub[bundle.digest.hex()] = change(bundle)
    version = board.direct(bundle, "fleet")
    assert board.fetch()
    board.step(is_disarmed=False)
    assert board.answers == [(version, "refused")]
    assert why in board.said("directive_report")[0]["detail"]
    assert board.in_force == ("packaged", PACKAGED, "")


def test_a_bundle_of_another_release_is_refused(board: Board) -> None:
    bundle, other = board.key.bundle("3"), board.key.bundle("4")
    board.hub[bundle.digest.hex()] = other.data
    board.direct(bundle, "fleet", size=len(other.data))
    assert board.fetch()
    board.step()
    assert "bundle_digest" in board.said("directive_report")[0]["detail"]


@pytest.mark.parametrize("trouble", [OSError("no route"), HubRefuses(503, "busy"), HubRefuses(401, "who")])
def test_a_hub_out_of_reach_is_asked_again(board: Board, trouble: OSError) -> None:
    bundle = board.key.bundle("3")
    board.hub[bundle.digest.hex()] = trouble
    version = board.direct(bundle, "fleet")
    assert not board.fetch()
    board.step()
    assert board.answers == []
    board.hub[bundle.digest.hex()] = bundle.data
    assert board.fetch()
    board.step()
    assert board.answers == [(version, "enacted")]


@pytest.mark.parametrize(
    "changes", [{"digest": "00"}, {"digest": 5}, {"size": 0}, {"size": 1 << 40}, {"size": "9"}, {"size": None}]
)
def test_a_directive_of_the_wrong_shape_is_refused(board: Board, changes: dict[str, Any]) -> None:
    version = board.direct(board.key.bundle("3"), "fleet", **changes)
    assert board.answers == [(version, "refused")]


def test_a_stage_that_is_not_known_is_refused(board: Board) -> None:
    version = board.direct(board.key.bundle("3"), "everywhere")
    assert board.answers == [(version, "refused")]


def test_a_newer_release_supersedes_one_that_waits(board: Board) -> None:
    first = board.direct(board.key.bundle("3"), "fleet")
    board.fetch()
    second = board.direct(board.key.bundle("4"), "fleet")
    board.fetch()
    board.step()
    assert board.answers == [(first, "superseded"), (second, "enacted")]
    assert board.in_force == ("fleet", "edge 4", "")


def test_a_release_in_hand_is_not_answered_when_it_is_heard_again(board: Board) -> None:
    bundle = board.key.bundle("3")
    version = board.direct(bundle, "fleet")
    body = {"digest": bundle.digest.hex(), "stage": "fleet", "size": len(bundle.data)}
    board.start()
    board.repeat(version, body, last=version + 5)
    assert board.answers == []
    assert board.fetch()
    board.step()
    assert board.answers == [(version, "enacted")]


def test_a_release_that_was_answered_is_not_enacted_again_after_it_was_withdrawn(
    board: Board, gusty_flight: Frames
) -> None:
    bundle = board.key.bundle("3", threshold=WOLF)
    board.release(bundle, "canary")
    board.fly(gusty_flight, MOST_FINDINGS + 1)
    board.step()
    board.start()
    board.repeat(1, {"digest": bundle.digest.hex(), "stage": "canary", "size": len(bundle.data)})
    assert not board.fetch()
    assert board.answers == [(1, "enacted")]
    assert board.in_force == ("packaged", PACKAGED, "")


def test_without_models_a_release_is_refused(board: Board) -> None:
    directive = Directive(board.bench.stream, 1, "model", {}, 0)
    directives.enact(board.bench.recorder, directive, 0, board.bench.now, None)
    assert board.answers == [(1, "refused")]


def test_a_full_disk_changes_nothing(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = board.key.bundle("3")
    board.direct(bundle, "canary")
    board.fetch()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        board.step()
    assert board.in_force == ("packaged", PACKAGED, "")
    board.step()
    assert board.in_force == ("canary", "edge 3", PACKAGED)


# --- the disk


def test_a_file_torn_anywhere_falls_back_and_says_so(board: Board) -> None:
    board.release(board.key.bundle("3"), "canary")
    folder = board.folder / "models"
    whole = {p: p.read_bytes() for p in folder.iterdir()}
    for path, data in whole.items():
        for size in {0, 1, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:size])
            loaded = board.shelf.open()
            assert (loaded.active.name, loaded.other) == (PACKAGED, None)
            assert loaded.trouble
            path.write_bytes(data)
    assert board.shelf.open().active.name == "edge 3"


def test_a_torn_bundle_of_the_fleet_falls_back_to_the_one_before(board: Board) -> None:
    board.release(board.key.bundle("3"), "fleet")
    board.release(board.key.bundle("4"), "fleet")
    digest = bytes.fromhex(board.models.status()["digest"])
    (board.folder / "models" / f"{digest.hex()}.bundle").write_bytes(b"")
    board.start()
    assert board.in_force == ("fleet", "edge 3", "")
    board.step(is_disarmed=False)
    assert "not loaded" in board.said("model_report")[-1]["detail"]


def test_a_kill_between_any_two_writes_leaves_a_model_in_force(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends at each of its renames in turn; the next start finishes the work and answers."""
    bundle = board.key.bundle("3")
    rename = Path.replace
    for kill_at in itertools.count():
        board.direct(bundle, "canary" if kill_at % 2 else "fleet")
        left = itertools.count()

        def dying(self: Path, target: Path, left: Any = left, kill_at: int = kill_at) -> Path:
            if next(left) == kill_at:
                raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            try:
                board.fetch()
                board.step()
                is_killed = False
            except KeyboardInterrupt:
                is_killed = True
        assert board.start().trouble == ""
        assert board.in_force[1] in (PACKAGED, "edge 3")
        board.fetch()
        board.step()
        assert board.in_force[1] == "edge 3"
        assert board.answers[-1] == (board.version, "enacted")
        if not is_killed:
            return


def test_a_choice_survives_the_disk(board: Board) -> None:
    three, four = board.key.bundle("3"), board.key.bundle("4")
    board.shelf.put(three.digest, three.data)
    board.shelf.put(four.digest, four.data)
    wanted = Wanted(9, four.digest, "fleet", len(four.data))
    choice = Choice("canary", four.digest, three.digest, Trial(100, 99, 2, 1), wanted, 7, 8)
    board.shelf.save(choice)
    assert board.shelf.open().choice == choice
    board.shelf.save(replace(choice, wanted=None).withdrawn())
    assert board.shelf.open().choice == Choice("fleet", three.digest, number=7, answered=8)


# --- the rule


def test_the_newer_model_is_withdrawn_from_so_many_findings_on() -> None:
    few = Trial(3600, 3000, active=1, other=MOST_FINDINGS)
    assert few.why_withdrawn(is_active_newer=False) == ""
    assert replace(few, active=0, other=MOST_FINDINGS + 1).why_withdrawn(is_active_newer=False)
    assert replace(few, active=2, other=2 * MOST_TIMES).why_withdrawn(is_active_newer=False) == ""
    assert replace(few, active=2, other=2 * MOST_TIMES + 1).why_withdrawn(is_active_newer=False)
    assert replace(few, active=2, other=2 * MOST_TIMES + 1).why_withdrawn(is_active_newer=True) == ""


@pytest.mark.parametrize("body", [{}, {"flown_s": -1, "agreed_s": 0, "active": 0, "other": 0}, {"flown_s": "1"}])
def test_a_trial_of_nonsense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a trial"):
        trial_from(body)
