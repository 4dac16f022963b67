"""Token buckets: how often one key, or one address, may ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer of a bucket. remaining: whole requests left now; reset_s: until it is full again."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_s: int

    def headers(self) -> dict[str, str]:
        """RateLimit headers, and Retry-After when refused."""
        names = {"ratelimit-limit": self.limit, "ratelimit-remaining": self.remaining, "ratelimit-reset": self.reset_s}
        if not self.is_allowed:
            names["retry-after"] = self.retry_s
        return {k: str(v) for k, v in names.items()}


class RateLimit:
    """`burst` requests at once, `per_s` in the long run, for each name; of at most `names` names the oldest are
    forgotten."""

    def __init__(
        self, per_s: float, burst: int, names: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._names = names
        self._clock = clock
        self._buckets: dict[object, _Bucket] = {}

    def take(self, name: object) -> Allowance:
        """Take one token of `name`'s bucket."""
        now_s = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now_s)
        bucket.tokens = min(self._burst, bucket.tokens + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        is_allowed = bucket.tokens >= 1
        if is_allowed:
            bucket.tokens -= 1
        if len(self._buckets) >= self._names:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket
        missing = self._burst - bucket.tokens
        wait_s = int(max(0.0, 1 - bucket.tokens) / self._per_s) + 1
        return Allowance(is_allowed, self._burst, int(bucket.tokens), int(missing / self._per_s) + 1, wait_s)
