"""Work orders: opened by people or proposed by the worker, each step signed. Times are us since 1970 UTC."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from hub.store import components
from hub.store.query import Query, run
from shared.ids import new_id

Connection = psycopg.Connection[Any]
Step = Literal["in_progress", "done", "cancelled"]
NEXT: dict[str, tuple[Step, ...]] = {"open": ("in_progress", "cancelled"), "in_progress": ("done", "cancelled")}
"""State -> where a signature may lead."""


@dataclass(frozen=True, slots=True)
class WorkOrderRow:
    """A work order. reason: what of the score called for it, None when a person thought of it."""

    id: uuid.UUID
    aircraft_id: uuid.UUID
    aircraft_name: str
    component_id: uuid.UUID | None
    reason: str | None
    title: str
    detail: str
    priority: str
    state: str
    proposed: bool
    due_utc_us: int | None
    created_utc_us: int
    created_by: str
    closed_utc_us: int | None


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """Who signed which step, with which key."""

    signature_no: int
    state: str
    signed_by: str
    key_id: uuid.UUID
    note: str
    signed_utc_us: int


@dataclass(frozen=True, slots=True)
class PartRow:
    """What was put on or taken off under an order."""

    component_id: uuid.UUID
    name: str
    action: str
    position: int | None
    at_utc_us: int


@dataclass(frozen=True, slots=True)
class PartWork:
    """A part to put on or take off when an order is signed done."""

    action: Literal["installed", "removed"]
    component_id: uuid.UUID
    position: int | None


class WrongStep(Exception):
    """The order is not in a state from which that step may be signed. `str()`: in words."""


_ORDER = """w.work_order_id, w.aircraft_id, a.name, w.component_id, w.reason, w.title, w.detail, w.priority, w.state,
    w.proposed, w.due_utc_us, (extract(epoch FROM w.created_at) * 1000000)::bigint, w.created_by,
    (extract(epoch FROM w.closed_at) * 1000000)::bigint
    FROM work_orders w JOIN aircraft_registry a ON a.org_id = $1 AND a.aircraft_id = w.aircraft_id WHERE w.org_id =
    $1"""
LIST_ORDERS = Query(
    "list_work_orders",
    f"""SELECT {_ORDER} AND ($2::uuid IS NULL OR w.aircraft_id = $2)
    AND ($3::boolean IS NULL OR (w.state IN ('open', 'in_progress')) = $3)
    AND ($4::bigint IS NULL OR (w.created_at, w.work_order_id) < (timestamptz 'epoch' + $4 * interval '1 us', $5::uuid))
    ORDER BY w.created_at DESC, w.work_order_id DESC LIMIT $6::bigint""",
    WorkOrderRow,
)
"""Newest first. $2: aircraft; $3: open (true), closed (false), all; $4, $5: time and id of the row before."""
GET_ORDER = Query("get_work_order", f"SELECT {_ORDER} AND w.work_order_id = $2::uuid", WorkOrderRow)
SIGNATURES = Query(
    "work_order_signatures",
    """SELECT signature_no, state, signed_by, key_id, note, (extract(epoch FROM signed_at) * 1000000)::bigint
    FROM work_order_signatures WHERE org_id = $1 AND work_order_id = $2::uuid ORDER BY signature_no""",
    SignatureRow,
)
PARTS = Query(
    "work_order_parts",
    """SELECT i.component_id, c.name, p.action, i.position, p.at_utc_us
    FROM maintenance_installations i JOIN maintenance_components c ON c.org_id = $1 AND c.component_id = i.component_id
        CROSS JOIN LATERAL (VALUES ('installed', i.installed_order, i.installed_utc_us),
            ('removed', i.removed_order, i.removed_utc_us)) p (action, work_order_id, at_utc_us)
    WHERE i.org_id = $1 AND p.work_order_id = $2::uuid ORDER BY p.at_utc_us, p.action DESC, i.component_id""",
    PartRow,
)


def create(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, by: str, title: str, detail: str, priority: str,
    due_utc_us: int | None, component_id: uuid.UUID | None,
) -> WorkOrderRow:  # fmt: skip
    """A new order, open. psycopg.errors.ForeignKeyViolation: there is no such component."""
    order_id = new_id()
    conn.execute(
        "INSERT INTO work_orders (org_id, work_order_id, aircraft_id, component_id, title, detail, priority,"
        " due_utc_us, created_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (org_id, order_id, aircraft_id, component_id, title, detail, priority, due_utc_us, by),
    )
    return run(conn, GET_ORDER, org_id, order_id)[0]


def sign(
    conn: Connection, org_id: uuid.UUID, order_id: uuid.UUID, step: Step, signed_by: str, key_id: uuid.UUID, note: str,
    parts: Sequence[PartWork] = (),
) -> bool:  # fmt: skip
    """Sign a step: the signature is added, the order moves on, and parts are put on and taken off. False when there
    is no such
    order. WrongStep; components.Misplaced."""
    row = conn.execute(
        "SELECT state, aircraft_id, component_id FROM work_orders WHERE org_id = %s AND work_order_id = %s FOR UPDATE",
        (org_id, order_id),
    ).fetchone()
    if row is None:
        return False
    state, aircraft_id, component_id = row
    if step not in NEXT.get(state, ()):
        raise WrongStep(f"An order that is {state.replace('_', ' ')} cannot become {step.replace('_', ' ')}.")
    if parts and step != "done":
        raise WrongStep("Parts are named when an order is signed as done.")
    conn.execute(
        "INSERT INTO work_order_signatures (org_id, work_order_id, signature_no, state, signed_by, key_id, note)"
        " SELECT %s, %s, count(*) + 1, %s, %s, %s, %s FROM work_order_signatures"
        " WHERE org_id = %s AND work_order_id = %s",
        (org_id, order_id, step, signed_by, key_id, note, org_id, order_id),
    )
    conn.execute(
        "UPDATE work_orders SET state = %s, closed_at = CASE WHEN %s THEN now() END"
        " WHERE org_id = %s AND work_order_id = %s",
        (step, step != "in_progress", org_id, order_id),
    )
    if step == "done":
        _do_parts(conn, org_id, aircraft_id, order_id, component_id, parts)
    return True


def _do_parts(
    conn: Connection, org_id: uuid.UUID, aircraft_id: uuid.UUID, order_id: uuid.UUID, component_id: uuid.UUID | None,
    parts: Sequence[PartWork],
) -> None:  # fmt: skip
    """What was taken off first, then what was put on; the order's own component counts as serviced."""
    for part in sorted(parts, key=lambda p: p.action == "installed"):
        if part.action == "removed":
            found = components.remove(conn, org_id, part.component_id, aircraft_id, order=order_id)
        else:
            found = components.install(conn, org_id, part.component_id, aircraft_id, part.position, order=order_id)
        if not found:
            raise components.Misplaced("One of the parts is not a component of your organisation.")
    if component_id is not None:
        conn.execute(
            "UPDATE maintenance_components SET serviced_utc_us = (extract(epoch FROM now()) * 1000000)::bigint"
            " WHERE org_id = %s AND component_id = %s",
            (org_id, component_id),
        )
