"""The pipeline thread: frames from the source to the recorder, and what follows from them, ten times a second.

What the vehicle says decides where batches end; what the hub says (directives) and what the model says (findings) comes
in here too, so that the recorder has one caller.
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

from agent import directives
from agent.clock_model import ClockModel
from agent.companion import Companion
from agent.models import Models
from agent.offload import Offload
from agent.recorder import Recorder
from agent.recorder_clock import now_us, system_clock
from agent.sealing import LONGEST_US
from agent.source import BACKWARDS_US, Source, Taken
from agent.waiting import Now
from agent.watch import Sighting, Watch
from firmware_bridge.vehicle import VehicleTracker
from shared.clock import ClockSource
from shared.frames import Frames, join
from shared.receipt import Directive
from shared.records import Finding

log = logging.getLogger("dbx.pipeline")
_US = 1_000_000
PIN_US = 30 * _US
"""Full-rate data this long before and after a finding is kept until the hub has it."""
HURRIED_BYTES = 4 << 20
"""A log played in a hurry waits while this much is not receipted yet (or half of the quota, when that is less)."""


class Engine(Protocol):
    """agent.findings.FindingEngine, or whatever scores a second of frames."""

    def update(
        self, frames: Frames, vehicle: tuple[int, int] | None, armed: bool, session: uuid.UUID | None
    ) -> list[Finding]: ...
    def finish(self) -> list[Finding]: ...


class Pipeline:
    """See the module. One caller of `step`."""

    def __init__(
        self, source: Source, recorder: Recorder, clock: ClockModel, lost_after_us: int, companion: Companion,
        engine: Engine | None = None, has_statustext: bool = False, models: Models | None = None,
    ) -> None:  # fmt: skip
        self.recorder = recorder
        self.clock = clock
        session = recorder.state.session
        latched = (session.vehicle.sysid, session.vehicle.compid) if session else None
        self.watch = Watch(VehicleTracker(latched=latched))
        self.directives: deque[Directive] = deque()
        self.directive_version = 0
        self.is_hub_live: Callable[[], bool] = lambda: False
        self.companion = companion
        self.offload: Offload | None = None
        self.models = models
        self._source = source
        self._engine = engine
        self._has_statustext = has_statustext
        self._lost_after_us = lost_after_us
        self._second: list[Frames] = []
        self._told: uuid.UUID | None = None
        """The finding that the pilot was told of last."""
        self._slow_s = 0.0
        self._has_ended = False
        """Whether a log was played to its end: an armed vehicle opens no session after that."""
        self._since_us = self._now().recorder_us
        self._newest_us = recorder.state.covered_us

    def _now(self) -> Now:
        return Now(self._source.now_us(), now_us())

    def step(self) -> bool:
        """Take what came and do what is due. Whether anything came."""
        taken = self._source.take()
        now = self._now()
        self._note(taken)
        if len(taken.frames):
            self._record(taken, now)
        self._reconcile(now)
        if self.offload is not None:
            self.offload.look(self.watch.vehicle, self.watch.is_disarmed)
        while self.directives:
            self.directive_version = directives.enact(
                self.recorder, self.directives.popleft(), self.directive_version, now, self.models
            )  # fmt: skip
        if self.models is not None:
            self.models.step(self.recorder, self._is_surely_down(), now)
        self.recorder.is_live = self.is_hub_live() and not self._source.is_hurried
        if time.monotonic() - self._slow_s >= 1.0 or self._source.is_hurried:
            self._every_second(now)
        self.recorder.tick(now)
        return len(taken.frames) > 0

    def _is_surely_down(self) -> bool:
        """Whether the vehicle says that it is disarmed, and said so just now."""
        heard_us = self.watch.heard_us
        is_fresh = heard_us is not None and self._source.now_us() - heard_us <= self._lost_after_us
        return self.watch.is_disarmed and self.recorder.state.session is None and is_fresh

    def finish(self) -> None:
        """Drain the source and put everything on disk (a session that is open goes on at the next start)."""
        taken = self._source.take()
        self._note(taken)
        if len(taken.frames):
            self._record(taken, self._now())
        self._every_second(self._now())
        self._end_findings()
        self.recorder.finish(self._now())

    def end_of_log(self) -> bool:
        """The log is at its end."""
        self._every_second(self._now())
        self._end_findings()
        self._has_ended = True
        return self.recorder.end_of_log(self._now())

    def apply_receipts(self) -> None:
        """Delete receipted batches now."""
        self.recorder.apply_receipts(self._now())

    def _note(self, taken: Taken) -> None:
        if taken.bad_crc or taken.junk_bytes:
            self.recorder.saw_damage(taken.bad_crc, taken.junk_bytes)
        if taken.overflow is not None:
            self.recorder.lost("link_overflow", taken.overflow)

    def _record(self, taken: Taken, now: Now) -> None:
        """Give the frames to the recorder, with a batch boundary where the vehicle arms, disarms or reboots."""
        frames = self._to_record(taken.frames)
        if not len(frames):
            return
        self._cross_jump(int(frames.time_us[0]), now)
        self._newest_us = int(frames.time_us[-1])
        sightings, samples = self.watch.update(frames)
        self.recorder.vehicle = self.watch.vehicle
        for at_us, utc_us in samples:
            self.clock.observe_gps(at_us, utc_us)
        done, first = 0, None if taken.position is None else taken.position - len(frames)
        for sighting in sightings:
            if sighting.kind != "mode":
                self._add(frames, done, sighting.index, first, now)
                done = max(done, sighting.index)
                self._cross(sighting, now)
        self._add(frames, done, len(frames), first, now)
        if any(s.kind == "mode" for s in sightings):
            self.recorder.journal_now(now)
        self._second.append(frames)

    def _to_record(self, frames: Frames) -> Frames:
        """The frames without an offload's answers, whose content is kept as a log."""
        vehicle = self.watch.vehicle
        if self.offload is None or vehicle is None:
            return frames
        frames, count = self.offload.leave_out(frames)
        if count:
            self.recorder.left_out((vehicle.sysid, vehicle.compid), count)
        return frames

    def _add(self, frames: Frames, start: int, stop: int, first: int | None, now: Now) -> None:
        if stop > start:
            self.recorder.add(frames.slice(start, stop), now, None if first is None else first + stop)

    def _cross(self, sighting: Sighting, now: Now) -> None:
        """A boundary: the vehicle armed, disarmed or rebooted."""
        log.info("vehicle", extra={"change": sighting.kind, "at_us": sighting.time_us})
        vehicle = self.watch.vehicle
        if sighting.kind == "armed" and vehicle is not None:
            self.recorder.arm(vehicle, sighting.time_us, now)
        elif sighting.kind == "disarmed":
            self.recorder.disarm("disarmed", sighting.time_us, now)
        elif sighting.kind == "reboot":
            self.recorder.new_boot(now)
            self.clock.forget()
            self.companion.ask_again()
            if self.offload is not None:
                self.offload.rebooted()

    def _cross_jump(self, first_us: int, now: Now) -> None:
        """A boundary where a log's clock jumps: back, it has begun anew, and no time may be covered twice; far ahead,
        it is silence, as on a live link."""
        jump_us = 0 if self._newest_us is None else first_us - self._newest_us
        if jump_us < -BACKWARDS_US:
            self.recorder.new_boot(now, reason="clock_reset")
            self.clock.forget()
        elif jump_us > self._lost_after_us:
            self.recorder.disarm("link_lost", None, now)

    def _reconcile(self, now: Now) -> None:
        """Session and vehicle must agree, also after a restart, a failed write or a silent link."""
        vehicle, is_open = self.watch.vehicle, self.recorder.state.session is not None
        heard_us = self._since_us if self.watch.heard_us is None else self.watch.heard_us
        is_lost = now.recorder_us - heard_us > self._lost_after_us
        if is_open and is_lost:
            self.recorder.disarm("link_lost", None, now)
        elif vehicle is None or is_lost or self._has_ended:
            return
        elif self.watch.is_armed and not is_open and abs(heard_us) < LONGEST_US:  # else the stamp is damaged
            self.recorder.arm(vehicle, heard_us, now)
        elif is_open and self.watch.is_disarmed:
            self.recorder.disarm("disarmed", heard_us, now)

    def _every_second(self, now: Now) -> None:
        self._slow_s = time.monotonic()
        frames, self._second = join(self._second), []
        if self.clock.log is False:
            seen = system_clock()
            self.clock.observe_system(now_us(), seen.utc_us, seen.is_disciplined, seen.uncertainty_us)
        self.companion.every_second(self.watch.vehicle, is_healthy=not self.recorder.write_failed)
        if self._engine is not None and len(frames):
            self._find(self._engine, frames, now)

    def _find(self, engine: Engine, frames: Frames, now: Now) -> None:
        session, vehicle = self.recorder.state.session, self.watch.vehicle
        address = (vehicle.sysid, vehicle.compid) if vehicle else None
        found = engine.update(frames, address, self.watch.is_armed, session.session if session else None)
        self._raise(found, now)

    def _end_findings(self) -> None:
        """What is open ends with the log or this process."""
        if self._engine is not None:
            self._raise(self._engine.finish(), self._now())

    def _raise(self, found: list[Finding], now: Now) -> None:
        """Send findings, keep the data around them, and tell the pilot of those that begin."""
        for finding in found:
            self.recorder.pin(finding.start_us - PIN_US, finding.end_us + PIN_US, now)
            if self._has_statustext and finding.finding != self._told:
                self.companion.tell_pilot(finding.severity, f"DBX {finding.kind} {finding.score:.2f}")
            self._told = finding.finding
        if found:
            self.recorder.report(tuple(found), now)


def clock_name(clock: ClockModel) -> str:
    """The best source of UTC known now."""
    return ClockSource(clock.source()).name
