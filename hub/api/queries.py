"""The reads that are prepared on every shared connection."""

from typing import Any

from hub.store import (
    aircraft,
    committed,
    directives,
    enrollment,
    flights,
    keys,
    log_reads,
    models,
    notices,
    organisations,
    telemetry,
)
from hub.store.query import Query

HOT: tuple[Query[Any], ...] = (
    keys.FIND_OWNER,
    keys.KEY_ROLE,
    keys.LIST_KEYS,
    organisations.HEALTH,
    aircraft.LIST_AIRCRAFT,
    aircraft.GET_AIRCRAFT,
    aircraft.DEVICE_KEYS,
    aircraft.FIND_DEVICE,
    enrollment.FIND_CODE,
    directives.LIST_DIRECTIVES,
    flights.LIST_FLIGHTS,
    flights.GET_FLIGHT,
    flights.GET_DETAIL,
    flights.EVENTS,
    flights.FINDINGS,
    flights.ANALYSIS,
    notices.LIST_ALERTS,
    notices.LIST_QUARANTINE,
    committed.COMMITTED,
    committed.GAPS,
    committed.SPAN_OF_SESSION,
    committed.GET_STREAM,
    committed.OTHER_SPANS,
    telemetry.COUNT_ROWS,
    log_reads.LIST_LOGS,
    log_reads.GET_LOG,
    log_reads.FLIGHT_LOGS,
    log_reads.FLIGHT_SOURCES,
    models.LIST_RELEASES,
    models.LIST_RUNNING,
)
