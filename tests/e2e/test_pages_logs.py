"""The pages of recorded logs in a real browser: uploads, whose a log is, what is in it, where rows come from."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fix_dataflash import dataflash_log
from tests.fix_pages import WAIT_MS, PagesHub, Visit

pytestmark = pytest.mark.slow
LOG = dataflash_log(40.0)
DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound log, a damaged one, and something else."""
    folder = tmp_path_factory.mktemp("card")
    damaged = bytearray(dataflash_log(30.0, week_ms=300_000_000))
    damaged[20_000:21_000] = bytes(1000)
    bodies = {"00000042.BIN": LOG, "00000043.BIN": bytes(damaged), "holiday.jpg": b"\xff\xd8" * 500}
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return {name: folder / name for name in bodies}


def row(visit: Visit, name: str) -> Any:
    return visit.page.locator("#rows tr", has=visit.page.locator(f"text={name}"))


def test_several_files_are_uploaded_each_with_its_own_result(visit: Visit, files: dict[str, Path]) -> None:
    visit.sign_in(path="/logs")
    visit.page.wait_for_selector("#drop:not([hidden])", timeout=WAIT_MS)
    assert visit.page.inner_text("#state strong") == "No logs yet"
    visit.page.set_input_files("#files", [str(p) for p in files.values()])
    visit.wait("document.getElementById('upload-count').textContent === '3 of 3, 1 refused'")
    told = {e.split("\n")[0]: e for e in visit.page.locator("#upload-list li").all_inner_texts()}
    assert "no flight log" in told["holiday.jpg"] and "taken" in told["00000042.BIN"]
    visit.hub.take_in_logs()
    visit.wait("document.querySelectorAll('#rows .badge.warn').length === 2")
    assert "nobody knows" in row(visit, "00000042.BIN").inner_text()
    visit.wait(
        "[...document.querySelectorAll('#upload-list .results .badge')].every(b => b.classList.contains('warn'))"
    )
    visit.complaints = [c for c in visit.complaints if "422" not in c]  # the browser notes the refusal


def test_a_dropped_file_that_is_there_already_stays_one_log(visit: Visit) -> None:
    visit.sign_in(path="/logs")
    visit.page.wait_for_selector("#rows tr .aircraft a", timeout=WAIT_MS)
    before = visit.page.locator("#rows tr").count()
    visit.page.evaluate(DROP, ["notes.txt", "no log at all"])
    visit.wait("document.getElementById('upload-count').textContent.includes('1 of 1')")
    assert visit.page.locator("#rows tr").count() == before
    visit.complaints = [c for c in visit.complaints if "422" not in c]


def test_a_log_is_given_to_an_aircraft_and_becomes_its_flight(visit: Visit) -> None:
    visit.sign_in(path="/logs")
    visit.page.click("#rows >> text=00000042.BIN")
    visit.page.wait_for_selector(".assign select", timeout=WAIT_MS)
    assert visit.page.locator(".owner .statement").inner_text()
    visit.page.select_option(".assign select", label="Osprey 1")
    visit.page.click(".assign button")
    visit.wait("document.querySelector('.owner b')?.textContent === 'Osprey 1'")
    visit.hub.take_in_logs()
    visit.page.wait_for_selector("table a[href^='/flights/']", timeout=WAIT_MS)
    assert "Read" in visit.page.inner_text("#badges")
    facts = visit.page.inner_text(".log-facts")
    assert "ArduCopter" in facts and "DataFlash" in facts and "GPS" in facts
    assert "IMU" in visit.page.inner_text(".counts")
    visit.page.click("table a[href^='/flights/']")
    visit.page.wait_for_selector(".has-flight", timeout=WAIT_MS)
    assert "From a log" in visit.page.inner_text("#record")
    sources = visit.page.inner_text(".sources")
    assert "00000042.BIN" in sources and "the autopilot's own log" in sources


def test_damage_is_shown_where_it_is_and_said_in_words(visit: Visit) -> None:
    visit.sign_in(path="/logs")
    visit.page.click("#rows >> text=00000043.BIN")
    visit.page.wait_for_selector("#damage .lost", timeout=WAIT_MS)
    assert "could not be read" in visit.page.inner_text("#damage .card-head")
    assert visit.page.locator(".damage li").count() >= 1
    assert "could not be read" in str(visit.page.get_attribute(".damage-bar", "aria-label"))


def test_private_downloads_are_asked_for_with_one_switch(visit: Visit) -> None:
    visit.sign_in(path="/logs")
    visit.page.click("#rows >> text=00000042.BIN")
    visit.page.wait_for_selector("#downloads:not([hidden])", timeout=WAIT_MS)
    visit.page.click("#downloads summary")
    assert visit.page.locator(".sheet a:visible").count() == 7
    visit.page.check(".private input")
    assert not visit.page.locator(".sheet a", has_text="byte for byte").is_visible()
    href = str(visit.page.locator(".sheet a", has_text="GeoJSON").get_attribute("href"))
    assert href.endswith("format=geojson&private=true")
    answer = visit.page.request.get(visit.hub.url + href)
    assert answer.ok and "52.01" not in answer.text() and json.loads(answer.text())["type"] == "Feature"


@pytest.mark.parametrize("visit", [{"viewport": {"width": 375, "height": 800}, "color_scheme": "dark"}], indirect=True)
@pytest.mark.parametrize("path", ["/logs", "log"])
def test_the_pages_of_logs_fit_a_phone(visit: Visit, path: str) -> None:
    visit.sign_in(path="/logs")
    visit.page.wait_for_selector("#rows tr .aircraft a", timeout=WAIT_MS)
    if path == "log":
        visit.page.click("#rows >> text=00000042.BIN")
        visit.page.wait_for_selector(".log-facts", timeout=WAIT_MS)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_log_of_another_organisation_looks_like_none(visit: Visit, pages_hub: PagesHub) -> None:
    visit.sign_in(path="/logs")
    visit.page.wait_for_selector("#rows tr .aircraft a", timeout=WAIT_MS)
    href = visit.page.get_attribute("#rows .aircraft a", "href")
    visit.page.click("text=Sign out")
    visit.page.wait_for_url("**/login", timeout=WAIT_MS)
    visit.sign_in("Empty Skies", path=str(href))
    visit.page.wait_for_selector("#trouble strong", timeout=WAIT_MS)
    assert visit.page.inner_text("#trouble strong") == "No such log"
    visit.complaints = [c for c in visit.complaints if "404" not in c]
