"""The shapes of maintenance and feedback, as the OpenAPI document has them. Times (`*_utc_us`) are us since 1970
UTC."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from hub.api.shapes import Name

ComponentKind = Literal["motor", "esc", "prop", "battery", "servo", "airframe", "other"]
Priority = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
OrderState = Literal["open", "in_progress", "done", "cancelled"]
Text = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")]
UtcUs = Annotated[int, Field(ge=0, le=1 << 53)]
Position = Annotated[int, Field(ge=1, le=32)]
FindingKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Score(BaseModel):
    """How urgent an aircraft's maintenance is, 0..1, and why: docs/maintenance.md. reasons: each with reason, quantity,
    value, baseline, since_utc_us, weight, action, component_id."""

    aircraft_id: UUID
    aircraft_name: str
    maintenance_urgency: float
    priority_level: Priority
    recommended_action: str
    reasons: list[dict[str, Any]]
    flights: int
    flying_h: float
    open_orders: int


class Trend(BaseModel):
    """One quantity over an aircraft's flights; a change (changed_utc_us, before, after), a slow rate, or neither."""

    quantity: str
    flights: int
    baseline: float
    spread: float
    latest: float
    changed_utc_us: int | None
    before: float | None
    after: float | None
    rate_per_10h: float | None


class Component(BaseModel):
    """A part, where it is (aircraft_id null: on the shelf) and what it has done. cycles: of a battery full charges,
    else
    armings."""

    id: UUID
    kind: ComponentKind
    name: str
    serial: str | None
    capacity_mah: float | None
    aircraft_id: UUID | None
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


class Maintenance(Score):
    """The score of an aircraft with what it rests on."""

    trends: list[Trend]
    components: list[Component]


class FlightRollup(BaseModel):
    """What one flight did to its aircraft; null: it does not tell."""

    flight_id: UUID
    started_utc_us: int
    armed_s: float
    flying_s: float
    arm_cycles: int
    battery_used_mah: float | None
    vibe_hover_x_mps2: float | None
    vibe_hover_y_mps2: float | None
    vibe_hover_z_mps2: float | None
    vibe_cruise_x_mps2: float | None
    vibe_cruise_y_mps2: float | None
    vibe_cruise_z_mps2: float | None
    hover_throttle_pct: float | None
    battery_ohm: float | None
    rotor_spread: float | None
    rate_error_radps: float | None


class Installation(BaseModel):
    """A component's stay on an aircraft."""

    id: UUID
    aircraft_id: UUID
    position: int | None
    installed_utc_us: int
    removed_utc_us: int | None
    installed_order: UUID | None
    removed_order: UUID | None


class ComponentDetail(Component):
    """A component with its history, newest first."""

    installations: list[Installation]


class NewComponent(BaseModel):
    """A part to be known. hours_before, cycles_before: what it had done already."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"kind": "battery", "name": "Pack 7", "serial": "B-007", "capacity_mah": 5200}]
        },
    )
    kind: ComponentKind
    name: Name
    serial: Name | None = None
    capacity_mah: float | None = Field(None, gt=0, le=1e7)
    hours_before: float = Field(0, ge=0, le=1e6)
    cycles_before: float = Field(0, ge=0, le=1e6)


class Placing(BaseModel):
    """Where on the aircraft (a motor's number), and since when; without a time: now."""

    model_config = ConfigDict(extra="forbid")
    position: Position | None = None
    installed_utc_us: UtcUs | None = None


class Removing(BaseModel):
    """When it was taken off; without: now."""

    model_config = ConfigDict(extra="forbid")
    removed_utc_us: UtcUs | None = None


class FlightBatteries(BaseModel):
    """The batteries that flew; none: those that were installed."""

    model_config = ConfigDict(extra="forbid")
    batteries: list[UUID] = Field(max_length=16)


class Limit(BaseModel):
    """A limit in force; most null: none."""

    kind: ComponentKind
    quantity: Literal["hours", "cycles"]
    most: float | None
    is_default: bool


class NewLimit(BaseModel):
    """The organisation's own limit; most null: no limit."""

    model_config = ConfigDict(extra="forbid")
    kind: ComponentKind
    quantity: Literal["hours", "cycles"]
    most: float | None = Field(gt=0, le=1e6)


class WorkOrder(BaseModel):
    """Work on an aircraft. proposed: by the hub, for `reason` of the score."""

    id: UUID
    aircraft_id: UUID
    aircraft_name: str
    component_id: UUID | None
    reason: str | None
    title: str
    detail: str
    priority: Priority
    state: OrderState
    proposed: bool
    due_utc_us: int | None
    created_utc_us: int
    created_by: str
    closed_utc_us: int | None


class Signature(BaseModel):
    """Who signed which step, with which key. Never changed."""

    signature_no: int
    state: OrderState
    signed_by: str
    key_id: UUID
    note: str
    signed_utc_us: int


class PartDone(BaseModel):
    """What was put on or taken off under an order."""

    component_id: UUID
    name: str
    action: Literal["installed", "removed"]
    position: int | None
    at_utc_us: int


class WorkOrderDetail(WorkOrder):
    """A work order with its signatures and parts."""

    signatures: list[Signature]
    parts: list[PartDone]


class NewWorkOrder(BaseModel):
    """Work to be done."""

    model_config = ConfigDict(extra="forbid")
    title: Name
    detail: Text = ""
    priority: Priority = "MEDIUM"
    due_utc_us: UtcUs | None = None
    component_id: UUID | None = None


class PartWork(BaseModel):
    """A part that was put on or taken off."""

    model_config = ConfigDict(extra="forbid")
    action: Literal["installed", "removed"]
    component_id: UUID
    position: Position | None = None


class NewSignature(BaseModel):
    """A step of an order, signed by a person. parts: with `done` only."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"state": "done", "signed_by": "A. Meyer"}]}
    )
    state: Literal["in_progress", "done", "cancelled"]
    signed_by: Name
    note: Text = ""
    parts: list[PartWork] = Field([], max_length=50)


class NewFeedback(BaseModel):
    """What a person says of a finding. kind: what it was indeed, where that is another than the finding says."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["confirmed", "rejected", "unsure"]
    kind: FindingKind | None = None
    note: Text = ""


class Feedback(BaseModel):
    """A verdict. finding_id null: the analysis no longer makes that finding. is_current: that person's newest."""

    id: UUID
    finding_id: UUID | None
    flight_id: UUID | None
    found_kind: str
    verdict: Literal["confirmed", "rejected", "unsure"]
    kind: str | None
    note: str
    key_id: UUID
    given_utc_us: int
    is_current: bool


class FeedbackSettings(BaseModel):
    """share_feedback: the organisation agrees that labelled feature vectors leave the hub for training."""

    model_config = ConfigDict(extra="forbid")
    share_feedback: bool
