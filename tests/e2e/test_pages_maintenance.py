"""Maintenance and verdicts in a real browser, on a real hub."""

from collections.abc import Iterator
from typing import Any

import pytest

from hub.store import maintenance
from hub.store.maintenance import QUANTITIES, Rollup
from hub.store.tenant import tenant
from tests.e2e.test_pages_browser import WAIT_MS, Visit, wait_until
from tests.fix_pages import PagesHub

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub(pages_hub: PagesHub) -> PagesHub:
    """Kestrel 1 has a critical finding, a rollup, a worn propeller, and proposed orders."""
    org_id, flown = pages_hub.organisations["Northwind"], pages_hub.flights["Kestrel 1"]
    database = pages_hub.ingest.database
    with database.connect("dbx_api") as conn, tenant(conn, org_id, actor="test"):
        row = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
        conn.execute(
            "INSERT INTO maintenance_components (org_id, component_id, kind, name, serial, hours_before)"
            " VALUES (%s, %s, 'prop', 'Front left', 'P-17', 120)",
            (org_id, row[0]),
        )
        conn.execute(
            "INSERT INTO maintenance_installations (org_id, installation_id, component_id, kind, aircraft_id, position,"
            " installed_utc_us) VALUES (%s, %s, %s, 'prop', %s, 1, 0)",
            (org_id, row[1], row[0], flown.aircraft_id),
        )
    with database.connect("dbx_worker") as conn, tenant(conn, org_id, actor="worker"):
        rollup = Rollup(1900, 1800, 1, 900, dict.fromkeys(QUANTITIES))
        maintenance.put_rollup(conn, org_id, flown.aircraft_id, flown.flight_id, rollup)
        quantity = {"vibe_hover_z_mps2": (14, 8.1, 0.6, 15.2, 1_753_000_000_000_000, 8.1, 14.9, None)}
        maintenance.replace_trends(conn, org_id, flown.aircraft_id, quantity)
        assert maintenance.propose(conn, org_id, flown.aircraft_id) >= 1
    return pages_hub


@pytest.fixture
def visit(chromium: Any, hub: PagesHub) -> Iterator[Visit]:
    context = chromium.new_context(locale="en-GB", timezone_id="Europe/Zurich", viewport={"width": 1280, "height": 800})
    found = Visit(context.new_page(), hub)
    found.page.on("console", lambda m: found.complaints.append(m.text) if m.type == "error" else None)
    found.page.on("pageerror", lambda e: found.complaints.append(str(e)))
    yield found
    context.close()
    assert found.complaints == []


def test_the_most_urgent_aircraft_comes_first_with_its_reasons_trends_and_components(visit: Visit) -> None:
    visit.sign_in(path="/maintenance")
    visit.page.wait_for_selector(".ship", timeout=WAIT_MS)
    first = visit.page.locator(".ship").first
    assert "Kestrel 1" in first.inner_text() and "urgent" in visit.page.inner_text("#summary")
    first.locator("summary").click()
    first.locator("table").nth(2).wait_for(timeout=WAIT_MS)
    text = first.inner_text()
    assert "Front left" in text and "P-17" in text and "121 of 100" in text
    assert "8.1" in text and "14.9" in text and "vibe hover z (m/s²)" in text and "vibration in hover (z)" in text


def test_an_order_is_opened_started_and_done_by_signing_with_a_name(visit: Visit) -> None:
    visit.sign_in(path="/maintenance")
    visit.page.wait_for_selector(".ship", timeout=WAIT_MS)
    ship = visit.page.locator(".ship").first
    ship.locator("summary").click()
    ship.locator("form input").fill("Balance the propellers")
    ship.locator("form button").click()
    order = visit.page.locator(".order", has_text="Balance the propellers")
    order.wait_for(timeout=WAIT_MS)
    order.get_by_role("button", name="Start").click()
    assert "signed with a name" in order.inner_text()
    order.locator("input").fill("A. Meyer")
    order.get_by_role("button", name="Start").click()
    order.get_by_role("button", name="Done").wait_for(timeout=WAIT_MS)
    order.locator("input").fill("A. Meyer")
    order.get_by_role("button", name="Done").click()
    order.wait_for(state="detached", timeout=WAIT_MS)


def test_an_operator_sees_the_consent_but_cannot_give_it(visit: Visit) -> None:
    visit.sign_in(path="/maintenance")
    box = visit.page.locator("#sharing input")
    box.wait_for(timeout=WAIT_MS)
    assert box.is_disabled() and not box.is_checked()


def test_a_finding_is_confirmed_on_its_flights_page_and_the_page_remembers(visit: Visit) -> None:
    visit.open_flight("Kestrel 1")
    visit.page.locator("#tab-findings").click()
    visit.page.locator(".verdicts button", has_text="Confirm").first.click()
    pressed = "document.querySelector('.verdicts button[aria-pressed=\"true\"]')?.textContent"
    wait_until(visit.page, f"{pressed} === 'Confirm'")
    visit.page.reload()
    wait_until(visit.page, f"{pressed} === 'Confirm'")


def test_nothing_of_it_is_wider_than_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.sign_in(path="/maintenance")
    visit.page.wait_for_selector(".ship", timeout=WAIT_MS)
    visit.page.locator(".ship summary").first.click()
    visit.page.locator(".ship table").first.wait_for(timeout=WAIT_MS)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
