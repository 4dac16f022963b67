"""The pages in a real browser, on a real hub with recorded flights: what an operator sees and does."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fix_pages import WAIT_MS, PagesHub, Visit, wait_until

pytestmark = pytest.mark.slow
INK = """canvas => {
  const {width, height} = canvas;
  const px = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const colours = new Set();
  for (let i = 0; i < px.length; i += 4) if (px[i + 3] > 200) colours.add((px[i] << 16) | (px[i + 1] << 8) | px[i + 2]);
  return colours.size;
}"""
"""How many opaque colours a canvas shows: 0 when it is blank, 1 when it is one plain ground."""


def test_signing_in_shows_the_live_flight_first_and_then_the_newest(visit: Visit) -> None:
    visit.sign_in()
    visit.page.wait_for_selector("#rows tr .aircraft a", timeout=WAIT_MS)
    names = [n for n in visit.page.locator("#rows .aircraft a").all_inner_texts() if n != "Tern 1"]
    assert names == ["Heron 2", "Osprey 1", "Kestrel 1"]  # the live one, then by start
    first = visit.page.locator("#rows tr").first
    assert "is-live" in first.get_attribute("class") and "Open" in first.inner_text()
    assert visit.page.inner_text("#who") == "Northwind"


def test_the_key_is_never_in_an_address_nor_kept_where_scripts_can_read_it(visit: Visit) -> None:
    visit.sign_in(path="/fleet")
    key = visit.hub.keys["Northwind"]
    assert [a for a in visit.asked if key in a] == []
    kept = (
        "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, document.documentElement.outerHTML])"
    )
    assert key not in visit.page.evaluate(kept)
    assert visit.page.evaluate("document.cookie") == ""


def test_a_wrong_key_is_refused_in_words_and_in_place(chromium: Any, pages_hub: PagesHub) -> None:
    page = chromium.new_page()
    page.goto(f"{pages_hub.url}/login")
    page.fill("#key", "dbx_wrong")
    page.press("#key", "Enter")
    wait_until(page, "document.getElementById('key-error').textContent")
    assert "not known" in page.inner_text("#key-error") and page.url.endswith("/login")
    page.close()


def test_another_organisation_sees_neither_list_nor_flight(visit: Visit) -> None:
    visit.sign_in("Empty Skies")
    visit.page.wait_for_selector("#state strong", timeout=WAIT_MS)
    assert visit.page.inner_text("#state strong") == "No flights yet"
    visit.page.goto(f"{visit.hub.url}/flights/{visit.hub.flights['Kestrel 1'].flight_id}")
    visit.page.wait_for_selector("#trouble strong", timeout=WAIT_MS)
    assert visit.page.inner_text("#trouble strong") == "No such flight"
    assert "Kestrel" not in visit.page.content()
    visit.complaints = [c for c in visit.complaints if "404" not in c]  # the browser notes the refusal


def test_signing_out_ends_the_session(visit: Visit) -> None:
    visit.sign_in()
    visit.page.click("text=Sign out")
    visit.page.wait_for_url("**/login", timeout=WAIT_MS)
    visit.page.goto(f"{visit.hub.url}/fleet")
    assert "/login" in visit.page.url


def test_two_clicks_lead_from_the_list_to_a_moment_of_a_flight(visit: Visit) -> None:
    visit.sign_in()
    visit.page.click("#rows >> text=Kestrel 1")
    visit.page.wait_for_selector('[data-plot="altitude"] .u-over', timeout=WAIT_MS)
    visit.page.click("text=Show in the plots")
    visit.wait("!document.querySelector('.moment').hidden && document.querySelector('.moment').textContent")
    assert re.match(r"T\+0:4\d", visit.page.inner_text(".moment"))
    visit.wait("location.search.includes('from=')")


def test_a_closed_flight_shows_its_facts_track_plots_and_events(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    facts = visit.page.inner_text("#facts")
    assert "Multicopter" in facts and "GPS time" in facts
    assert visit.page.locator("#map").evaluate(INK) > 5
    assert visit.page.locator(".timeline-canvas").evaluate(INK) > 5
    for plot in ("altitude", "speed", "roll"):
        assert visit.page.locator(f'[data-plot="{plot}"] canvas').evaluate(INK) > 5
    visit.page.click("#tab-events")
    assert "Mode" in visit.page.inner_text("#events") and "LAND" in visit.page.inner_text("#events")


def test_every_plot_is_drawn_once_it_is_scrolled_to(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    for plot in visit.page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".u-over, .plot-note").first.wait_for(timeout=WAIT_MS)
        visit.wait(
            f"""!/Loading/.test(document.querySelector('[data-plot="{plot.get_attribute("data-plot")}"]').textContent)"""
        )
    drawn = visit.page.locator(".plot .u-over").count()
    assert drawn == 10


def test_a_complete_flight_says_so_from_generated_to_committed(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    record = visit.page.inner_text("#record")
    frames = visit.hub.flights["Kestrel 1"].recorder.frames
    assert f"all {frames:,} frames" in record and "Complete" in record
    assert [s in record for s in ("Generated", "Stored", "Sent", "Committed")] == [True] * 4
    assert "3 frames of system 1, component 1 never reached the recorder" in record.replace("\u00a0", " ")


def test_a_missing_batch_is_named_with_what_that_means(visit: Visit) -> None:
    visit.open_flight("Osprey 1")
    record = visit.page.inner_text("#record").replace("\u00a0", " ")
    assert "Not complete" in record
    assert re.search(r"Batch \d+ has not arrived, and no gap is signed for it", record)


def test_dragging_over_a_plot_zooms_all_of_them_and_the_address_keeps_it(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    box = visit.page.locator('[data-plot="altitude"] .u-over').bounding_box()
    asked = len(visit.asked)
    visit.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 30)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30, steps=4)
    visit.page.mouse.up()
    visit.wait("location.search.includes('from=')")
    window = [float(v) for v in re.findall(r"=([\d.]+)", urlsplit(visit.page.url).query)]
    whole = visit.hub.flights["Kestrel 1"]
    span_s = (whole.recording.disarmed_us - whole.recording.armed_us) / 1e6
    assert window[1] - window[0] == pytest.approx(span_s * 0.2, rel=0.1)
    visit.page.keyboard.press("Escape")
    visit.page.reload()
    visit.page.wait_for_selector('[data-plot="altitude"] .u-over', timeout=WAIT_MS)
    assert f"from={window[0]}" in visit.page.url
    assert len(visit.asked) > asked
    visit.page.click("#whole")
    visit.wait("!location.search.includes('from=')")


def test_the_cursor_of_one_plot_moves_the_values_of_the_others(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    box = visit.page.locator('[data-plot="speed"] .u-over').bounding_box()
    seen = set()
    for share in (0.2, 0.5, 0.8):
        visit.page.mouse.move(box["x"] + box["width"] * share, box["y"] + 40)
        visit.wait("!document.querySelector('.moment').hidden")
        seen.add((visit.page.inner_text(".moment"), visit.page.inner_text('[data-plot="altitude"] .legend b')))
    assert len({moment for moment, _ in seen}) == 3 and len({value for _, value in seen}) > 1


def test_any_channel_of_the_registry_can_be_added_by_keyboard_and_stays_in_the_address(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    visit.page.focus("#picker summary")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".channel-list button", timeout=WAIT_MS)
    visit.page.keyboard.type("board_v")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector('[data-plot="channel-board_v"]', timeout=WAIT_MS)
    visit.wait("location.search.includes('channels=board_v')")
    visit.page.click('[data-plot="channel-board_v"] button')
    visit.wait("!location.search.includes('channels=')")


def test_the_plots_answer_the_keyboard(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    visit.page.focus("#plots")
    visit.page.keyboard.press("ArrowRight")
    spoken = visit.page.inner_text("#spoken")
    visit.page.keyboard.press("Shift+ArrowRight")
    assert visit.page.inner_text("#spoken") != spoken
    visit.page.keyboard.press("+")
    visit.wait("location.search.includes('from=')")
    visit.page.keyboard.press("0")
    visit.wait("!location.search.includes('from=')")


def test_the_downloads_are_what_they_say(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    visit.page.click("#downloads summary")
    assert "./dbx verify FILE" in visit.page.inner_text("#downloads")
    links = visit.page.locator("#downloads a")
    names = links.locator("b").all_inner_texts()
    assert names == ["tlog", "MCAP", "CSV", "Parquet", "GeoJSON", "KML", "GPX", "Evidence"]
    starts = {}
    for name, link in zip(names, links.all(), strict=True):
        answer = visit.page.request.get(visit.hub.url + link.get_attribute("href"))
        assert answer.status == 200, name
        starts[name] = answer.body()[:400]
    assert starts["tlog"][8] in (0xFD, 0xFE) and starts["Parquet"][:4] == b"PAR1"
    assert b"lat_deg" in starts["CSV"].splitlines()[0] and b'"Feature' in starts["GeoJSON"]
    assert b"<kml" in starts["KML"] and b"<gpx" in starts["GPX"]


def test_a_live_flight_grows_on_the_page_without_losing_the_zoom(visit: Visit) -> None:
    heron = visit.hub.flights["Heron 2"]
    visit.open_flight("Heron 2", "?from=5.0&to=20.0")
    assert "Live" in visit.page.inner_text("#badges") and "Recording" in visit.page.inner_text("#record")
    duration = "document.querySelectorAll('#facts dd')[1].textContent"
    before = visit.page.evaluate(duration)
    visit.hub.fly(heron, heron.sent_until_us + 10_000_000)
    visit.wait(f"{duration} !== {before!r}")
    assert "from=5.0&to=20.0" in visit.page.url
    visit.page.click("#whole")
    visit.wait("!location.search.includes('from=')")
    before = visit.page.evaluate(duration)
    visit.hub.fly(heron, heron.sent_until_us + 10_000_000)
    visit.wait(f"{duration} !== {before!r}")
    assert "from=" not in visit.page.url


def test_a_flight_that_lands_becomes_complete_on_the_open_page(visit: Visit) -> None:
    tern = visit.hub.depart("Northwind", "Tern 1", "quadplane")
    visit.hub.fly(tern, tern.recording.armed_us + 30_000_000)
    visit.open_flight("Tern 1")
    assert "Recording" in visit.page.inner_text("#record")
    visit.hub.fly(tern, tern.recording.disarmed_us)
    visit.hub.land(tern)
    visit.wait("/Complete/.test(document.getElementById('record').textContent)")
    assert visit.page.locator("#badges .live-badge").count() == 0
    del visit.hub.flights["Tern 1"]


def test_the_fleet_shows_each_aircraft_with_its_newest_state(visit: Visit) -> None:
    visit.sign_in(path="/fleet")
    visit.page.wait_for_selector(".craft-name button", timeout=WAIT_MS)
    heron = visit.page.locator(".craft", has_text="Heron 2")
    assert "AUTO" in heron.inner_text() and "V" in heron.inner_text()
    assert visit.page.locator("#map").evaluate(INK) > 3
    heron.locator("text=All flights").click()
    visit.page.wait_for_selector("#rows .aircraft a", timeout=WAIT_MS)
    assert visit.page.locator("#rows .aircraft a").all_inner_texts() == ["Heron 2"]


def test_the_system_page_says_whether_all_is_well(visit: Visit) -> None:
    visit.sign_in(path="/system")
    visit.page.wait_for_selector("[data-figure]", timeout=WAIT_MS)
    assert visit.page.inner_text('[data-figure="flights_live"] b') == "1"
    assert visit.page.locator(".verdict-card").count() == 1


def test_a_changed_batch_shows_up_in_quarantine_and_its_alert_can_be_acknowledged(visit: Visit) -> None:
    visit.hub.tamper(visit.hub.flights["Osprey 1"])
    visit.sign_in(path="/system")
    visit.page.wait_for_selector(".notices button", timeout=WAIT_MS)
    visit.wait("/The signature does not fit the key/.test(document.getElementById('parts').textContent)")
    assert "need a look" in visit.page.inner_text("#parts")
    alert = visit.page.locator(".notices li", has_text="bad_signature")
    alert.locator("button").click()
    alert.wait_for(state="detached", timeout=WAIT_MS)
    assert "Quarantine" in visit.page.inner_text("#parts")


def test_a_list_that_did_not_change_is_not_sent_again(visit: Visit) -> None:
    statuses: list[int] = []
    visit.page.on("response", lambda r: statuses.append(r.status) if "/v1/flights" in r.url else None)
    visit.sign_in()
    visit.page.wait_for_selector("#rows .aircraft a", timeout=WAIT_MS)
    visit.page.wait_for_timeout(4500)
    assert statuses[0] == 200 and set(statuses[1:]) == {304}


def test_filters_and_search_narrow_the_list_and_say_how_to_widen_it(visit: Visit) -> None:
    visit.sign_in()
    visit.page.wait_for_selector("#rows .aircraft a", timeout=WAIT_MS)
    visit.page.click("#filters >> text=Recorded")
    visit.wait("document.querySelector('#rows .aircraft a') && !document.querySelector('#rows .is-live')")
    visit.page.fill("[name=search]", "osprey")
    visit.wait("document.querySelectorAll('#rows .aircraft a').length === 1")
    visit.page.fill("[name=search]", "no such aircraft")
    visit.page.click("text=Clear all filters")
    visit.wait("document.querySelectorAll('#rows .is-live').length === 1")


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_nothing_is_wider_than_a_phone(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    for path in (None, "/", "/fleet", "/system"):
        if path:
            visit.page.goto(visit.hub.url + path)
            visit.page.wait_for_selector("main .card", timeout=WAIT_MS)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390, path or "flight"


def test_the_first_paint_of_a_flight_does_not_shift_when_its_data_comes(visit: Visit) -> None:
    visit.page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => {"
        "  for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value;"
        "}).observe({type: 'layout-shift', buffered: true})"
    )
    visit.open_flight("Kestrel 1")
    assert visit.page.evaluate("shift") < 0.1
