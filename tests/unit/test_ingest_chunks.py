"""Grids as SQL arrays: every value where it belongs, NULL where nothing is known."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.grid import ChannelGrid
from hub.ingest.chunks import MAX_ROWS, chunk_rows, encode_channels, runs
from shared.channels import BY_NAME, CHANNELS

FORMATS = {21: ">h", 23: ">i", 20: ">q"}


def parse(array: bytes) -> list[int | None]:
    """PostgreSQL's binary array, read as its documentation says; fails on anything that array_recv would refuse."""
    dimensions, has_null, oid, n, lower = struct.unpack_from(">iiiii", array)
    assert (dimensions, lower) == (1, 1)
    out: list[int | None] = []
    at = 20
    for _ in range(n):
        (size,) = struct.unpack_from(">i", array, at)
        at += 4
        if size == -1:
            assert has_null == 1
            out.append(None)
        else:
            assert size == struct.calcsize(FORMATS[oid])
            out.append(struct.unpack_from(FORMATS[oid], array, at)[0])
            at += size
    assert at == len(array)
    return out


@st.composite
def grids(draw: st.DrawFn) -> dict[str, np.ndarray]:
    n = draw(st.integers(1, 12))
    chosen = draw(st.lists(st.sampled_from(CHANNELS), unique_by=lambda c: c.name, max_size=8))
    seed = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    values = {}
    for c in chosen:
        shape = (n, c.size) if c.size > 1 else (n,)
        info = np.iinfo(c.dtype)
        value = seed.integers(info.min + 1, info.max, shape, dtype=c.dtype, endpoint=True)
        value[seed.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = c.missing
        values[c.name] = value
    return values


@given(grids())
def test_arrays_hold_exactly_what_the_grid_holds(values: dict[str, np.ndarray]) -> None:
    n = len(next(iter(values.values()))) if values else 0
    others = {name: value[:1] for name, value in list(values.items())[::2]}
    encoded = encode_channels([(others, 0, min(n, 1)), (values, 0, n), ({}, 0, 2)])[1] if n else {}
    for name, value in values.items():
        channel = BY_NAME[name]
        rows = value.reshape(n, channel.size).T
        known = rows != channel.missing
        used = int(np.flatnonzero(known.any(axis=1))[-1]) + 1 if known.any() else 0
        if not used:
            assert name not in encoded
            continue
        wanted = [int(v) if v != channel.missing else None for v in rows[:used].ravel()]
        assert parse(encoded[name]) == wanted


def test_a_part_of_the_rows_is_encoded_alone() -> None:
    values = {"battery_v": np.arange(10, dtype=np.int16)}
    assert parse(encode_channels([(values, 3, 6)])[0]["battery_v"]) == [3, 4, 5]


def test_a_chunk_is_a_run_of_consecutive_ticks() -> None:
    ticks = np.array([0, 1, 2, 5, 6, 9]) * 100_000
    assert list(runs(ticks)) == [(0, 3), (3, 5), (5, 6)]
    assert list(runs(np.arange(2 * MAX_ROWS + 1) * 100_000)) == [(0, 1000), (1000, 2000), (2000, 2001)]
    assert list(runs(ticks[:0])) == []


def test_chunks_say_when_they_are() -> None:
    grid = ChannelGrid(np.array([0, 100_000, 500_000]), {"armed": np.array([1, 1, 0], np.int16)})
    rows = chunk_rows([grid], [1_000_000])[0]
    assert [(r["t0_utc_us"], r["t1_utc_us"], r["n"]) for r in rows] == [
        (1_000_000, 1_100_000, 2),
        (1_500_000, 1_500_000, 1),
    ]
    assert [parse(r["armed"]) for r in rows] == [[1, 1], [0]]
