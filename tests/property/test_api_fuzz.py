"""Whatever is asked of the API: never a failure of its own."""

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = ["cursor", "limit", "state", "aircraft_id", "from_utc_us", "to_utc_us", "channels", "resolution", "format",
         "max_points", "open"]  # fmt: skip
ODD = st.sampled_from(
    ["", "0", "-1", "raw", "json", "gpx", "\x00", "%00", "💥", "1e9", "9" * 30, "NaN", "null", "armed"]
)
ANY_TEXT = ODD | st.text(max_size=30)
ONE_DATABASE = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def flight(ours):
    return ours.store_flight()


@ONE_DATABASE
@given(st.dictionaries(st.sampled_from(NAMES), ANY_TEXT, max_size=5), st.integers(0, 7))
def test_no_query_makes_it_fail(ours, flight, query: dict[str, str], which: int) -> None:
    one = f"/v1/flights/{flight.flight_id}"
    paths = [
        "/v1/flights",
        "/v1/aircraft",
        "/v1/alerts",
        one,
        f"{one}/events",
        f"{one}/telemetry",
        f"{one}/track",
        "/v1/quarantine",
    ]
    answer = ours.get(paths[which], params=query)
    assert answer.status_code in (200, 400, 422), answer.text


@ONE_DATABASE
@given(st.text(alphabet=st.characters(exclude_characters="?#", exclude_categories=["Cs"]), max_size=30))
def test_no_path_makes_it_fail(ours, path: str) -> None:
    answer = ours.get(f"/v1/flights/{quote(path)}")
    assert answer.status_code in (200, 404, 405, 422), answer.text


@ONE_DATABASE
@given(
    st.sampled_from(["aircraft", "keys", "enroll", "envelopes"]),
    st.binary(max_size=200)
    | st.sampled_from(
        [
            b"[" * 100,
            b"{}",
            b'{"name": 1}',
            b'{"name": "\\ud800"}',
            b'{"name": "\\u0000"}',
            b"null",
            b'{"code":"' + b"A" * 60 + b'"}',
        ]
    ),
)
def test_no_body_makes_it_fail(ours, path: str, body: bytes) -> None:
    headers = ours.auth("admin") | {"content-type": "application/json"}
    assert ours.client.post(f"/v1/{path}", content=body, headers=headers).status_code in (400, 401, 403, 413, 422, 429)


@ONE_DATABASE
@given(st.text(alphabet=st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=100))
def test_no_authorization_makes_it_fail_or_opens_anything(ours, text: str) -> None:
    for scheme in ("Bearer ", "DBX-Device ", ""):
        value = (scheme + text).strip().encode("latin-1")
        answer = ours.client.get("/v1/me", headers={"authorization": value})
        assert answer.status_code in (401, 429)
