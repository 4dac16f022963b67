"""Time. Frames carry the recorder's monotonic microseconds; how those map to UTC is data, sent with its uncertainty."""

from dataclasses import dataclass
from enum import IntEnum


class ClockSource(IntEnum):
    """Where a mapping to UTC comes from; a higher number is better."""

    unknown = 0
    system = 1
    log = 2
    gps = 3


@dataclass(frozen=True, slots=True)
class TimeMapping:
    """utc_us = time_us - mono_us + utc_us, for one boot of the recorder.

    mono_us: a moment on the recorder's clock, us. utc_us: the same moment in us since 1970 UTC; None when unknown.
    uncertainty_us: half-width of what is believed (0 for a recording's own stamps, -1 when unknown).
    """

    source: ClockSource
    mono_us: int
    utc_us: int | None
    uncertainty_us: int

    def to_utc(self, time_us: int) -> int | None:
        """UTC in us since 1970 of a recorder time; None when the mapping is unknown."""
        return None if self.utc_us is None else time_us - self.mono_us + self.utc_us

    def offset_us(self) -> int:
        """What to add to recorder times to get UTC; 0 when unknown (so unknown times show as 1970)."""
        return 0 if self.utc_us is None else self.utc_us - self.mono_us


UNKNOWN = TimeMapping(ClockSource.unknown, 0, None, -1)
