"""Envelopes in, signed receipts out: admit, derive, commit, quarantine. What both intakes and the HTTPS upload call.

A database failure is raised and nothing is acknowledged; whatever was committed before it is receipted when the same
envelopes come again. Everything else is decided here: each envelope is committed, a duplicate, or quarantined.
"""

import logging
import struct
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.ingest.admit import Admitted, Refusal, admit, refuse
from hub.ingest.commit import Outcome, SessionRace, commit
from hub.ingest.derive import Derived, SessionKey, derive, portions
from hub.ingest.keys import KeyCache
from hub.ingest.live_carry import LiveCarry
from hub.ingest.live_events import LiveEvents
from hub.ingest.table_rows import RowTypes
from hub.store import alerts, quarantine, sessions
from hub.store.device_keys import organisation_exists
from hub.store.rows import use_rows
from hub.store.tenant import HUB_ORG, tenant
from shared.envelope import RECEIPT_TYPE, peek, seal
from shared.errors import Refused
from shared.receipt import MAX_DIGESTS, encode_receipt, make_receipt

log = logging.getLogger("dbx.ingest")
ALERTING = {"sequence_conflict": "critical", "revoked_key": "warning", "stream_of_other_aircraft": "critical",
            "session_of_other_aircraft": "critical", "topic_of_other_aircraft": "critical",
            "topic_of_other_organisation": "critical", "log_of_other_aircraft": "critical",
            "bad_signature": "warning"}  # fmt: skip
"""Refusals of which the organisation is alerted."""
MOST_STREAMS = 100_000
MOST_FRAMES = 400_000
"""Frames of one transaction, four times what a full group of honest batches has: their decoded columns are in memory
together."""
_POISON = (psycopg.DataError, psycopg.IntegrityError, SessionRace, ValueError, TypeError, LookupError, ArithmeticError,
           AttributeError, struct.error)  # fmt: skip
"""What the data of one batch may provoke. Every other failure is the database's or ours, and is never acknowledged."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One envelope as it came, on which topic."""

    topic: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class HubKey:
    """The key that signs receipts."""

    key: Ed25519PrivateKey
    key_id: bytes


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt envelope and who it is for."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    envelope: bytes


class Pipeline:
    """Needs a connection as dbx_ingest; not thread-safe. counters: what has happened since the start, for metrics."""

    def __init__(
        self, conn: psycopg.Connection[tuple[object, ...]], hub_key: HubKey, clock: Callable[[], float] = time.time
    ) -> None:
        use_rows(conn)
        self.conn = conn
        self.counters: Counter[str] = Counter()
        self._hub_key = hub_key
        self._clock = clock
        self._types = RowTypes(conn)
        self._keys = KeyCache()
        self._live = LiveEvents()
        self._carry = LiveCarry()
        self._streams: OrderedDict[tuple[uuid.UUID, uuid.UUID], uuid.UUID] = OrderedDict()

    def handle(self, arrivals: Sequence[Arrival]) -> list[SignedReceipt]:
        """Take in envelopes; the receipts for what is committed now, whether by this call or before.

        psycopg.OperationalError: the database is gone; nothing may be acknowledged.
        """
        admitted, refusals = self._admit(arrivals)
        by_org: dict[uuid.UUID, list[Admitted]] = {}
        for item in admitted:
            by_org.setdefault(item.key.org_id, []).append(item)
        done: list[Admitted] = []
        parts = (
            (org_id, part)
            for org_id, items in by_org.items()
            for part in portions(items, lambda i: (i.batch.counts.frames,), (MOST_FRAMES,))
        )
        for org_id, part in parts:
            outcome = self._commit(org_id, part)
            refusals += outcome.refused
            done += outcome.committed + outcome.duplicates + outcome.contradicted
            self.counters["committed"] += len(outcome.committed)
            self.counters["duplicates"] += len(outcome.duplicates)
            self.counters["frames"] += sum(i.batch.counts.frames for i in outcome.committed)
        self._quarantine(refusals)
        return self._receipts(done)

    def _admit(self, arrivals: Sequence[Arrival]) -> tuple[list[Admitted], list[Refusal]]:
        self._keys.load(self.conn, {k for a in arrivals if (k := _key_id(a.envelope)) is not None})
        now_us = int(self._clock() * 1e6)
        admitted, refusals = [], []
        for a in arrivals:
            result = admit(a.topic, a.envelope, self._keys.find, self._find_stream, now_us)
            if isinstance(result, Admitted):
                admitted.append(result)
            else:
                refusals.append(result)
        return admitted, refusals

    def _find_stream(self, org_id: uuid.UUID, stream_id: uuid.UUID) -> uuid.UUID | None:
        return self._streams.get((org_id, stream_id))

    def _commit(self, org_id: uuid.UUID, items: list[Admitted]) -> Outcome:
        """Commit all; when the data of one make that impossible, each alone."""
        found, refused = derive(items, self._offsets(org_id, items), self._live, self._carry)
        outcome = self._commit_derived(org_id, found)
        outcome.refused += refused
        for item in outcome.committed:
            self._streams[org_id, item.batch.stream] = item.key.aircraft_id
        while len(self._streams) > MOST_STREAMS:
            self._streams.popitem(last=False)
        return outcome

    def _offsets(self, org_id: uuid.UUID, items: list[Admitted]) -> dict[SessionKey, int]:
        wanted = {i.batch.session for i in items if i.batch.session is not None}
        if not wanted:
            return {}
        with tenant(self.conn, org_id):
            known = sessions.find_sessions(self.conn, org_id, [*wanted])
        return {(org_id, s): state.clock_offset_us for s, state in known.items()}

    def _commit_derived(self, org_id: uuid.UUID, found: list[Derived]) -> Outcome:
        """Commit all at once; when the data of one make that impossible, each alone, the culprit bare."""
        try:
            return commit(self.conn, self._types, org_id, found)
        except _POISON as e:
            if len(found) == 1:
                return self._commit_bare(org_id, found[0], e)
            log.warning("group failed, one by one", extra={"org": str(org_id), "batches": len(found), "error": str(e)})
        total = Outcome()
        for d in found:
            part = self._commit_derived(org_id, [d])
            total.committed += part.committed
            total.duplicates += part.duplicates
            total.refused += part.refused
            total.contradicted += part.contradicted
        return total

    def _commit_bare(self, org_id: uuid.UUID, d: Derived, why: Exception) -> Outcome:
        """The envelope and its ledger row alone, flagged to be derived again; if even that fails, quarantine."""
        self.counters["not_derived"] += 1
        batch = d.item.batch
        log.error("batch not derived", extra={"org": str(org_id), "stream": str(batch.stream), "seq": batch.seq,
                                              "error": f"{type(why).__name__}: {why}"})  # fmt: skip
        try:
            return commit(self.conn, self._types, org_id, [Derived(d.item, d.offset_us, error=str(why)[:500] or "?")])
        except _POISON as e:
            return Outcome(refused=[refuse(d.item, Refused("not_storable", f"{type(e).__name__}: {e}"))])

    def _quarantine(self, refusals: Sequence[Refusal]) -> None:
        by_org: dict[uuid.UUID, list[Refusal]] = {}
        for r in refusals:
            self.counters[f"refused_{r.reason}"] += 1
            by_org.setdefault(self._charged(r), []).append(r)
        for org_id, items in by_org.items():
            with tenant(self.conn, org_id, actor="ingest"):
                for r in items:
                    is_new = quarantine.put(
                        self.conn, org_id,
                        quarantine.Quarantined(r.reason, r.detail, r.topic, r.key_id, r.aircraft_id, r.stream_id, r.seq,
                                               r.digest, r.envelope),
                    )  # fmt: skip
                    if is_new and r.reason in ALERTING:
                        self._alert(org_id, r)
                quarantine.trim(self.conn, org_id)
            log.warning("refused", extra={"org": str(org_id), "reasons": sorted({r.reason for r in items})})

    def _charged(self, r: Refusal) -> uuid.UUID:
        """The organisation that is told; the hub itself where there is none."""
        is_real = r.org_id is not None and organisation_exists(self.conn, r.org_id)
        return r.org_id if is_real and r.org_id is not None else HUB_ORG

    def _alert(self, org_id: uuid.UUID, r: Refusal) -> None:
        subject = r.stream_id or r.aircraft_id or (r.key_id or b"").hex()
        text = f"a batch was refused and is in quarantine: {r.reason} ({r.detail})"
        alerts.raise_alert(self.conn, org_id, f"{r.reason}:{subject}", r.reason, ALERTING[r.reason], text)

    def _receipts(self, done: Sequence[Admitted]) -> list[SignedReceipt]:
        """One receipt per stream (more when it would grow too long)."""
        streams: dict[tuple[uuid.UUID, uuid.UUID, uuid.UUID], dict[int, bytes]] = {}
        for item in done:
            key = (item.key.org_id, item.key.aircraft_id, item.batch.stream)
            streams.setdefault(key, {})[item.batch.seq] = item.digest
        now_us = int(self._clock() * 1e6)
        out = []
        for (org_id, aircraft_id, stream), digests in streams.items():
            ordered = sorted(digests.items())
            for at in range(0, len(ordered), MAX_DIGESTS):
                receipt = make_receipt(stream, dict(ordered[at : at + MAX_DIGESTS]), now_us)
                signed = seal(encode_receipt(receipt), self._hub_key.key, self._hub_key.key_id, RECEIPT_TYPE)
                out.append(SignedReceipt(org_id, aircraft_id, signed))
        self.counters["receipts"] += len(out)
        return out


def _key_id(envelope: bytes) -> bytes | None:
    """The key id that an envelope names, to fetch it beforehand; whether it signed is checked later."""
    try:
        return peek(envelope)[0]
    except Refused:
        return None
