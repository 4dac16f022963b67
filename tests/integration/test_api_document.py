"""The OpenAPI document and docs/api.md say what the API does."""

import re

import pytest
from pydantic import TypeAdapter

from hub.api.app import ROUTERS
from shared.command import ROOT
from tests.integration.test_api_isolation import BY_DEVICES, ids_of

ROUTES = [r for router in ROUTERS for r in router.routes]
READ = [r for r in ROUTES if "GET" in r.methods and r.response_model is not None and ("GET", r.path) not in BY_DEVICES]


@pytest.fixture
def document(api_client):
    return api_client.get("/v1/openapi.json").json()


def test_every_operation_says_what_it_does_and_what_it_answers(document) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            good = [r for status, r in operation["responses"].items() if status.startswith("2")]
            assert operation["description"] and good and good[0]["content"], (method, path)
            assert {"4XX", "5XX"} <= operation["responses"].keys(), (method, path)


def test_every_operation_that_needs_a_key_says_so(document) -> None:
    public = {"/v1/health", "/v1/enroll", "/v1/envelopes", "/v1/envelopes/challenge"}
    public |= {path for _, path in BY_DEVICES}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert bool(operation.get("security")) == (path not in public), path


@pytest.mark.parametrize("route", READ, ids=lambda r: r.path)
def test_answers_have_exactly_the_shape_that_the_document_promises(ours, route) -> None:
    ids = ids_of(ours, route.path)
    body = ours.get(route.path.format(**ids), "admin").json()
    shape = TypeAdapter(route.response_model)
    read = shape.validate_python(body)
    again = shape.dump_python(read, mode="json", exclude_unset=True)
    assert _keys(again) == _keys(body)


def _keys(value, path: str = "") -> set[str]:
    """Every key in nested JSON, with its place."""
    if isinstance(value, dict):
        return {f"{path}.{k}" for k in value} | {x for k, v in value.items() for x in _keys(v, f"{path}.{k}")}
    return {x for v in value for x in _keys(v, f"{path}[]")} if isinstance(value, list) else set()


def test_every_route_is_in_the_guide() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"`(GET|POST|PATCH) (/v1/[^`]*)`", text))
    assert {(m, r.path) for r in ROUTES for m in r.methods} - named == set()


def test_no_page_of_documentation_is_fetched_from_elsewhere(api_client) -> None:
    assert [api_client.get(p).status_code for p in ("/docs", "/redoc")] == [404, 404]
