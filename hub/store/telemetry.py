"""Telemetry chunks as arrays. Absent samples come as `channel.missing`, so that the arrays need no NULL handling."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hub.store.query import Query, scalar
from shared.channels import BY_NAME, GRID_HZ, Channel

STEP_US = 1_000_000 // GRID_HZ
MARGIN_US = 600_000_000
"""No chunk is longer: lets the planner leave out the days that cannot matter."""


class Chunk(NamedTuple):
    """A run of grid rows: n rows from t0_utc_us, STEP_US apart. arrays: one per channel asked for, None when the
    aircraft lacks it; a sized channel has its elements one after the other, n values each."""

    t0_utc_us: int
    n: int
    arrays: tuple[NDArray[Any] | None, ...]


COUNT_ROWS = Query(
    "count_rows",
    f"""SELECT coalesce(sum(n), 0)::bigint FROM telemetry_chunks WHERE org_id = $1 AND session_id = $2::uuid
    AND t0_utc_us BETWEEN $3::bigint - {MARGIN_US} AND $4::bigint AND t1_utc_us >= $3::bigint""",  # noqa: S608
    scalar,
)
"""Rows of the chunks of flight $2 that touch [$3, $4] us UTC."""


def chunks_query(channels: Sequence[Channel]) -> Query[Chunk]:
    """Chunks of flight $2 that touch [$3, $4] us UTC, in order of time. Names come from the registry alone."""
    for channel in channels:
        if BY_NAME.get(channel.name) is not channel:
            raise ValueError(f"{channel.name} is not in the registry")
    columns = "".join(f", array_replace({c.name}, NULL, ({c.missing})::{c.sql_type})" for c in channels)
    return Query(
        "",
        f"""SELECT t0_utc_us, n{columns} FROM telemetry_chunks WHERE org_id = $1 AND session_id = $2::uuid
        AND t0_utc_us BETWEEN $3::bigint - {MARGIN_US} AND $4::bigint AND t1_utc_us >= $3::bigint
        ORDER BY t0_utc_us""",  # noqa: S608
        lambda t0, n, *arrays: Chunk(t0, n, arrays),
    )


def assemble(
    chunks: Sequence[Chunk], channels: Sequence[Channel], from_utc_us: int, to_utc_us: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """(time_utc_us [r], channel name -> stored integers [r] or [r, size]) of all rows within [from, to]."""
    times = [c.t0_utc_us + np.arange(c.n, dtype=np.int64) * STEP_US for c in chunks]
    time_utc_us = np.concatenate(times) if times else np.zeros(0, np.int64)
    keep = (time_utc_us >= from_utc_us) & (time_utc_us <= to_utc_us)
    stored = {}
    for k, channel in enumerate(channels):
        parts = [_rows(c.arrays[k], c.n, channel) for c in chunks]
        empty = np.zeros((0, channel.size) if channel.size > 1 else 0, channel.dtype)
        stored[channel.name] = (np.concatenate(parts) if parts else empty)[keep]
    return time_utc_us[keep], stored


def _rows(array: NDArray[Any] | None, n: int, channel: Channel) -> NDArray[Any]:
    """[n] or [n, size]; elements beyond those stored are missing."""
    if channel.size == 1:
        return np.full(n, channel.missing, channel.dtype) if array is None else array
    rows = np.full((n, channel.size), channel.missing, channel.dtype)
    if array is not None:
        elements = min(len(array) // n, channel.size)
        rows[:, :elements] = array[: elements * n].reshape(elements, n).T
    return rows
