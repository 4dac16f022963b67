"""The deciding modules of the pages, run in the browser that runs them in earnest, without a hub behind them."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.pages import serve

pytestmark = pytest.mark.slow
ORIGIN = "http://pages.test"


@pytest.fixture(scope="module")
def browser_page(chromium: Any) -> Iterator[Any]:
    """A page of an origin that exists in this process alone: every request is answered by the pages' own routes."""
    client = TestClient(Starlette(routes=serve.page_routes()))

    def answer(route: Any) -> None:
        got = client.get(route.request.url.removeprefix(ORIGIN), headers={"accept-encoding": "identity"})
        route.fulfill(status=got.status_code, headers=dict(got.headers), body=got.content)

    context = chromium.new_context(locale="en-GB", timezone_id="Europe/Zurich")
    page = context.new_page()
    page.route("**/*", answer)
    page.goto(f"{ORIGIN}/login")
    yield page
    context.close()


@pytest.fixture
def run(browser_page: Any) -> Any:
    """run(module, body): the value of `body`, a JavaScript expression in which `m` is the module."""
    base = f"/assets/{serve.assets_digest()}/js"
    return lambda module, body: browser_page.evaluate(f"import('{base}/{module}').then(m => ({body}))")


def telemetry(times_s: list[float], values: list[float | None], bucket_s: float | None = None) -> str:
    times = [round(t * 1e6) for t in times_s]
    column = {"min": values, "max": values, "mean": values} if bucket_s else {"values": values}
    bucket = round(bucket_s * 1e6) if bucket_s else None
    text = repr({"time_utc_us": times, "bucket_us": bucket, "channels": {"a": {"unit": "m", **column}}})
    return text.replace("None", "null")


def test_a_hole_in_raw_samples_breaks_the_line(run: Any) -> None:
    data = telemetry([0, 0.1, 5.0, 5.1], [1, 2, 3, 4])
    table = run("telemetry.js", f"(t => [t.time, t.columns.get('a').mean, t.isRaw])(m.toTable({data}))")
    assert table == [[0, 0.1, 2.55, 5, 5.1], [1, 2, None, 3, 4], True]


def test_a_hole_between_buckets_breaks_the_line_and_values_stand_in_the_middle_of_theirs(run: Any) -> None:
    data = telemetry([0, 2, 4, 14], [1, 2, 3, 4], bucket_s=2)
    table = run("telemetry.js", f"(t => [t.time, t.columns.get('a').max, t.isRaw])(m.toTable({data}))")
    assert table == [[1, 3, 5, 10, 15], [1, 2, 3, None, 4], False]


def test_appending_repeats_no_moment_and_fills_a_channel_that_is_new(run: Any) -> None:
    body = """(() => {
      const table = m.toTable({time_utc_us: [0, 100000], channels: {a: {unit: 'm', values: [1, 2]}}});
      m.appendTable(table, m.toTable({time_utc_us: [100000, 200000],
        channels: {a: {unit: 'm', values: [9, 3]}, b: {unit: 'V', values: [9, 7]}}}));
      return [table.time, table.columns.get('a').mean, table.columns.get('b').mean];
    })()"""
    assert run("telemetry.js", body) == [[0, 0.1, 0.2], [1, 2, 3], [None, None, 7]]


@pytest.mark.parametrize(
    ("act", "window"),
    [
        ("v.setWindow(-50, 10)", [0, 60]),
        ("v.setWindow(20, 20.2)", [20, 21]),
        ("(v.setWindow(10, 30), v.grow(120))", [10, 30]),
        ("v.grow(120)", [0, 120]),
        ("(v.setWindow(80, 100), v.grow(120))", [100, 120]),
        ("v.zoom(0.5, 100)", [50, 100]),
        ("(v.setWindow(0, 10), v.pin(50))", [45, 55]),
        ("(v.setWindow(40, 60), v.pan(10))", [80, 100]),
    ],
)
def test_the_window_stays_inside_the_flight_and_keeps_what_the_reader_looks_at(
    run: Any, act: str, window: list[float]
) -> None:
    body = f"(v => {{ {act}; return [v.window.from, v.window.to]; }})(new m.View(0, 100))"
    assert run("view.js", body) == pytest.approx(window)


def test_the_pointer_outranks_the_pinned_moment_and_gives_it_back(run: Any) -> None:
    body = (
        "(v => { v.pin(5); v.point(7); const a = v.cursor; v.point(null); return [a, v.cursor]; })(new m.View(0, 100))"
    )
    assert run("view.js", body) == [7, 5]


def test_bands_of_one_mode_are_joined_over_the_silence_between_batches_but_not_over_a_hole(run: Any) -> None:
    modes = [(0, 9, "AUTO"), (10, 19, "AUTO"), (20, 29, "RTL"), (60, 70, "RTL")]
    bands = [{"from_utc_us": a * 1e6, "to_utc_us": b * 1e6, "mode": name} for a, b, name in modes]
    flight = {"started_utc_us": 0, "ended_utc_us": 70e6, "bands": {"modes": bands, "armed": []}}
    drawn = run("backdrop.js", f"m.backdropOf({flight!r}, []).modes.map(b => [b.from, b.to, b.label])")
    assert drawn == [[0, 20, "AUTO"], [20, 29, "RTL"], [60, 70, "RTL"]]


def test_what_no_armed_band_covers_is_unarmed(run: Any) -> None:
    armed = [{"from_utc_us": 10e6, "to_utc_us": 30e6}, {"from_utc_us": 31e6, "to_utc_us": 60e6}]
    flight = {"started_utc_us": 0, "ended_utc_us": 70e6, "bands": {"modes": [], "armed": armed}}
    assert run("backdrop.js", f"m.backdropOf({flight!r}, []).unarmed.map(b => [b.from, b.to])") == [[0, 10], [60, 70]]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("m.duration(59.6)", "1 min 00 s"),
        ("m.duration(3725)", "1 h 02 min"),
        ("m.distance(999.4)", "999 m"),
        ("m.distance(1234)", "1.23 km"),
        ("m.elapsed(-65.26)", "T−1:05.3"),
        ("m.elapsed(59.96)", "T+1:00.0"),
        ("m.elapsed(3600, 0)", "T+1:00:00"),
        ("m.number(-0.001, 1)", "0.0"),
        ("m.quantity(null, 'm')", "–"),
        ("m.dateTime(5e6)", "clock not set"),
        ("m.utc(1762792043770880)", "2025-11-10 16:27:23 UTC"),
        ("m.dateTime(1762792043770880)", "10 Nov 2025 17:27"),
        ("m.ago(1e15 - 90e6, 1e12)", "1 min ago"),
        ("m.bytes(1234567)", "1.2 MB"),
        ("m.measured(0.00002)", "2.00e-5"),
    ],
)
def test_values_are_written_as_people_read_them(run: Any, expression: str, text: str) -> None:
    assert run("format.js", expression).replace("\u202f", " ").replace("\u00a0", " ") == text


def test_ticks_stand_on_round_moments_of_the_clock_that_is_shown(run: Any) -> None:
    body = """['local', 'utc', 'elapsed'].map(mode => {
      const axis = new m.TimeAxis(1762792043.77);
      axis.mode = mode;
      return axis.splits(1762792043.77, 1762792163.77, 4).map(t => axis.label(t, 30));
    })"""
    local, utc, elapsed = run("time_axis.js", body)
    assert local == ["17:27:30", "17:28:00", "17:28:30", "17:29:00"]
    assert utc == ["16:27:30", "16:28:00", "16:28:30", "16:29:00"]
    assert elapsed == ["0:00", "0:30", "1:00", "1:30", "2:00"]


def test_a_flight_whose_clock_was_never_set_counts_from_its_start(run: Any) -> None:
    assert run("time_axis.js", "(a => [a.hasClock, a.mode])(new m.TimeAxis(12.5))") == [False, "elapsed"]


def test_the_map_projects_metres_and_crosses_the_date_line(run: Any) -> None:
    body = """(() => {
      const map = Object.create(m.MapView.prototype);
      map.setOrigin(0, 179.999);
      return [map.project(0.001, 179.999), map.project(0, -179.999)];
    })()"""
    north, east = run("map_view.js", body)
    assert north["y"] == pytest.approx(111.3, abs=0.1) and north["x"] == 0
    assert east["x"] == pytest.approx(222.6, abs=0.1)


@pytest.mark.parametrize(
    ("generated", "gaps", "whole"),
    [(9, [], True), (10, [], False), (12, [{"frames": 3}], True), (12, [{"frames": 2}], False)],
)
def test_a_whole_record_is_told_from_its_numbers_before_the_hub_has_settled_the_flight(
    run: Any, generated: int, gaps: list[dict[str, int]], whole: bool
) -> None:
    record = f"manifest: true, chain_ok: true, missing: [], gaps: {gaps}, committed_frames: 9"
    flight = f"{{complete: false, completeness: {{{record}, generated_frames: {generated}}}}}"
    assert run("flight_words.js", f"m.isWhole({flight})") is whole


def test_a_kind_is_explained_from_its_nominal_probability_by_what_each_quantity_adds(run: Any) -> None:
    named = [{"feature": "a_rms", "value": 3, "shap": 0.75}, {"feature": "b_mean", "value": 1, "shap": -0.25}]
    shap = [*named, {"feature": "others", "value": 0, "shap": 0.125}, {"feature": "base", "value": 0, "shap": 0.0625}]
    assert run("waterfall.js", f"m.total({shap})") == pytest.approx(0.6875)
    said = run("waterfall.js", f"m.waterfall({shap}, n => n).querySelector('svg').getAttribute('aria-label')")
    assert said.replace("\u2212", "-") == "From 0.06 to 0.69: a_rms +0.75, b_mean -0.25, others +0.13."
