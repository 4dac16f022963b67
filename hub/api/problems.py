"""Errors as RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.api.pipeline import DatabaseGone, QueryFailed

PROBLEM_TYPE = "application/problem+json"
_FIXED = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}


class Problem(Exception):
    """To be answered as a problem. reason: constant snake_case word; detail: what happened and what to do."""

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def not_found(what: str) -> Problem:
    """404: also for what belongs to somebody else, so that nobody learns that it exists."""
    return Problem(404, "not_found", f"There is no such {what} in your organisation.")


def invalid(reason: str, detail: str, **more: Any) -> Problem:
    """422: understood, but not to be had."""
    return Problem(422, reason, detail, **more)


def problem_response(request_id: str, problem: Problem) -> Response:
    """The answer."""
    body = {
        "type": f"urn:dbx:problem:{problem.reason}",
        "title": problem.reason.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    headers = {"cache-control": "no-store"} | problem.headers
    return Response(orjson.dumps(body | problem.more, default=str), problem.status, headers, PROBLEM_TYPE)


def as_problem(error: Exception) -> Problem:
    """Any exception that a route may raise, as a problem that gives nothing of our insides away."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, HTTPException):
        reason = _FIXED.get(error.status_code, HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"))
        return Problem(error.status_code, reason, str(error.detail), error.headers)
    if isinstance(error, DatabaseGone):
        return Problem(503, "unavailable", "The database cannot be reached; try again.", {"retry-after": "2"})
    if isinstance(error, QueryFailed) and error.sqlstate == "57014":
        return Problem(503, "timed_out", "The query took too long; ask for less.", {"retry-after": "2"})
    return Problem(500, "internal", "Something went wrong in the hub; the operator's log has the request id.")


def _validation(error: RequestValidationError) -> Problem:
    errors = [{"where": ".".join(str(p) for p in e["loc"]), "what": str(e["msg"])} for e in error.errors()[:20]]
    detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
    return Problem(422, "invalid_request", detail[:1000], errors=errors)


async def on_error(request: Request, error: Exception) -> Response:
    """Exception handler of the application."""
    return problem_response(request.state.request_id, as_problem(error))
