"""What the tables get of derived batches, as rows by column name."""

import uuid
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Any

import psycopg

from hub.ingest.derive import LONGEST_US, Derived, json_text
from hub.store.ledger import BatchKey
from hub.store.rows import RowType
from shared.clock import ClockSource
from shared.records import Finding, Gap, ModelReport, SessionClose, SessionOpen
from shared.topics import Lane

Row = dict[str, Any]
_INT4 = (1 << 31) - 1
_DAY_US = 86_400_000_000


class RowTypes:
    """The row types of the tables that ingest and settling write; `RowTypes(conn)` reads them once."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.streams = RowType(conn, "streams")
        self.ingest_batches = RowType(conn, "ingest_batches")
        self.batch_envelopes = RowType(conn, "batch_envelopes")
        self.flight_sessions = RowType(conn, "flight_sessions")
        self.telemetry_chunks = RowType(conn, "telemetry_chunks")
        self.flight_events = RowType(conn, "flight_events")
        self.gaps = RowType(conn, "gaps")
        self.findings = RowType(conn, "findings")
        self.model_reports = RowType(conn, "model_reports")
        self.aircraft_state = RowType(conn, "aircraft_state")


class TableRows:
    """Rows of some batches of one organisation, in the batches' order."""

    def __init__(self, org_id: uuid.UUID, found: Sequence[Derived]) -> None:
        self.org_id = org_id
        self.found = found

    def streams(self) -> list[Row]:
        """One row per stream. A stream that two aircraft claim at once goes to the first."""
        rows: dict[uuid.UUID, Row] = {}
        for d in self.found:
            b, key = d.item.batch, d.item.key
            row = rows.setdefault(b.stream, {
                "org_id": self.org_id, "stream_id": b.stream, "aircraft_id": key.aircraft_id, "key_id": key.key_id,
                "newest_seq": b.seq, "newest_boot": b.boot, "is_live": False,
            })  # fmt: skip
            row["is_live"] |= b.lane != Lane.bulk
            if row["aircraft_id"] == key.aircraft_id and b.seq >= row["newest_seq"]:
                row["newest_seq"], row["newest_boot"] = b.seq, b.boot
        return [*rows.values()]

    def ledger(self) -> list[Row]:
        return [self._ledger_row(d) for d in self.found]

    def _ledger_row(self, d: Derived) -> Row:
        b, c = d.item.batch, d.item.batch.counts
        clock = b.best_clock()
        return {
            "org_id": self.org_id, "stream_id": b.stream, "seq": b.seq, "aircraft_id": d.item.key.aircraft_id,
            "boot_id": b.boot, "session_id": b.session, "digest": d.item.digest, "prev_digest": b.prev,
            "covers_from_us": b.covers[0], "covers_to_us": b.covers[1],
            "clock_offset_us": None if clock.utc_us is None else clock.offset_us(),
            "clock_uncertainty_us": clock.uncertainty_us, "clock_source": int(clock.source), "lane": int(b.lane),
            "frames": c.frames, "frame_bytes": _int4(c.bytes), "envelope_bytes": len(d.item.envelope),
            "bad_crc": _int4(c.bad_crc), "junk_bytes": _int4(c.junk_bytes), "dropped": _int4(c.dropped),
            "grid_rows": d.grid_rows, "derived": 1 if d.error else 0,
        } | d.summary  # fmt: skip

    def envelopes(self) -> list[Row]:
        return [{"org_id": self.org_id, "stream_id": d.item.batch.stream, "seq": d.item.batch.seq,
                 "envelope": d.item.envelope} for d in self.found]  # fmt: skip

    def chunks(self, except_for: Collection[BatchKey]) -> list[Row]:
        """Live chunks, each naming its batch."""
        rows = []
        for d in self.found:
            b = d.item.batch
            ids = {"org_id": self.org_id, "session_id": b.session, "aircraft_id": d.item.key.aircraft_id,
                   "stream_id": b.stream, "seq": b.seq, "settled": False}  # fmt: skip
            if (b.stream, b.seq) not in except_for:
                rows += [ids | chunk for chunk in d.chunks]
        return rows

    def sessions(self) -> list[Row]:
        """One row per session that the batches name, open or close."""
        rows: dict[uuid.UUID, list[Row]] = {}
        for d in self.found:
            if d.item.batch.session is not None:
                rows.setdefault(d.item.batch.session, []).append(self._session_of_batch(d))
            for _, record in d.records:
                if isinstance(record, SessionOpen):
                    rows.setdefault(record.session, []).append(self._session_of_open(d, record))
                elif isinstance(record, SessionClose):
                    rows.setdefault(record.session, []).append(self._session_of_close(d, record))
        return [reduce(_merge, parts) for parts in rows.values()]

    def _session(self, d: Derived, session: uuid.UUID, started: int, ended: int) -> Row:
        clock = d.item.batch.best_clock()
        is_own = d.offset_us == clock.offset_us()
        return {
            "org_id": self.org_id, "session_id": session, "aircraft_id": d.item.key.aircraft_id,
            "stream_id": d.item.batch.stream, "boot_id": d.item.batch.boot, "state": "live", "opened": False,
            "clock_source": int(clock.source if is_own else ClockSource.unknown), "clock_offset_us": d.offset_us,
            "clock_uncertainty_us": clock.uncertainty_us, "firmware": "", "grid_rows": 0,
            "started_utc_us": started, "ended_utc_us": ended,
        }  # fmt: skip

    def _session_of_batch(self, d: Derived) -> Row:
        assert d.item.batch.session is not None
        row = self._session(d, d.item.batch.session, *d.span_utc_us)
        row |= {
            "grid_rows": d.grid_rows, "max_alt_rel_m": d.summary.get("alt_rel_m_max"),
            "max_groundspeed_mps": d.summary.get("groundspeed_mps_max"),
        }  # fmt: skip
        if d.vehicle is not None and d.vehicle.mav_type:
            row |= {"sysid": d.vehicle.sysid, "compid": d.vehicle.compid, "mav_type": d.vehicle.mav_type,
                    "mav_autopilot": d.vehicle.autopilot}  # fmt: skip
        return row

    def _session_of_open(self, d: Derived, r: SessionOpen) -> Row:
        at = _time(r.armed_us + d.offset_us)
        return self._session(d, r.session, at, at) | {
            "boot_id": r.boot, "opened": True, "first_seq": r.first_seq, "first_us": r.first_us, "armed_us": r.armed_us,
            "sysid": _byte(r.sysid), "compid": _byte(r.compid), "mav_type": _byte(r.vehicle_type),
            "mav_autopilot": _byte(r.autopilot), "firmware": r.firmware[:200],
        }  # fmt: skip

    def _session_of_close(self, d: Derived, r: SessionClose) -> Row:
        ended = r.last_us if r.disarmed_us is None else r.disarmed_us
        armed = _time(r.armed_us + d.offset_us)
        return self._session(d, r.session, armed, _time(ended + d.offset_us)) | {
            "state": "closed", "close_reason": r.reason[:100], "first_seq": r.first_seq, "last_seq": r.last_seq,
            "first_us": r.first_us, "last_us": r.last_us, "armed_us": r.armed_us, "disarmed_us": r.disarmed_us,
            "manifest_batches": r.batches, "manifest_frames": r.frames, "manifest_bytes": r.size_bytes,
            "frames_by_message": json_text(r.frames_by_message), "wire_lost": json_text(r.wire_lost),
            "junk_bytes": r.junk_bytes, "bad_crc": r.bad_crc, "chain_head": r.chain_head,
        }  # fmt: skip

    def events(self) -> list[Row]:
        return [
            {
                "org_id": self.org_id, "stream_id": d.item.batch.stream, "seq": d.item.batch.seq, "event_no": i,
                "aircraft_id": d.item.key.aircraft_id, "session_id": d.item.batch.session, "at_us": e.at_us,
                "at_utc_us": _time(e.at_us + d.offset_us), "kind": e.kind, "severity": e.severity, "text": e.text,
                "value": e.value,
            }
            for d in self.found
            for i, e in enumerate(d.events)
        ]  # fmt: skip

    def gaps(self) -> list[Row]:
        return [self._gap(d, i, r) for d in self.found for i, r in d.records if isinstance(r, Gap)]

    def _gap(self, d: Derived, number: int, r: Gap) -> Row:
        utc = [None if t is None else _time(t + d.offset_us) for t in (r.from_us, r.to_us)]
        return {
            "org_id": self.org_id, "record_stream_id": d.item.batch.stream, "record_seq": d.item.batch.seq,
            "record_no": number, "aircraft_id": d.item.key.aircraft_id, "stream_id": r.stream, "session_id": r.session,
            "reason": r.reason[:100], "first_seq": r.first_seq, "last_seq": r.last_seq, "digests": r.digests,
            "frames": r.frames, "size_bytes": r.size_bytes, "from_us": r.from_us, "to_us": r.to_us,
            "from_utc_us": utc[0], "to_utc_us": utc[1], "detail": r.detail[:1000],
        }  # fmt: skip

    def findings(self) -> list[Row]:
        """One row per finding: what says most of it."""
        rows: dict[uuid.UUID, Row] = {}
        for d in self.found:
            for _, r in d.records:
                if isinstance(r, Finding):
                    row = self._finding(d, r)
                    other = rows.setdefault(r.finding, row)
                    if row["aircraft_id"] == other["aircraft_id"] and _grown(row) > _grown(other):
                        rows[r.finding] = row
        return [*rows.values()]

    def _finding(self, d: Derived, r: Finding) -> Row:
        return {
            "org_id": self.org_id, "finding_id": r.finding, "aircraft_id": d.item.key.aircraft_id,
            "session_id": r.session, "source": "aircraft", "kind": r.kind[:100],
            "severity": r.severity if r.severity in ("info", "warning", "critical") else "warning",
            "score": r.score, "threshold": r.threshold, "start_us": r.start_us, "end_us": r.end_us,
            "start_utc_us": _time(r.start_us + d.offset_us), "end_utc_us": _time(r.end_us + d.offset_us),
            "model": r.model[:200], "feature_version": _int4(r.feature_version), "evidence": json_text(r.evidence),
        }  # fmt: skip

    def model_reports(self) -> list[Row]:
        return [self._model_report(d, i, r) for d in self.found for i, r in d.records if isinstance(r, ModelReport)]

    def _model_report(self, d: Derived, number: int, r: ModelReport) -> Row:
        return {
            "org_id": self.org_id, "stream_id": d.item.batch.stream, "seq": d.item.batch.seq, "record_no": number,
            "aircraft_id": d.item.key.aircraft_id, "number": r.number, "at_utc_us": _time(r.at_us + d.offset_us),
            "stage": r.stage[:20], "active": r.active[:200], "active_digest": r.active_digest[:32],
            "other": r.other[:200], "other_digest": None if r.other_digest is None else r.other_digest[:32],
            "flown_s": r.flown_s, "agreed_s": r.agreed_s, "active_findings": r.active_findings,
            "other_findings": r.other_findings, "detail": r.detail[:1000],
        }  # fmt: skip

    def newest(self, now_us: int) -> list[Row]:
        """One row per aircraft: its newest batch that is not an import. now_us: the hub's clock, us since 1970 UTC."""
        rows: dict[uuid.UUID, Row] = {}
        for d in self.found:
            b = d.item.batch
            at = _state_time(d, now_us) if d.newest else 0  # records alone hold no values that could be newest
            if (
                at is not None
                and b.lane != Lane.bulk
                and at >= rows.get(d.item.key.aircraft_id, {"at_utc_us": at})["at_utc_us"]
            ):
                rows[d.item.key.aircraft_id] = self._newest_row(d, at)
        return [*rows.values()]

    def _newest_row(self, d: Derived, at: int) -> Row:
        b = d.item.batch
        row = {"org_id": self.org_id, "aircraft_id": d.item.key.aircraft_id, "stream_id": b.stream, "boot_id": b.boot,
               "session_id": b.session, "at_utc_us": at, "firmware": ""}  # fmt: skip
        if d.vehicle is not None and d.vehicle.mav_type:
            row |= {"sysid": d.vehicle.sysid, "compid": d.vehicle.compid, "mav_type": d.vehicle.mav_type,
                    "mav_autopilot": d.vehicle.autopilot}  # fmt: skip
        for _, r in d.records:
            if isinstance(r, SessionOpen):
                row["firmware"] = r.firmware[:200]
        return row | d.newest


def _state_time(d: Derived, now_us: int) -> int | None:
    """When a batch's newest values held: never in the future, so that a wrong clock cannot shut out what comes later.
    What is sent live with an unknown or absurd clock is taken to be of now; None when it may be of any time."""
    at, is_live = d.span_utc_us[1], d.item.batch.lane in (Lane.alert, Lane.live)
    is_known = d.item.batch.best_clock().source != ClockSource.unknown
    if is_known and at > now_us - (_DAY_US if is_live else now_us):
        return min(at, now_us)
    return now_us if is_live else None


def _grown(finding: Row) -> tuple[int, float]:
    return finding["end_us"], finding["score"]


def _merge(a: Row, b: Row) -> Row:
    """Two rows of one session: what a record says goes before what batches say, and sums, extremes, ends are kept."""
    merged = a | {k: v for k, v in b.items() if v is not None}
    merged["grid_rows"] = a["grid_rows"] + b["grid_rows"]
    for k in ("max_alt_rel_m", "max_groundspeed_mps"):
        known = [v for v in (a.get(k), b.get(k)) if v is not None]
        merged[k] = max(known) if known else None
    merged["opened"] = a["opened"] or b["opened"]
    merged["started_utc_us"] = _chosen(a, b, "opened", True, "started_utc_us", min)
    merged["ended_utc_us"] = _chosen(a, b, "state", "closed", "ended_utc_us", max)
    merged["state"] = "closed" if "closed" in (a["state"], b["state"]) else "live"
    merged["firmware"] = b["firmware"] or a["firmware"]
    best = max((a, b), key=lambda r: r["clock_source"])
    return merged | {k: best[k] for k in ("clock_source", "clock_offset_us", "clock_uncertainty_us")}


def _chosen(a: Row, b: Row, mark: str, value: Any, name: str, of: Any) -> int:
    said = [r[name] for r in (a, b) if r[mark] == value]
    return int(said[-1] if said else of(a[name], b[name]))


def _int4(value: int) -> int:
    return min(value, _INT4)


def _byte(value: int) -> int:
    return value if 0 <= value <= 255 else 0


def _time(value: int) -> int:
    return max(-2 * LONGEST_US, min(value, 2 * LONGEST_US))
