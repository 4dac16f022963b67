"""The shapes of answers and requests, as the OpenAPI document has them. Times (`*_utc_us`) are us since 1970 UTC."""

from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
ClockSourceName = Literal["unknown", "system", "log", "gps"]
Severity = Literal["info", "warning", "critical"]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Page(BaseModel, Generic[Item]):
    """One page of a list. next_cursor: for the next page, null at the end."""

    items: list[Item]
    next_cursor: str | None


class ProblemShape(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class Me(BaseModel):
    """Whose key this is."""

    org_id: UUID
    org_name: str
    key_id: UUID
    role: str


class Organisation(BaseModel):
    """A tenant."""

    org_id: UUID
    name: str


class Newest(BaseModel):
    """The newest state that an aircraft sent."""

    at_utc_us: int
    lat_deg: float | None
    lon_deg: float | None
    alt_msl_m: float | None
    alt_rel_m: float | None
    groundspeed_mps: float | None
    heading_deg: float | None
    battery_v: float | None
    battery_remaining_pct: float | None
    armed: bool | None
    mode: str | None
    flight_id: UUID | None


class Aircraft(BaseModel):
    """An airframe that the organisation knows, or a station (a field engineer's device). online: a batch came within
    30 s."""

    id: UUID
    kind: Literal["aircraft", "station"]
    name: str
    registration: str | None
    serial_number: str | None
    airframe: str | None
    notes: str
    created_utc_us: int
    retired_utc_us: int | None
    vehicle_type: str | None
    autopilot: str | None
    firmware: str | None
    last_seen_utc_us: int | None
    online: bool
    newest: Newest | None


class NewAircraft(BaseModel):
    """An airframe, or a station, to be known."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Quad 7", "registration": "D-1234"}]}
    )
    name: Name
    registration: Name | None = None
    serial_number: Name | None = None
    airframe: Name | None = None
    kind: Literal["aircraft", "station"] = "aircraft"
    notes: str = Field("", max_length=4000, pattern=r"^[^\x00]*$")


class DeviceKey(BaseModel):
    """The public signing key of a device on an aircraft."""

    key_id: str
    device_id: UUID
    public_key: str
    agent_version: str
    hostname: str
    created_utc_us: int
    revoked_utc_us: int | None
    revoked_reason: str | None
    certificate_serial: str


class Revocation(BaseModel):
    """Why a key is revoked."""

    model_config = ConfigDict(extra="forbid")
    reason: Name = "revoked by an administrator"


class EnrollmentCode(BaseModel):
    """Shown once; good for one device, for 15 minutes."""

    code: str
    expires_utc_us: int


class EnrollRequest(BaseModel):
    """What a device sends. public_key: base64 of its raw Ed25519 signing key; csr_pem: for its TLS key."""

    code: str = Field(max_length=64)
    public_key: str = Field(max_length=64)
    csr_pem: str = Field(max_length=16384)
    agent_version: str = Field("", max_length=100, pattern=r"^[^\x00]*$")
    hostname: str = Field("", max_length=255, pattern=r"^[^\x00]*$")


class HubKey(BaseModel):
    """A public key of the hub: key_id hex, public_key base64 of 32 bytes."""

    key_id: str
    public_key: str


class Enrolled(BaseModel):
    """The device's identity. kind: of what it is for: a station may import logs for any aircraft."""

    org_id: UUID
    kind: Literal["aircraft", "station"]
    aircraft_id: UUID
    device_id: UUID
    key_id: str
    certificate_pem: str
    ca_pem: str
    hub_keys: list[HubKey]
    mqtt: dict[str, Any]


class Challenge(BaseModel):
    """To be signed by a device that uploads over HTTPS."""

    challenge: str
    expires_utc_us: int


class NewDirective(BaseModel):
    """A wish to an aircraft; `body` depends on `kind` (docs/wire.md)."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kind": "capture", "body": {"seconds": 60}}]}
    )
    kind: Literal["recording_policy", "capture", "hold", "model"]
    body: dict[str, Any] = Field(default_factory=dict)


class Directive(BaseModel):
    """A directive and what the aircraft says became of it."""

    version: int
    kind: str
    body: dict[str, Any]
    issued_utc_us: int
    state: Literal["issued", "enacted", "refused", "superseded"]
    reported_utc_us: int | None
    report_detail: str


class NewKey(BaseModel):
    """An API key to be made."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    role: Literal["viewer", "operator", "admin", "auditor"] = "viewer"
    expires_utc_us: int | None = Field(None, gt=0, lt=1 << 53)


class Key(BaseModel):
    """An API key, without the key."""

    id: UUID
    name: str
    role: str
    created_utc_us: int
    expires_utc_us: int | None
    revoked_utc_us: int | None


class MadeKey(Key):
    """The only answer that ever holds the key itself."""

    key: str


class Flight(BaseModel):
    """A flight session: armed to disarmed within a boot. origin: log when it is known from recorded logs alone."""

    id: UUID
    origin: Literal["live", "log"]
    aircraft_id: UUID
    aircraft_name: str
    vehicle_type: str
    autopilot: str
    firmware: str
    state: Literal["live", "closed"]
    started_utc_us: int
    ended_utc_us: int
    duration_s: float
    clock_source: ClockSourceName
    complete: bool
    missing_batches: int
    findings: int
    risk_level: Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"] | None
    max_alt_rel_m: float | None
    distance_m: float | None
    max_groundspeed_mps: float | None


class FlightLog(BaseModel):
    """A log that is part of a flight. offset_us: what is added to the log's own dates; method: how that was found."""

    sha256: str
    name: str
    format: str
    session_no: int
    method: Literal["origin", "boot", "content", "utc"]
    offset_us: int
    agreement: float | None


class FlightSource(BaseModel):
    """Rows of a flight that came from one source. channels: null for all. sha256: of the log; null for the stream."""

    kind: Literal["onboard", "telemetry", "live"]
    sha256: str | None
    name: str | None
    stream_id: UUID | None
    channels: list[str] | None
    from_utc_us: int
    to_utc_us: int
    rows: int


class Log(BaseModel):
    """A recorded log. sha256: of its unpacked bytes, its name everywhere. reason: why it is in its state. part_of: the
    log that holds all of it. deliveries: how often it came. importer: the aircraft or station that sent it first."""

    sha256: str
    state: Literal["arriving", "whole", "damaged_in_transit", "parsed", "unassigned", "failed"]
    reason: str
    format: str
    name: str
    origin: str
    size_bytes: int | None
    packed_bytes: int | None
    received_bytes: int
    first_seen_utc_us: int
    whole_utc_us: int | None
    imported_utc_us: int | None
    importer_id: UUID | None
    importer_name: str | None
    aircraft_id: UUID | None
    aircraft_name: str | None
    assigned_aircraft_id: UUID | None
    part_of: str | None
    first_utc_us: int | None
    last_utc_us: int | None
    clock_source: ClockSourceName
    firmware: str
    vehicle: str
    hardware_ids: list[str]
    damaged_bytes: int
    deliveries: int
    flights: list[UUID]


class LogDelivery(BaseModel):
    """How a log came once."""

    name: str
    origin: str
    importer_id: UUID
    importer_name: str | None
    aircraft_id: UUID | None
    imported_utc_us: int
    received_utc_us: int
    stream_id: UUID


class LogSessionShape(BaseModel):
    """Armed to disarmed within a log, and the flight that it is part of."""

    session_no: int
    start_utc_us: int
    end_utc_us: int
    clock_source: ClockSourceName
    inferred: bool
    why: str
    flight_id: UUID | None
    method: str | None
    offset_us: int | None
    agreement: float | None


class LogDetail(Log):
    """A log with what reading it gave, how it came, its sessions, and the logs that it holds."""

    survey: dict[str, Any]
    damage: list[dict[str, Any]]
    copies: list[LogDelivery]
    sessions: list[LogSessionShape]
    parts: list[str]


class LogAssignment(BaseModel):
    """Whose a log is; null: nobody says."""

    model_config = ConfigDict(extra="forbid")
    aircraft_id: UUID | None


class UploadedLogs(BaseModel):
    """The logs that a body held."""

    items: list[Log]


class FleetAircraft(BaseModel):
    """An aircraft as a station knows it."""

    aircraft_id: UUID
    name: str
    registration: str | None
    serial_number: str | None
    hardware_ids: list[str]


class DeviceFleet(BaseModel):
    """The aircraft that a device may import logs for."""

    aircraft: list[FleetAircraft]
    issued_utc_us: int


class MissingRange(BaseModel):
    """Sequences that neither came nor are under a gap record."""

    first_seq: int
    last_seq: int


class GapShape(BaseModel):
    """Signed word of the aircraft that something was lost."""

    reason: str
    frames: int | None
    first_seq: int | None
    last_seq: int | None
    from_utc_us: int | None
    to_utc_us: int | None
    detail: str


class Completeness(BaseModel):
    """What was generated, stored, sent, committed, and what is missing, and why. lost_s: time for which the live stream
    has nothing; filled_s: of that, what logs have."""

    generated_frames: int | None
    sealed_batches: int | None
    committed_batches: int
    committed_frames: int
    missing: list[MissingRange]
    gaps: list[GapShape]
    wire_lost: dict[str, int]
    bad_crc: int
    junk_bytes: int
    manifest: bool
    chain_ok: bool
    lost_s: float
    filled_s: float
    statement: str


class Span(BaseModel):
    """A span of time."""

    from_utc_us: int
    to_utc_us: int


class ModeSpan(Span):
    """A span in one flight mode."""

    mode: str


class Bands(BaseModel):
    """When the vehicle was armed, and in which mode."""

    armed: list[Span]
    modes: list[ModeSpan]


class Analysis(BaseModel):
    """The newest analysis."""

    analysed_utc_us: int
    detected_aircraft_type: str
    aircraft_confidence: float
    anomaly_detected: bool
    risk_score: float
    risk_level: str
    shap_values: Any
    report: str
    model: str
    feature_version: int


class FlightDetail(Flight):
    """A flight with its completeness, bands, analysis, and the sources of its rows."""

    stream_id: UUID
    close_reason: str | None
    completeness: Completeness
    bands: Bands
    analysis: Analysis | None
    logs: list[FlightLog]
    sources: list[FlightSource]


class Event(BaseModel):
    """Something that happened."""

    at_utc_us: int
    kind: str
    severity: str
    text: str
    value: float | None


class FindingShape(BaseModel):
    """What a model or a rule says of a span of the flight."""

    id: UUID
    kind: str
    severity: Severity
    score: float
    threshold: float
    start_utc_us: int
    end_utc_us: int
    model: str
    evidence: list[dict[str, Any]]
    shap: list[dict[str, Any]] | None
    source: Literal["aircraft", "hub"]


class RawChannel(BaseModel):
    """Samples of one channel; null where absent."""

    unit: str
    values: list[float | None]


class BucketChannel(BaseModel):
    """Extremes and mean per bucket."""

    unit: str
    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]


class Telemetry(BaseModel):
    """Columns over common times; `bucket_us` when asked for with a resolution."""

    time_utc_us: list[int]
    bucket_us: int | None = None
    channels: dict[str, RawChannel | BucketChannel]


class ChannelShape(BaseModel):
    """One canonical quantity."""

    name: str
    group: str
    unit: str
    scale: float
    low: float
    high: float
    size: int
    stale_s: float
    meaning: str


class Alert(BaseModel):
    """Something that a person should look at; `times` counts how often the same was seen."""

    id: UUID
    kind: str
    severity: Severity
    aircraft_id: UUID | None
    flight_id: UUID | None
    text: str
    raised_utc_us: int
    last_utc_us: int
    times: int
    acknowledged_utc_us: int | None
    acknowledged_by: str | None


class Refusal(BaseModel):
    """A batch in quarantine, and why. digest: SHA-256 of its bytes."""

    id: UUID
    reason: str
    detail: str
    topic: str
    key_id: str | None
    aircraft_id: UUID | None
    stream_id: UUID | None
    seq: int | None
    digest: str
    size_bytes: int
    first_seen_utc_us: int
    last_seen_utc_us: int
    times: int


class Health(BaseModel):
    """Whether this process can answer."""

    status: Literal["ok", "unavailable"]
    version: str


class System(BaseModel):
    """The hub as the organisation sees it."""

    version: str
    hub_keys: list[HubKey]
    aircraft_online: int
    flights_live: int
    last_batch_utc_us: int | None
    batches_not_derived: int
    quarantined: int
    jobs_waiting: int
    jobs_failing: int
    alerts_open: int
