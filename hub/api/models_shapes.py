"""Shapes of model releases, for the OpenAPI document."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

Stage = Literal["shadow", "canary", "fleet"]


class ModelRelease(BaseModel):
    """A bundle released to a stage. aircraft: how many were told; the others: what became of the directives to them."""

    id: UUID
    model: str
    digest: str
    stage: Stage
    released_utc_us: int
    released_by: str
    aircraft: int
    issued: int
    enacted: int
    refused: int
    superseded: int


class NewModelRelease(BaseModel):
    """A release that was made. told: its aircraft; not_told: those that have too many open directives."""

    id: UUID
    model: str
    digest: str
    stage: Stage
    released_utc_us: int
    told: list[UUID]
    not_told: list[UUID]


class RunningModel(BaseModel):
    """What an aircraft says that it runs (nulls: it never said; then the model that came with its program), and the
    newest release that it was told of, with what became of that. flown_s to other_findings: over the same flights."""

    aircraft_id: UUID
    aircraft_name: str
    active: str | None
    active_digest: str | None
    stage: str | None
    other: str | None
    other_digest: str | None
    flown_s: int | None
    agreed_s: int | None
    active_findings: int | None
    other_findings: int | None
    detail: str | None
    reported_utc_us: int | None
    released_model: str | None
    released_stage: Stage | None
    state: Literal["issued", "enacted", "refused", "superseded"] | None
    state_detail: str | None
