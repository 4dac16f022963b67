"""Directives of the hub, enacted: recording policy, capture, hold, model. The pipeline carries them out.

A directive is enacted once, in order of version; an older one than the last is superseded. Each gets a DirectiveReport.
Bodies (all keys optional unless said):
  recording_policy  record "always"|"armed", live_interval_s, backlog_interval_s
  capture           before_s, after_s (default 30 each): seal at once, keep that span until the hub has it
  hold              session (16 bytes, needed), held (default true)
  model             digest (hex), stage "shadow"|"canary"|"fleet", size (all needed): answered once it is in force
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import cbor2

from agent.policy import Policy
from agent.recorder import Recorder
from agent.waiting import Now
from shared.receipt import Directive
from shared.records import DirectiveReport

_US = 1_000_000
MAX_CAPTURE_S = 3600


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """The directive cannot be enacted, and why."""

    why: str


class ModelTaker(Protocol):
    """agent.models.Models: what is needed of it here."""

    def is_pending(self, version: int) -> bool: ...
    def take(self, recorder: Recorder, directive: Directive, now: Now) -> None: ...


def enact(
    recorder: Recorder, directive: Directive, last_version: int, now: Now, models: ModelTaker | None = None
) -> int:
    """Carry a directive out and report it; returns the newest version enacted. A `model` is reported by `models`."""
    if directive.kind == "model" and models is not None and models.is_pending(directive.version):
        return max(last_version, directive.version)
    if directive.version <= last_version:
        if directive.version < last_version:
            _report(recorder, directive, "superseded", f"version {last_version} is in force", now)
        return last_version
    try:
        if directive.kind == "model":
            _model(recorder, directive, models, now)
            return directive.version
        enactment = {"recording_policy": _policy, "capture": _capture, "hold": _hold}.get(directive.kind)
        if enactment is None:
            raise Refusal(f"this agent does not know {directive.kind[:40]!r}")
        enactment(recorder, directive, now)
    except Refusal as refusal:
        _report(recorder, directive, "refused", refusal.why, now)
    return directive.version


def policy_from(values: dict[str, Any], policy: Policy) -> Policy:
    """The policy with the values of a recording_policy directive. Refusal when one is wrong."""
    record = values.get("record", policy.record)
    live_s = values.get("live_interval_s", policy.live_us / _US)
    backlog_s = values.get("backlog_interval_s", policy.backlog_us / _US)
    if record not in ("always", "armed"):
        raise Refusal("record: always or armed")
    if not (isinstance(live_s, int | float) and 0.5 <= live_s <= 30):
        raise Refusal("live_interval_s: 0.5 to 30")
    if not (isinstance(backlog_s, int | float) and 1 <= backlog_s <= 300):
        raise Refusal("backlog_interval_s: 1 to 300")
    return replace(policy, record=record, live_us=int(live_s * _US), backlog_us=int(backlog_s * _US))


def _report(recorder: Recorder, directive: Directive, state: str, detail: str, now: Now) -> None:
    recorder.report((_made(directive, state, detail, now),), now)


def _made(directive: Directive, state: str, detail: str, now: Now) -> DirectiveReport:
    return DirectiveReport(directive.version, directive.kind[:40], state, now.recorder_us, detail)


def _policy(recorder: Recorder, directive: Directive, now: Now) -> None:
    policy = policy_from(directive.body, recorder.policy)
    known = {k: directive.body[k] for k in ("record", "live_interval_s", "backlog_interval_s") if k in directive.body}
    recorder.set_policy(policy, _made(directive, "enacted", "", now), cbor2.dumps(known), now)


def _capture(recorder: Recorder, directive: Directive, now: Now) -> None:
    before_s, after_s = (directive.body.get(key, 30) for key in ("before_s", "after_s"))
    if not all(isinstance(s, int | float) and 0 <= s <= MAX_CAPTURE_S for s in (before_s, after_s)):
        raise Refusal(f"before_s, after_s: 0 to {MAX_CAPTURE_S}")
    recorder.seal_now(now)
    at = now.recorder_us
    pinned = recorder.pin(at - int(before_s * _US), at + int(after_s * _US), now)
    _report(recorder, directive, "enacted", f"{pinned} batches kept, and the next {after_s:g} s", now)


def _hold(recorder: Recorder, directive: Directive, now: Now) -> None:
    session, is_held = directive.body.get("session"), directive.body.get("held", True)
    if not isinstance(session, bytes) or len(session) != 16 or not isinstance(is_held, bool):
        raise Refusal("session: 16 bytes; held: true or false")
    holds = recorder.holds | {session} if is_held else recorder.holds - {session}
    recorder.set_holds(holds, _made(directive, "enacted", "", now), now)


def _model(recorder: Recorder, directive: Directive, models: ModelTaker | None, now: Now) -> None:
    if models is None:
        raise Refusal('released models are not taken here: [findings] bundle is not "packaged", or cannot be loaded')
    models.take(recorder, directive, now)
