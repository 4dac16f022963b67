"""Tables of a log on the 10 Hz grid: the newest value, held no longer than its channel allows, never interpolated."""

from itertools import pairwise

import numpy as np
import pytest

from firmware_bridge.columns import columns_of
from firmware_bridge.grid import ChannelGrid, GridInput, to_grid
from firmware_bridge.log_grid import State, TableGrid, stored
from firmware_bridge.log_rows import History, filled_times
from firmware_bridge.log_sources import DATAFLASH, ULOG, TableSource
from firmware_bridge.log_tables import NO_TIME, Portion, Table
from shared.channels import BY_NAME
from tests.fix_mavlink_frames import frames_of
from tests.fix_tlog import mavlink_message

S = 1_000_000


def _table(name: str, times_s, instance: int = 0, **fields) -> Table:  # type: ignore[no-untyped-def]
    times = np.round(np.asarray(times_s, np.float64) * S).astype(np.int64)
    arrays = {k: np.asarray(v) for k, v in fields.items()}
    dtype = np.dtype([(k, v.dtype, v.shape[1:]) for k, v in arrays.items()])
    rows = np.zeros(len(times), dtype)
    for k, v in arrays.items():
        rows[k] = v
    return Table(name, instance, times, np.arange(len(times), dtype=np.int64), rows)


def _grids(
    portions: list[list[Table]], last_s: float, sources: tuple[TableSource, ...] = DATAFLASH, offset_us: int = 0,
    states: list[State] | None = None,
) -> list[ChannelGrid]:  # fmt: skip
    grid = TableGrid(sources, 0, round(last_s * S), offset_us)
    history = History()
    for i, tables in enumerate(portions):
        history.take(Portion(tables=tables))
        grid.tell((states or []) if i == 0 else [])
        grid.add(history)
    return grid.finish()


def _line(grids: list[ChannelGrid], name: str) -> dict[float, float]:
    """Tick in s -> physical value, NaN where absent."""
    c = BY_NAME[name]
    out: dict[float, float] = {}
    for g in grids:
        values = g.values.get(name, np.full(len(g.tick_us), c.missing))
        out |= {
            t / S: (np.nan if v == c.missing else v * c.scale) for t, v in zip(g.tick_us.tolist(), values, strict=True)
        }
    return out


def test_a_value_is_the_newest_one_at_the_tick() -> None:
    line = _line(
        _grids([[_table("BARO", [0.95, 1.02, 1.08, 1.13], Press=[1e5, 1.1e5, 1.05e5, 1.02e5])]], 2), "pressure_pa"
    )
    assert (line[1.0], line[1.1], line[1.2]) == (1e5, 1.05e5, 1.02e5)


def test_a_value_is_held_for_as_long_as_its_channel_allows_and_no_longer() -> None:
    tables = [
        _table("BARO", [1.0], Press=[1e5]),
        _table("RATE", np.arange(0, 5, 0.1), RDes=np.zeros(50), R=np.zeros(50)),
    ]
    line = _line(_grids([tables], 5), "pressure_pa")
    assert line[3.0] == 1e5
    assert np.isnan(line[3.1])


def test_nothing_is_made_up_over_a_hole() -> None:
    times = np.concatenate([np.arange(1, 5, 0.1), np.arange(40, 45, 0.1)])
    grids = _grids([[_table("BARO", times, Press=np.full(len(times), 1e5))]], 60)
    ticks = np.concatenate([g.tick_us for g in grids]) / S
    assert not ((ticks > 7.1) & (ticks < 40)).any()
    assert ticks.max() <= 47


def test_what_is_outside_the_channels_range_or_not_a_number_is_absent() -> None:
    tables = [_table("BARO", [1.0, 1.1, 1.2], Press=[1e5, np.nan, 9e9])]
    line = _line(_grids([tables], 1.3), "pressure_pa")
    assert line[1.0] == 1e5
    assert np.isnan(line.get(1.1, np.nan)) and np.isnan(line.get(1.2, np.nan))


def test_a_state_holds_until_the_log_says_otherwise_while_anything_is_heard() -> None:
    armed = State("armed", np.array([0, 8 * S]), np.array([0.0, 1.0]))
    line = _line(_grids([[_table("BARO", np.arange(1, 30, 0.5), Press=np.full(58, 1e5))]], 60, states=[armed]), "armed")
    assert (line[7.9], line[8.0], line[29.0]) == (0, 1, 1)
    assert 40.0 not in line


def test_ticks_are_whole_tenths_of_a_second_in_utc() -> None:
    offset = 1_700_000_000_034_567
    grids = _grids([[_table("BARO", [1.0, 1.5], Press=[1e5, 1e5])]], 2, offset_us=offset)
    assert ((grids[0].tick_us + offset) % 100_000 == 0).all()


def test_portions_give_what_the_whole_gives() -> None:
    rng = np.random.default_rng(7)
    times = np.sort(rng.uniform(0, 2_000, 3_000))
    values = rng.uniform(9e4, 1.1e5, 3_000)
    whole = _grids([[_table("BARO", times, Press=values)]], 2_000)
    cuts = [0, 10, 700, 701, 2_500, 3_000]
    parts = [[_table("BARO", times[a:b], Press=values[a:b])] for a, b in pairwise(cuts)]
    assert _line(_grids(parts, 2_000), "pressure_pa") == pytest.approx(_line(whole, "pressure_pa"), nan_ok=True)


def test_a_day_of_silence_costs_no_rows() -> None:
    times = [1.0, 86_400.0]
    assert sum(len(g.tick_us) for g in _grids([[_table("BARO", times, Press=[1e5, 1e5])]], 90_000)) < 60


def test_the_instance_in_charge_gives_the_velocity_and_another_may_take_over() -> None:
    times = np.arange(0, 4, 0.1)
    n = len(times)
    tables = [
        _table("XKF1", times, 0, VN=np.full(n, 1.0), VE=np.zeros(n), VD=np.zeros(n)),
        _table("XKF1", times, 1, VN=np.full(n, 2.0), VE=np.zeros(n), VD=np.zeros(n)),
        _table("XKF4", times, 0, PI=(times >= 1.95).astype(np.int8), SV=np.zeros(n), SS=np.zeros(n, np.uint16)),
    ]
    line = _line(_grids([tables], 4), "vel_north_mps")
    assert (line[1.5], line[3.0]) == (1.0, 2.0)


def test_clippings_of_all_sensors_add_up() -> None:
    times = np.arange(1, 3, 0.1)
    still = {f"Vibe{axis}": np.zeros(20) for axis in "XYZ"}
    tables = [_table("VIBE", times, i, **still, Clip=np.full(20, 5 * i)) for i in range(3)]
    assert _line(_grids([tables], 3), "clip_count")[2.0] == 15


def test_firmware_of_old_writes_other_units_in_the_same_fields() -> None:
    old = [_table("CURR", [1.0], Volt=np.array([1180], np.int16), Curr=np.array([2500], np.int16), CurrTot=[10.0])]
    new = [_table("CURR", [1.0], Volt=[11.8], Curr=[25.0], CurrTot=[10.0])]
    for tables in (old, new):
        assert _line(_grids([tables], 1), "battery_v")[1.0] == pytest.approx(11.8)
    throttle = [_table("CTUN", [1.0], ThrIn=np.array([500], np.int16), ThrOut=np.array([455], np.int16))]
    assert _line(_grids([throttle], 1), "throttle_pct")[1.0] == pytest.approx(45.5)


def test_a_ulogs_array_fields_are_read_however_they_are_kept() -> None:
    apart = [_table("vehicle_angular_velocity", [1.0], **{f"xyz[{i}]": [0.1 * (i + 1)] for i in range(3)})]
    together = [_table("vehicle_angular_velocity", [1.0], xyz=np.array([[0.1, 0.2, 0.3]]))]
    for tables in (apart, together):
        assert _line(_grids([tables], 1, ULOG), "yaw_rate_radps")[1.0] == pytest.approx(0.3)


def test_tables_and_messages_of_one_flight_give_the_same_grid() -> None:
    """The rule of grid.py, held against grid.py: one series as a table and as MAVLink messages."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(1, 60, 200))
    times = times[(times < 20) | (times > 31)]
    roll = rng.uniform(-1, 1, len(times)).astype(np.float32)
    table = _table("ATT", times, Roll=np.degrees(roll.astype(np.float64)))
    frames = [mavlink_message("ATTITUDE", roll=r, pitch=np.nan, yaw=np.nan) for r in roll]
    block = columns_of(frames_of(frames, np.round(times * S).astype(np.int64)))
    live = to_grid([GridInput(block, (1, 1), (0, 62 * S))])
    ours, theirs = (_line(g, "roll_rad") for g in (_grids([[table]], 62), live))
    known = {t: v for t, v in theirs.items() if not np.isnan(v)}
    assert {t: v for t, v in ours.items() if not np.isnan(v)} == pytest.approx(known, abs=1.01e-4)


def test_every_source_gives_channels_that_there_are_and_each_element_is_one() -> None:
    for source in (*DATAFLASH, *ULOG):
        for column in source.columns:
            for name, index in column.targets:
                assert 0 <= index < BY_NAME[name].size


def test_stored_integers_are_those_of_the_registry() -> None:
    assert stored("battery_v", np.array([12.345, np.nan, -1.0])).tolist() == [1234, -32768, -32768]


def test_a_message_without_a_time_has_that_of_the_message_before_it() -> None:
    timed = Table("ATT", 0, np.array([10, 20]), np.array([100, 300]), np.zeros(2, [("Roll", "f4")]))
    untimed = Table("EV", 0, np.full(3, NO_TIME), np.array([50, 150, 350]), np.zeros(3, [("Id", "u1")]))
    times, newest = filled_times([timed, untimed], NO_TIME)
    assert times[1].tolist() == [10, 10, 20]
    assert newest == 20
