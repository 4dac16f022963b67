"""MQTT topics: dbx/v1/{org}/{aircraft}/up/{lane}, .../down/receipt, .../down/directive, .../state."""

import uuid
from enum import IntEnum
from typing import NamedTuple

ROOT = "dbx/v1"


class Lane(IntEnum):
    """Sending priority: a lower number goes first."""

    alert = 0
    live = 1
    backlog = 2
    bulk = 3


class Up(NamedTuple):
    """What an upward topic says. It may only agree with the key, never decide (DESIGN, section 1)."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    lane: Lane


def up(org_id: uuid.UUID, aircraft_id: uuid.UUID, lane: Lane) -> str:
    return f"{ROOT}/{org_id}/{aircraft_id}/up/{lane.name}"


def receipt(org_id: uuid.UUID, aircraft_id: uuid.UUID) -> str:
    return f"{ROOT}/{org_id}/{aircraft_id}/down/receipt"


def directive(org_id: uuid.UUID, aircraft_id: uuid.UUID) -> str:
    return f"{ROOT}/{org_id}/{aircraft_id}/down/directive"


def state(org_id: uuid.UUID, aircraft_id: uuid.UUID) -> str:
    return f"{ROOT}/{org_id}/{aircraft_id}/state"


def parse_up(topic: str) -> Up:
    """Parse an upward topic (`/` or, as NATS spells it, `.` between levels). ValueError when it is not one."""
    parts = topic.replace(".", "/").split("/")
    if len(parts) != 6 or parts[:2] != ["dbx", "v1"] or parts[4] != "up" or parts[5] not in Lane.__members__:
        raise ValueError(f"not an upward topic: {topic[:120]!r}")
    org_id, aircraft_id = uuid.UUID(parts[2]), uuid.UUID(parts[3])
    if [str(org_id), str(aircraft_id)] != parts[2:4]:
        raise ValueError(f"an id spelled in another way: {topic[:120]!r}")
    return Up(org_id, aircraft_id, Lane[parts[5]])
