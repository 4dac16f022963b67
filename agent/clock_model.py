"""How the recorder's clock maps to UTC: GPS time by SYSTEM_TIME first, then a disciplined system clock, else unknown.

Recorder time is the monotonic clock of one boot and never follows a wall clock, so a jump of the wall clock changes the
mapping (data) and no time of any frame. Pure: what was seen is passed in.

A frame arrives late, never early: of the recent offsets `utc - recorder` the greatest is nearest to the truth, and what
they differ by is the uncertainty (the clock filter of RFC 5905, section 10, for one-way samples).
"""

from collections import deque
from dataclasses import dataclass, field

from shared.clock import ClockSource, TimeMapping

EARLIEST_US = 1_577_836_800_000_000
"""2020-01-01: a wall clock before this is not set."""
LATEST_US = 4_102_444_800_000_000
"""2100-01-01."""
STEP_US = 500_000
"""Offsets that differ more than this are another setting of the clock, not delay."""
WINDOW = 32
MIN_UNCERTAINTY_US = 1_000


def is_plausible(utc_us: int) -> bool:
    """Whether a wall clock that says this may have been set by somebody who knows."""
    return EARLIEST_US <= utc_us < LATEST_US


@dataclass(slots=True)
class ClockModel:
    """The mappings of one boot. log: the recorder's times are a recording's own UTC stamps; nothing else counts."""

    log: bool = False
    _offsets: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _strays: deque[int] = field(default_factory=lambda: deque(maxlen=3))
    _gps_at: int = 0
    _system: TimeMapping | None = None

    def observe_gps(self, time_us: int, utc_us: int) -> None:
        """SYSTEM_TIME of the autopilot said utc_us in a frame received at time_us. 0 and nonsense are ignored.

        A step counts only when three samples in a row agree on it.
        """
        if not is_plausible(utc_us):
            return
        offset = utc_us - time_us
        if self._offsets and abs(offset - max(self._offsets)) > STEP_US:
            self._strays.append(offset)
            if len(self._strays) < 3 or max(self._strays) - min(self._strays) > STEP_US:
                return
            self._offsets.clear()
            self._offsets.extend(self._strays)
        else:
            self._offsets.append(offset)
        self._strays.clear()
        self._gps_at = time_us

    def observe_system(self, time_us: int, utc_us: int, is_disciplined: bool, uncertainty_us: int) -> None:
        """The system clock says utc_us at time_us; is_disciplined: a time service vouches for it."""
        good = is_disciplined and is_plausible(utc_us)
        self._system = TimeMapping(ClockSource.system, time_us, utc_us, max(uncertainty_us, 0)) if good else None

    def mappings(self) -> tuple[TimeMapping, ...]:
        """What is known now, best last; empty when nothing is."""
        if self.log:
            return (TimeMapping(ClockSource.log, 0, 0, 0),)
        known = [self._system] if self._system else []
        if self._offsets:
            best = max(self._offsets)
            spread = max(best - min(self._offsets), MIN_UNCERTAINTY_US)
            known.append(TimeMapping(ClockSource.gps, self._gps_at, self._gps_at + best, spread))
        return tuple(known)

    def source(self) -> ClockSource:
        """The best source known."""
        known = self.mappings()
        return known[-1].source if known else ClockSource.unknown

    def forget(self) -> None:
        """The recorder's clock begins anew (another boot)."""
        self._offsets.clear()
        self._strays.clear()
        self._system = None
