"""Aircraft of an organisation, their newest state, and the device keys that speak for them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from hub.store.query import Query, run, scalar

ONLINE_S = 30
"""An aircraft is online when a batch of it came within so many seconds."""


@dataclass(frozen=True, slots=True)
class AircraftRow:
    """An aircraft (kind "station": a field engineer's device) and its newest state; the fields of the latter are None
    before the first batch."""

    id: UUID
    kind: str
    name: str
    registration: str | None
    serial_number: str | None
    airframe: str | None
    notes: str
    created_utc_us: int
    retired_utc_us: int | None
    last_seen_utc_us: int | None
    online: bool
    mav_type: int | None
    mav_autopilot: int | None
    firmware: str | None
    session_id: UUID | None
    at_utc_us: int | None
    lat_deg: float | None
    lon_deg: float | None
    alt_msl_m: float | None
    alt_rel_m: float | None
    groundspeed_mps: float | None
    heading_deg: float | None
    battery_v: float | None
    battery_remaining_pct: float | None
    armed: bool | None
    flight_mode: int | None


@dataclass(frozen=True, slots=True)
class DeviceOwner:
    """For which aircraft a device key speaks."""

    org_id: UUID
    aircraft_id: UUID
    public_key: bytes
    revoked_utc_us: int | None


@dataclass(frozen=True, slots=True)
class DeviceKeyRow:
    """A device's signing key, public half; times are us since 1970 UTC."""

    key_id: bytes
    device_id: UUID
    public_key: bytes
    agent_version: str
    hostname: str
    created_utc_us: int
    revoked_utc_us: int | None
    revoked_reason: str | None
    certificate_serial: str


_SELECT = f"""SELECT a.aircraft_id, a.kind, a.name, a.registration, a.serial_number, a.airframe, a.notes,
    (extract(epoch FROM a.created_at) * 1000000)::bigint, (extract(epoch FROM a.retired_at) * 1000000)::bigint,
    (extract(epoch FROM s.seen_at) * 1000000)::bigint,
    coalesce(s.seen_at > now() - interval '{ONLINE_S} seconds', false),
    s.mav_type, s.mav_autopilot, s.firmware, s.session_id, s.at_utc_us, s.lat_deg, s.lon_deg, s.alt_msl_m,
    s.alt_rel_m, s.groundspeed_mps, s.heading_deg, s.battery_v,
    s.battery_remaining_pct, s.armed, s.flight_mode
    FROM aircraft_registry a
    LEFT JOIN aircraft_state s ON s.org_id = a.org_id AND s.aircraft_id = a.aircraft_id"""  # noqa: S608

LIST_AIRCRAFT = Query(
    "list_aircraft",
    f"""{_SELECT} WHERE a.org_id = $1 AND a.kind = $5
    AND ($2::text IS NULL OR (a.name, a.aircraft_id) > ($2::text, $3::uuid))
    ORDER BY a.name, a.aircraft_id LIMIT $4::bigint""",
    AircraftRow,
)
"""$2, $3: name and id of the last row of the page before, or NULL. $4: limit. $5: kind."""

GET_AIRCRAFT = Query("get_aircraft", f"{_SELECT} WHERE a.org_id = $1 AND a.aircraft_id = $2::uuid", AircraftRow)

_KEY_COLUMNS = """key_id, device_id, public_key, agent_version, hostname,
    (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM revoked_at) * 1000000)::bigint,
    revoked_reason, certificate_serial"""

DEVICE_KEYS = Query(
    "device_keys",
    f"""SELECT {_KEY_COLUMNS} FROM device_keys WHERE org_id = $1 AND aircraft_id = $2::uuid
    ORDER BY created_at, key_id""",  # noqa: S608
    DeviceKeyRow,
)

FIND_DEVICE = Query(
    "find_device",
    """SELECT org_id, aircraft_id, public_key, (extract(epoch FROM revoked_at) * 1000000)::bigint
    FROM find_device_keys(ARRAY[$2::bytea]) WHERE $1::uuid IS NOT NULL""",
    DeviceOwner,
)
"""$1: the hub's organisation, $2: the key id."""

_CREATE = Query(
    "create_aircraft",
    """INSERT INTO aircraft_registry (org_id, aircraft_id, name, registration, serial_number, airframe, notes, kind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
    scalar,
)
_REVOKE_DEVICE = Query(
    "revoke_device_key",
    f"""UPDATE device_keys SET revoked_at = coalesce(revoked_at, now()), revoked_reason = coalesce(revoked_reason, $4)
    WHERE org_id = $1 AND aircraft_id = $2 AND key_id = $3 RETURNING {_KEY_COLUMNS}""",  # noqa: S608
    DeviceKeyRow,
)
_ADD_DEVICE = Query(
    "add_device_key",
    """INSERT INTO device_keys (org_id, key_id, device_id, aircraft_id, public_key, agent_version, hostname,
        certificate_serial)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING device_id""",
    scalar,
)


def create_aircraft(
    conn: Connection[Any], org_id: UUID, aircraft_id: UUID, name: str, registration: str | None = None,
    serial_number: str | None = None, airframe: str | None = None, notes: str = "", kind: str = "aircraft",
) -> None:  # fmt: skip
    """Insert one aircraft, or station."""
    run(conn, _CREATE, org_id, aircraft_id, name, registration, serial_number, airframe, notes, kind)


_ENSURE_STATION = Query(
    "ensure_station",
    """INSERT INTO aircraft_registry (org_id, aircraft_id, name, kind) VALUES ($1, $2, $3, 'station')
    ON CONFLICT DO NOTHING""",
    scalar,
)


def ensure_station(
    conn: Connection[Any], org_id: UUID, station_id: UUID, name: str, key_id: bytes, device_id: UUID, public_key: bytes
) -> None:
    """Have a station with this key; one that is there already stays as it is, also with its key revoked."""
    run(conn, _ENSURE_STATION, org_id, station_id, name)
    add_device_key(conn, org_id, key_id, device_id, station_id, public_key, "", "hub", "")


def add_device_key(
    conn: Connection[Any], org_id: UUID, key_id: bytes, device_id: UUID, aircraft_id: UUID, public_key: bytes,
    agent_version: str, hostname: str, certificate_serial: str,
) -> bool:  # fmt: skip
    """Insert; False when this key is enrolled already (with whatever organisation)."""
    values = (key_id, device_id, aircraft_id, public_key, agent_version, hostname, certificate_serial)
    return bool(run(conn, _ADD_DEVICE, org_id, *values))


def revoke_device_key(
    conn: Connection[Any], org_id: UUID, aircraft_id: UUID, key_id: bytes, reason: str
) -> DeviceKeyRow | None:
    """Revoke (again: as it was). None when the aircraft has no such key."""
    return next(iter(run(conn, _REVOKE_DEVICE, org_id, aircraft_id, key_id, reason)), None)
