"""An error that repeats: said at once, then every 30 s with its count, and once more when it is over."""

import logging
import time
from collections.abc import Callable

AGAIN_S = 30.0


class Repeated:
    """failing, recovered: constant event texts; what changes goes into fields."""

    def __init__(
        self, log: logging.Logger, failing: str, recovered: str, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._failing = failing
        self._recovered = recovered
        self._clock_s = clock_s
        self._count = 0
        self._since_s = 0.0
        self._said_s = 0.0

    def failed(self, error: str, **fields: object) -> None:
        """It failed (again)."""
        now_s = self._clock_s()
        self._count += 1
        if self._count == 1:
            self._since_s = now_s
        elif now_s - self._said_s < AGAIN_S:
            return
        self._said_s = now_s
        self._log.warning(self._failing, extra={"error": error, "times": self._count, **fields})

    def worked(self) -> None:
        """It works (again)."""
        if self._count:
            lasted = round(self._clock_s() - self._since_s, 1)
            self._log.info(self._recovered, extra={"times": self._count, "after_s": lasted})
        self._count = 0
