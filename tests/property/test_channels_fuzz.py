"""Any columns at all map to values that are missing or within the channel's range, and never raise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.columns import FrameColumns, FrameGroup
from firmware_bridge.grid import MAX_TICKS, GridInput, carry_of, to_grid
from firmware_bridge.sources import SOURCES
from shared.channels import BY_NAME
from shared.layouts import LAYOUTS

times = st.one_of(st.integers(0, 5_000_000), st.integers(-(1 << 63), (1 << 63) - 1))


@st.composite
def inputs(draw: st.DrawFn) -> GridInput:
    ids = draw(st.lists(st.sampled_from([s.msgid for s in SOURCES] + [253]), max_size=6, unique=True))
    counts = [draw(st.integers(1, 4)) for _ in ids]
    n = sum(counts)
    order = draw(st.permutations(range(n)))
    groups, at = [], 0
    for msgid, count in zip(ids, counts, strict=True):
        size = LAYOUTS[msgid].size * count
        byte = draw(st.one_of(st.binary(min_size=size, max_size=size), st.sampled_from([b"\xff" * size, bytes(size)])))
        payload = np.frombuffer(byte, np.uint8).reshape(count, -1)
        rows = np.sort(np.array(order[at : at + count], np.int32))
        groups.append(FrameGroup(msgid, 1, draw(st.sampled_from([1, 1, 1, 190])), rows, payload))
        at += count
    time_us = np.array([draw(times) for _ in range(n)], np.int64)
    covers = sorted([draw(times), draw(times)])
    vehicle = draw(st.sampled_from([(1, 1), None]))
    return GridInput(
        FrameColumns(n, time_us, groups),
        vehicle,
        (covers[0], covers[1]),
        draw(times),
        draw(st.sampled_from([0, 3, 12])),
    )


@settings(max_examples=120)
@given(st.lists(inputs(), min_size=1, max_size=4))
def test_any_columns_give_values_in_range(items: list[GridInput]) -> None:
    carried = [*items, GridInput(items[0].block, (1, 1), items[0].covers, 0, 12, carry_of(items[-1]))]
    for item, grid in zip(carried, to_grid(carried), strict=True):
        assert len(grid.tick_us) <= MAX_TICKS
        assert ((grid.tick_us > item.covers[0]) & (grid.tick_us <= item.covers[1])).all()
        for name, values in grid.values.items():
            channel = BY_NAME[name]
            assert values.dtype == channel.dtype and len(values) == len(grid.tick_us)
            given_values = values[values != channel.missing] * channel.scale
            step = channel.scale
            assert ((given_values >= channel.low - step) & (given_values <= channel.high + step)).all()
