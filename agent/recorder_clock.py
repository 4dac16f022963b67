"""The clocks of this machine: monotonic microseconds, the boot they belong to, is the wall clock disciplined."""

import ctypes
import time
import uuid
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC = 0x40
_TIME_ERROR = 5
_PROCESS_BOOT = uuid.uuid4()
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


class SystemClock(NamedTuple):
    """utc_us: us since 1970 as the system says. uncertainty_us: the kernel's own estimate of its error."""

    utc_us: int
    is_disciplined: bool
    uncertainty_us: int


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read; the padding is larger than any libc's rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def now_us() -> int:
    """Monotonic microseconds since this machine booted; no wall clock moves it."""
    return time.clock_gettime_ns(_CLOCK) // 1000


def machine_boot() -> uuid.UUID:
    """The id of this machine's boot (Linux); elsewhere one that lives as long as this process."""
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip())
    except (OSError, ValueError):
        return _PROCESS_BOOT


def system_clock() -> SystemClock:
    """What the wall clock says, and whether a time service (chrony, timesyncd, ntpd, ptp) vouches for it."""
    utc_us = time.time_ns() // 1000
    try:
        timex = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return SystemClock(utc_us, False, -1)
    good = state not in (-1, _TIME_ERROR) and not timex.status & _STA_UNSYNC
    return SystemClock(utc_us, good, int(timex.maxerror))
