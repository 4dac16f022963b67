"""Device keys by key id, remembered for a second: a revocation takes effect at once."""

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.ingest.admit import DeviceKey
from hub.store.device_keys import find_device_keys

KEEP_S = 1.0
MOST = 50_000


class KeyCache:
    """Key id -> DeviceKey. `load` fetches what is missing or stale; `find` only looks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: OrderedDict[bytes, tuple[float, DeviceKey | None]] = OrderedDict()

    def load(self, conn: psycopg.Connection[Any], key_ids: Collection[bytes]) -> None:
        """Have all of these at hand, unknown ones as unknown."""
        now = self._clock()
        wanted = {k for k in key_ids if (e := self._keys.get(k)) is None or e[0] <= now}
        if not wanted:
            return
        found = {bytes(r[0]): r for r in find_device_keys(conn, wanted)}
        for key_id in wanted:
            row = found.get(key_id)
            self._keys.pop(key_id, None)
            self._keys[key_id] = (now + KEEP_S, None if row is None else _device_key(*row))
        while len(self._keys) > MOST:
            self._keys.popitem(last=False)

    def find(self, key_id: bytes) -> DeviceKey | None:
        """The key, or None when it is unknown."""
        entry = self._keys.get(key_id)
        return None if entry is None else entry[1]


def _device_key(
    key_id: bytes, org_id: uuid.UUID, aircraft_id: uuid.UUID, public: bytes, revoked_us: int | None
) -> DeviceKey:
    return DeviceKey(bytes(key_id), org_id, aircraft_id, Ed25519PublicKey.from_public_bytes(bytes(public)), revoked_us)
