"""Components, where they were, what they have done, and the limits that count for them. Times are us since 1970 UTC."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from hub.store.query import Query, run
from shared.ids import new_id

Connection = psycopg.Connection[Any]
Kind = Literal["motor", "esc", "prop", "battery", "servo", "airframe", "other"]


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """A component, where it is (None: on the shelf) and what it has done."""

    id: uuid.UUID
    kind: str
    name: str
    serial: str | None
    capacity_mah: float | None
    aircraft_id: uuid.UUID | None
    position: int | None
    installed_utc_us: int | None
    flights: int
    hours: float
    cycles: float
    hours_since_service: float
    cycles_since_service: float
    serviced_utc_us: int | None
    last_flown_utc_us: int | None
    limit_hours: float | None
    limit_cycles: float | None


@dataclass(frozen=True, slots=True)
class InstallationRow:
    """A component's stay on an aircraft. Orders: the work orders under which it came and went."""

    id: uuid.UUID
    aircraft_id: uuid.UUID
    position: int | None
    installed_utc_us: int
    removed_utc_us: int | None
    installed_order: uuid.UUID | None
    removed_order: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class LimitRow:
    """A limit in force; most None: none."""

    kind: str
    quantity: str
    most: float | None
    is_default: bool


class Misplaced(Exception):
    """What is asked for contradicts where things are. `str()`: in words."""


_COMPONENT = """c.component_id, c.kind, c.name, c.serial, c.capacity_mah, i.aircraft_id, i.position, i.installed_utc_us,
    u.flights, u.hours, u.cycles, u.hours_since_service, u.cycles_since_service, c.serviced_utc_us, u.last_utc_us,
    (SELECT l.most FROM maintenance_limits_now l WHERE l.org_id = $1 AND l.kind = c.kind AND l.quantity = 'hours'),
    (SELECT l.most FROM maintenance_limits_now l WHERE l.org_id = $1 AND l.kind = c.kind AND l.quantity = 'cycles')
    FROM maintenance_components c JOIN component_usage u ON u.org_id = $1 AND u.component_id = c.component_id
    LEFT JOIN maintenance_installations i ON i.org_id = $1 AND i.component_id = c.component_id AND i.removed_utc_us
    IS NULL
    WHERE c.org_id = $1"""
LIST_COMPONENTS = Query(
    "list_components",
    f"""SELECT {_COMPONENT} AND ($2::uuid IS NULL OR i.aircraft_id = $2) AND ($3::text IS NULL OR c.kind = $3)
    AND ($4::text IS NULL OR (c.kind, c.name, c.component_id) > ($4, $5::text, $6::uuid))
    ORDER BY c.kind, c.name, c.component_id LIMIT $7::bigint""",
    ComponentRow,
)
"""By kind and name. $2: on this aircraft; $3: of this kind; $4-$6: kind, name and id of the row before."""
GET_COMPONENT = Query("get_component", f"SELECT {_COMPONENT} AND c.component_id = $2::uuid", ComponentRow)
INSTALLATIONS = Query(
    "component_installations",
    """SELECT installation_id, aircraft_id, position, installed_utc_us, removed_utc_us, installed_order, removed_order
    FROM maintenance_installations WHERE org_id = $1 AND component_id = $2::uuid
    ORDER BY installed_utc_us DESC, installation_id LIMIT 1000""",
    InstallationRow,
)
LIMITS = Query(
    "maintenance_limits",
    "SELECT kind, quantity, most, is_default FROM maintenance_limits_now WHERE org_id = $1"
    " ORDER BY kind, quantity DESC",
    LimitRow,
)
FLIGHT_BATTERIES = Query(
    "flight_batteries",
    f"""SELECT {_COMPONENT} AND EXISTS (SELECT FROM flight_batteries b WHERE b.org_id = $1 AND b.session_id = $2::uuid
        AND b.component_id = c.component_id) ORDER BY c.name, c.component_id""",  # noqa: S608
    ComponentRow,
)
"""Those that a person named."""


def create(
    conn: Connection, org_id: uuid.UUID, kind: Kind, name: str, serial: str | None, capacity_mah: float | None,
    hours_before: float, cycles_before: float,
) -> uuid.UUID:  # fmt: skip
    """A new component, on the shelf. psycopg.errors.UniqueViolation: the kind and serial are known."""
    component_id = new_id()
    conn.execute(
        "INSERT INTO maintenance_components (org_id, component_id, kind, name, serial, capacity_mah, hours_before,"
        " cycles_before) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (org_id, component_id, kind, name, serial, capacity_mah, hours_before, cycles_before),
    )
    return component_id


def install(
    conn: Connection, org_id: uuid.UUID, component_id: uuid.UUID, aircraft_id: uuid.UUID, position: int | None,
    at_utc_us: int | None = None, order: uuid.UUID | None = None,
) -> bool:  # fmt: skip
    """Mount a component from `at_utc_us` (None: now) on. False when there is none. Misplaced: it is, or was then,
    mounted
    somewhere, or something else of its kind is at the position."""
    known = _lock_component(conn, org_id, component_id)
    if known is None:
        return False
    begin = at_utc_us if at_utc_us is not None else time.time_ns() // 1000
    last = conn.execute(
        "SELECT bool_or(removed_utc_us IS NULL), max(removed_utc_us) FROM maintenance_installations"
        " WHERE org_id = %s AND component_id = %s",
        (org_id, component_id),
    ).fetchone()
    if last is not None and last[0]:
        raise Misplaced("The component is installed already: remove it first.")
    if last is not None and last[1] is not None and last[1] > begin:
        raise Misplaced("The component was still installed elsewhere at that time.")
    try:
        with conn.transaction():
            conn.execute(
                "INSERT INTO maintenance_installations (org_id, installation_id, component_id, kind, aircraft_id,"
                " position, installed_utc_us, installed_order) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (org_id, new_id(), component_id, known, aircraft_id, position, begin, order),
            )
    except psycopg.errors.UniqueViolation:
        raise Misplaced(f"Another {known} is at position {position}: remove it first.") from None
    return True


def remove(
    conn: Connection, org_id: uuid.UUID, component_id: uuid.UUID, aircraft_id: uuid.UUID, at_utc_us: int | None = None,
    order: uuid.UUID | None = None,
) -> bool:  # fmt: skip
    """Take a component off at `at_utc_us` (None: now). False when there is none. Misplaced: it is not on that
    aircraft."""
    if _lock_component(conn, org_id, component_id) is None:
        return False
    end = at_utc_us if at_utc_us is not None else time.time_ns() // 1000
    done = conn.execute(
        "UPDATE maintenance_installations SET removed_utc_us = %s, removed_order = %s WHERE org_id = %s"
        " AND component_id = %s AND aircraft_id = %s AND removed_utc_us IS NULL AND installed_utc_us <= %s",
        (end, order, org_id, component_id, aircraft_id, end),
    )
    if not done.rowcount:
        raise Misplaced("The component is not on that aircraft, or was installed after that time.")
    return True


def _lock_component(conn: Connection, org_id: uuid.UUID, component_id: uuid.UUID) -> str | None:
    row = conn.execute(
        "SELECT kind FROM maintenance_components WHERE org_id = %s AND component_id = %s FOR UPDATE",
        (org_id, component_id),
    ).fetchone()
    return None if row is None else str(row[0])


def set_flight_batteries(
    conn: Connection, org_id: uuid.UUID, session_id: uuid.UUID, batteries: Sequence[uuid.UUID]
) -> list[ComponentRow]:
    """Say which batteries flew; none: those that were installed. Misplaced: one of them is no battery of the
    organisation."""
    known = conn.execute(
        "SELECT count(*) FROM maintenance_components WHERE org_id = %s AND kind = 'battery'"
        " AND component_id = ANY (%s)",
        (org_id, list(batteries)),
    ).fetchone()
    if known is None or known[0] != len(set(batteries)):
        raise Misplaced("One of them is not a battery of your organisation.")
    conn.execute("DELETE FROM flight_batteries WHERE org_id = %s AND session_id = %s", (org_id, session_id))
    for component_id in sorted(set(batteries)):
        conn.execute("INSERT INTO flight_batteries VALUES (%s, %s, %s)", (org_id, session_id, component_id))
    return run(conn, FLIGHT_BATTERIES, org_id, session_id)


def set_limit(conn: Connection, org_id: uuid.UUID, kind: Kind, quantity: str, most: float | None) -> list[LimitRow]:
    """An organisation's own limit; None: no limit. All limits as they are now."""
    conn.execute(
        "INSERT INTO maintenance_limits (org_id, kind, quantity, most) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (org_id, kind, quantity) DO UPDATE SET most = excluded.most",
        (org_id, kind, quantity, most),
    )
    return run(conn, LIMITS, org_id)
