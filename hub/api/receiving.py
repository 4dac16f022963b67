"""Envelopes that came over HTTPS, on the very path of those from the broker (hub/ingest/pipeline.py)."""

import threading
from uuid import UUID

import psycopg

from hub.api.pipeline import DatabaseGone
from hub.ingest.pipeline import Arrival, HubKey, Pipeline
from shared import topics
from shared.topics import Lane


class UploadReceiving:
    """One ingest connection, used by one upload at a time; made when first needed, and again when it breaks."""

    def __init__(self, database_url: str, hub_key: HubKey) -> None:
        self._url = database_url
        self._hub_key = hub_key
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None

    def commit(self, org_id: UUID, aircraft_id: UUID, envelopes: list[bytes]) -> list[bytes]:
        """Receipts for what is committed. DatabaseGone: nothing is acknowledged; send it again."""
        topic = topics.up(org_id, aircraft_id, Lane.backlog)
        with self._lock:
            try:
                if self._pipeline is None:
                    conn = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
                    self._pipeline = Pipeline(conn, self._hub_key)
                receipts = self._pipeline.handle([Arrival(topic, e) for e in envelopes])
            except psycopg.OperationalError as e:
                self._drop()
                raise DatabaseGone(str(e)) from None
        return [r.envelope for r in receipts if (r.org_id, r.aircraft_id) == (org_id, aircraft_id)]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.conn.close()
            self._pipeline = None
