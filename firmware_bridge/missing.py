"""Which bytes of a file have not come yet: what a transfer over a lossy link asks for again. Pure."""

from bisect import bisect_left, bisect_right

MOST_HOLES = 4096
"""Data that would cut what is missing into more pieces than this is passed over, and asked for again later."""


class Missing:
    """The holes of [0, size), in order. have: so many bytes from the start are there already."""

    def __init__(self, size: int, have: int = 0) -> None:
        self.size = size
        self._starts, self._stops = ([have], [size]) if have < size else ([], [])

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self._starts

    @property
    def prefix(self) -> int:
        """Bytes from the start without a hole."""
        return self._starts[0] if self._starts else self.size

    @property
    def holes(self) -> list[tuple[int, int]]:
        """(start, stop) of each hole."""
        return list(zip(self._starts, self._stops, strict=True))

    def first(self) -> tuple[int, int] | None:
        """(start, stop) of the first hole."""
        return (self._starts[0], self._stops[0]) if self._starts else None

    def count(self) -> int:
        """Bytes missing."""
        return sum(self._stops) - sum(self._starts)

    def take(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Bytes [start, stop) came; the parts of them that were missing. What lies outside the file is passed over."""
        start, stop = max(start, 0), min(stop, self.size)
        first, last = bisect_right(self._stops, start), bisect_left(self._starts, stop)
        if start >= stop or first >= last:
            return []
        touched = zip(self._starts[first:last], self._stops[first:last], strict=True)
        new = [(max(a, start), min(b, stop)) for a, b in touched]
        left = [(a, b) for a, b in ((self._starts[first], start), (stop, self._stops[last - 1])) if a < b]
        if len(self._starts) - (last - first) + len(left) > MOST_HOLES:
            return []
        self._starts[first:last], self._stops[first:last] = [a for a, _ in left], [b for _, b in left]
        return new
