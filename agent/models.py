"""Released models: fetched, checked, compared, put in force while disarmed, and withdrawn when they cry wolf.

The models thread fetches and loads; the pipeline thread alone switches, and reports. Rules: docs/models.md, "Release".
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from typing import Any

from agent.directives import Refusal
from agent.findings import FindingEngine
from agent.hub_https import HubRefuses
from agent.models_shelf import STAGES, Choice, Loaded, Shelf, Wanted
from agent.recorder import Recorder
from agent.repeated import Repeated
from agent.waiting import Now
from shared.errors import Refused
from shared.receipt import Directive
from shared.records import DirectiveReport, ModelReport
from shared.scoring import MAX_BUNDLE_BYTES, Bundle

log = logging.getLogger("dbx.models")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
_GONE = (403, 404, 410)
"""Answers of the hub that asking again does not change."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A wanted release that is on disk and loaded (bundle), or why it never will be."""

    wanted: Wanted
    bundle: Bundle | None
    why: str = ""


class Models:
    """See the module. `take`, `step`, `status` are the pipeline thread's, `run` is the models thread's."""

    def __init__(self, shelf: Shelf, loaded: Loaded, fetch: Callable[[str], bytes]) -> None:
        """fetch: an answer of the hub to a device's GET (OSError)."""
        self.engine = FindingEngine(loaded.active, loaded.other, loaded.choice.trial)
        self._shelf, self._fetch = shelf, fetch
        self._choice = loaded.choice
        self._ready: _Ready | None = None
        self._news = threading.Event()
        self._trouble = Repeated(log, "model not switched", "model switched")
        self._fetch_trouble = Repeated(log, "model not fetched", "model fetched")
        self.trouble = loaded.trouble
        self._untold = loaded.trouble

    # --- pipeline thread

    def is_pending(self, version: int) -> bool:
        """Whether this directive is in hand, or answered: the hub says it again until it has heard the answer."""
        is_wanted = self._choice.wanted is not None and self._choice.wanted.version == version
        return is_wanted or version <= self._choice.answered

    @property
    def newest_version(self) -> int:
        """Of the directives that are in hand or answered."""
        wanted = self._choice.wanted
        return max(self._choice.answered, wanted.version if wanted else 0)

    def take(self, recorder: Recorder, directive: Directive, now: Now) -> None:
        """Begin with a `model` directive; one that waits is superseded. Refusal."""
        wanted, before = _wanted(directive), self._choice.wanted
        if before is not None:
            detail = f"version {directive.version} came"
            recorder.report((DirectiveReport(before.version, "model", "superseded", now.recorder_us, detail),), now)
        try:
            self._keep(replace(self._choice, wanted=wanted))
        except OSError as e:
            raise Refusal(f"the disk refuses: {e}"[:200]) from None
        self._ready = None
        self._news.set()

    def step(self, recorder: Recorder, is_disarmed: bool, now: Now) -> None:
        """Switch, withdraw and report what is due; switch only while the vehicle says that it is disarmed."""
        ready, wanted = self._ready, self._choice.wanted
        try:
            if self._untold:
                self._tell(recorder, now, self._untold)
                self._untold = ""
            if ready is not None and ready.wanted == wanted:
                if ready.bundle is None:
                    self._answer(recorder, wanted, "refused", ready.why, now)
                elif is_disarmed:
                    self._switch(recorder, ready.bundle, wanted, now)
            elif is_disarmed:
                self._settle(recorder, now)
            self._trouble.worked()
        except OSError as e:
            self._trouble.failed(str(e))

    def _switch(self, recorder: Recorder, bundle: Bundle, wanted: Wanted, now: Now) -> None:
        """On disk first, so that a kill finds the one or the other; then here; then the hub is told."""
        choice = self._choice.released(wanted)
        try:
            older = None if choice.stage == "fleet" else self._older(choice)
        except Refused as e:
            self._answer(recorder, wanted, "refused", f"the bundle to compare it with cannot be loaded: {e}", now)
            return
        self._keep(choice)
        active, other = (older, bundle) if older is not None and wanted.stage == "shadow" else (bundle, older)
        self.engine.use(active, other, choice.trial)
        self.trouble = ""
        log.info("model", extra={"model": bundle.name, "stage": wanted.stage, "digest": wanted.digest.hex()})
        self._answer(recorder, wanted, "enacted", f"{bundle.name}: {wanted.stage}", now)

    def _older(self, choice: Choice) -> Bundle:
        """The bundle that the newer one is compared with. OSError, Refused."""
        if choice.older == self._choice.active:
            return self.engine.active.bundle
        if self.engine.other is not None and self._choice.other == (choice.older,):
            return self.engine.other.bundle
        return self._shelf.load(choice.older)

    def _answer(self, recorder: Recorder, wanted: Wanted, state: str, detail: str, now: Now) -> None:
        recorder.report((DirectiveReport(wanted.version, "model", state, now.recorder_us, detail),), now)
        self._ready = None
        if state == "refused":
            log.warning("model refused", extra={"why": detail})
            self.trouble = detail
        self._choice = replace(self._choice, wanted=None, answered=max(wanted.version, self._choice.answered))
        self._tell(recorder, now, detail)

    def _settle(self, recorder: Recorder, now: Now) -> None:
        """After a flight: tell how two models compared; withdraw the newer one when it cries wolf."""
        is_newer_active = self._choice.stage == "canary"
        if self.engine.other is None:
            return
        why = self.engine.trial.why_withdrawn(is_newer_active)
        if self.engine.trial.flown_s != self._choice.trial.flown_s:
            self._tell(recorder, now, why)  # with the figures that lead to it
        if not why:
            return
        newer, older = self.engine.active.bundle, self.engine.other.bundle
        newer, older = (newer, older) if is_newer_active else (older, newer)
        self._keep(self._choice.withdrawn())
        self.engine.use(older)
        self.trouble = f"{newer.name} withdrawn: {why}"
        log.warning("model withdrawn", extra={"model": newer.name, "why": why})
        self._tell(recorder, now, self.trouble)

    def _tell(self, recorder: Recorder, now: Now, detail: str) -> None:
        """Say what is in force, and remember that it was said."""
        self._keep(replace(self._choice, number=self._choice.number + 1, trial=self.engine.trial))
        active, other, trial = self.engine.active.bundle, self.engine.other, self.engine.trial
        report = ModelReport(
            self._choice.number, now.recorder_us, self._choice.stage, active.name, active.digest,
            other.bundle.name if other else "", other.bundle.digest if other else None, trial.flown_s, trial.agreed_s,
            trial.active, trial.other, detail[:1000],
        )  # fmt: skip
        recorder.report((report,), now)

    def _keep(self, choice: Choice) -> None:
        self._shelf.save(choice)
        self._choice = choice

    def status(self) -> dict[str, Any]:
        """For `dbx agent status`."""
        active, other, wanted = self.engine.active.bundle, self.engine.other, self._choice.wanted
        trial = asdict(self.engine.trial)
        return {
            "model": active.name, "digest": active.digest.hex(), "stage": self._choice.stage,
            "other": other.bundle.name if other else "", "trial": {k: trial[k] for k in _FIGURES} if other else None,
            "wanted": wanted.digest.hex() if wanted else "", "trouble": self.trouble,
        }  # fmt: skip

    # --- models thread

    def run(self, stop: threading.Event) -> None:
        """Fetch what is wanted, until stop; the hub is asked again, ever more rarely, while it cannot be reached."""
        pause_s = FIRST_PAUSE_S
        while not stop.is_set():
            wanted = self._choice.wanted
            if wanted is None or (self._ready is not None and self._ready.wanted == wanted):
                pause_s = FIRST_PAUSE_S
                self._news.wait(0.5)
                self._news.clear()
            elif not self._prepare(wanted):
                if self._news.wait(pause_s) or stop.is_set():
                    self._news.clear()
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def wake(self) -> None:
        """Stop waiting, at the process's end."""
        self._news.set()

    def _prepare(self, wanted: Wanted) -> bool:
        """Have a wanted bundle on disk and loaded. False: later."""
        try:
            ready = _Ready(wanted, self._loaded(wanted))
        except Refused as e:
            ready = _Ready(wanted, None, str(e))
        except HubRefuses as e:
            if e.status not in _GONE:
                self._fetch_trouble.failed(str(e))
                return False
            ready = _Ready(wanted, None, f"the bundle cannot be had: {e}")
        except (OSError, ValueError, KeyError, HTTPException) as e:
            self._fetch_trouble.failed(str(e))
            return False
        self._fetch_trouble.worked()
        self._ready = ready
        return True

    def _loaded(self, wanted: Wanted) -> Bundle:
        try:
            return self._shelf.load(wanted.digest)
        except (OSError, Refused):  # not fetched yet, or torn
            data = self._fetch(f"/v1/device/models/{wanted.digest.hex()}")
        if len(data) != wanted.size:
            raise Refused("bundle_size", f"{len(data)} bytes instead of {wanted.size}")
        bundle = self._shelf.check(data, wanted.digest)
        self._shelf.put(wanted.digest, data)
        return bundle


_FIGURES = ("flown_s", "agreed_s", "active", "other")


def _wanted(directive: Directive) -> Wanted:
    body = directive.body
    digest, stage, size = body.get("digest"), body.get("stage"), body.get("size")
    try:
        raw = bytes.fromhex(digest) if isinstance(digest, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != 32 or stage not in STAGES or type(size) is not int or not 0 < size <= MAX_BUNDLE_BYTES:
        raise Refusal(f"digest: 64 hex digits; stage: {', '.join(STAGES)}; size: at most {MAX_BUNDLE_BYTES}")
    return Wanted(directive.version, raw, stage, size)
