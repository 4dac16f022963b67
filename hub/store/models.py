"""Model bundles, their releases, and what aircraft say that they run. Times are us since 1970 UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run, scalar
from hub.store.rows import RowArray

_REPORT_COLUMNS = (
    "org_id, stream_id, seq, record_no, aircraft_id, number, at_utc_us, stage, active, active_digest, other,"
    " other_digest, flown_s, agreed_s, active_findings, other_findings, detail"
)
_INSERT_REPORTS = (
    f"INSERT INTO model_reports ({_REPORT_COLUMNS}) SELECT {_REPORT_COLUMNS} FROM unnest(%b::model_reports[])"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class BundleRow:
    """A bundle as it was signed. name: as findings carry it."""

    digest: bytes
    name: str
    feature_version: int
    bundle: bytes


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A release. aircraft: how many were told of it; issued to superseded: what became of the directives to them."""

    id: UUID
    model: str
    digest: bytes
    stage: str
    released_utc_us: int
    released_by: str
    aircraft: int
    issued: int
    enacted: int
    refused: int
    superseded: int


@dataclass(frozen=True, slots=True)
class RunningRow:
    """What an aircraft runs, as it said last (None where it never said: then the packaged model), and the newest
    release that it was told of."""

    aircraft_id: UUID
    aircraft_name: str
    active: str | None
    active_digest: bytes | None
    stage: str | None
    other: str | None
    other_digest: bytes | None
    flown_s: int | None
    agreed_s: int | None
    active_findings: int | None
    other_findings: int | None
    detail: str | None
    reported_utc_us: int | None
    released_model: str | None
    released_stage: str | None
    state: str | None
    state_detail: str | None


LIST_RELEASES = Query(
    "list_model_releases",
    """SELECT r.release_id, b.name, r.digest, r.stage, (extract(epoch FROM r.released_at) * 1000000)::bigint,
        r.released_by, count(d.version),
        count(*) FILTER (WHERE d.state = 'issued'), count(*) FILTER (WHERE d.state = 'enacted'),
        count(*) FILTER (WHERE d.state = 'refused'), count(*) FILTER (WHERE d.state = 'superseded')
    FROM (SELECT * FROM model_releases WHERE org_id = $1
          AND ($2::bigint IS NULL
               OR (released_at, release_id) < (timestamptz 'epoch' + $2 * interval '1 us', $3::uuid))
          ORDER BY released_at DESC, release_id DESC LIMIT $4::bigint) r
    JOIN model_bundles b ON b.org_id = r.org_id AND b.digest = r.digest
    LEFT JOIN model_release_aircraft a ON a.org_id = r.org_id AND a.release_id = r.release_id
    LEFT JOIN directives d ON d.org_id = a.org_id AND d.aircraft_id = a.aircraft_id AND d.version = a.directive_version
    GROUP BY r.release_id, b.name, r.digest, r.stage, r.released_at, r.released_by
    ORDER BY r.released_at DESC, r.release_id DESC""",
    ReleaseRow,
)
"""Newest first. $2, $3: time and id of the row before."""

LIST_RUNNING = Query(
    "list_running_models",
    """SELECT c.aircraft_id, c.name, m.active, m.active_digest, m.stage, m.other, m.other_digest, m.flown_s, m.agreed_s,
        m.active_findings, m.other_findings, m.detail, (extract(epoch FROM m.received_at) * 1000000)::bigint,
        t.model, t.stage, t.state, t.report_detail
    FROM aircraft_registry c
    LEFT JOIN LATERAL (
        SELECT * FROM model_reports m WHERE m.org_id = c.org_id AND m.aircraft_id = c.aircraft_id
        ORDER BY m.at_utc_us DESC, m.number DESC LIMIT 1) m ON true
    LEFT JOIN LATERAL (
        SELECT b.name AS model, r.stage, d.state, d.report_detail
        FROM model_release_aircraft a
        JOIN model_releases r ON r.org_id = a.org_id AND r.release_id = a.release_id
        JOIN model_bundles b ON b.org_id = r.org_id AND b.digest = r.digest
        JOIN directives d ON d.org_id = a.org_id AND d.aircraft_id = a.aircraft_id AND d.version = a.directive_version
        WHERE a.org_id = c.org_id AND a.aircraft_id = c.aircraft_id ORDER BY a.directive_version DESC LIMIT 1) t ON true
    WHERE c.org_id = $1 AND c.kind = 'aircraft' AND c.retired_at IS NULL
    AND ($2::text IS NULL OR (c.name, c.aircraft_id) > ($2::text, $3::uuid))
    ORDER BY c.name, c.aircraft_id LIMIT $4::bigint""",
    RunningRow,
)
"""$2, $3: name and id of the row before."""

GET_BUNDLE = Query(
    "get_model_bundle",
    "SELECT digest, name, feature_version, bundle FROM model_bundles WHERE org_id = $1 AND digest = $2::bytea",
    BundleRow,
)
_ADDRESSEES = Query(
    "model_addressees",
    """SELECT a.aircraft_id FROM aircraft_registry a
    WHERE a.org_id = $1 AND a.kind = 'aircraft' AND a.retired_at IS NULL
    AND ($2::uuid[] IS NULL OR a.aircraft_id = ANY ($2::uuid[]))
    AND ($2::uuid[] IS NOT NULL OR EXISTS (SELECT FROM device_keys k
         WHERE k.org_id = a.org_id AND k.aircraft_id = a.aircraft_id AND k.revoked_at IS NULL))
    ORDER BY a.aircraft_id""",
    scalar,
)
_PUT_BUNDLE = Query(
    "put_model_bundle",
    """INSERT INTO model_bundles (org_id, digest, name, feature_version, bundle) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (org_id, digest) DO NOTHING""",
    scalar,
)
_PUT_RELEASE = Query(
    "put_model_release",
    """INSERT INTO model_releases (org_id, release_id, digest, stage, released_by) VALUES ($1, $2, $3, $4, $5)
    RETURNING (extract(epoch FROM released_at) * 1000000)::bigint""",
    int,
)
_PUT_AIRCRAFT = Query(
    "put_model_release_aircraft",
    "INSERT INTO model_release_aircraft (org_id, release_id, aircraft_id, directive_version) VALUES ($1, $2, $3, $4)",
    scalar,
)


def insert_reports(conn: Connection[Any], rows: RowArray) -> None:
    """What aircraft say that they run, of batches that were just entered."""
    conn.execute(_INSERT_REPORTS, (rows,))


def addressees(conn: Connection[Any], org_id: UUID, named: Sequence[UUID] | None) -> list[UUID]:
    """The aircraft that a release goes to: those named that there are, or (None) all that have a device."""
    return run(conn, _ADDRESSEES, org_id, None if named is None else [*named])


def put_release(conn: Connection[Any], org_id: UUID, release_id: UUID, bundle: BundleRow, stage: str, by: str) -> int:
    """Store a bundle (when it is new) and a release of it; when that was."""
    run(conn, _PUT_BUNDLE, org_id, bundle.digest, bundle.name, bundle.feature_version, bundle.bundle)
    return run(conn, _PUT_RELEASE, org_id, release_id, bundle.digest, stage, by)[0]


def put_addressee(conn: Connection[Any], org_id: UUID, release_id: UUID, aircraft_id: UUID, version: int) -> None:
    """An aircraft that was told of a release, by this directive."""
    run(conn, _PUT_AIRCRAFT, org_id, release_id, aircraft_id, version)
