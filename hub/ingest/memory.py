"""Memory that a group of batches needed is kept for the next: given back, the kernel would have to clear it anew.

Arrays of some hundred kB come and go hundreds of times per group. By default glibc maps and unmaps each, and every page
is then cleared and faulted in again: a quarter of the time of decoding.
"""

import ctypes
import logging

log = logging.getLogger("dbx.ingest")
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
KEPT_BYTES = 256 << 20
"""At most as much free memory stays with the process."""
MAPPED_FROM_BYTES = 32 << 20
"""Only larger pieces are mapped on their own; malloc takes no greater value."""


def keep_freed_memory() -> bool:
    """Tell malloc so, before threads begin; False where it does not take it (another C library than glibc)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES))
    for name, value in settings:
        if mallopt(ctypes.c_int(name), ctypes.c_int(value)) != 1:
            log.info("malloc does not take a setting", extra={"number": name, "value": value})
            return False
    return True
