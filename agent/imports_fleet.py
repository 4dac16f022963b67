"""Whose a log is: by the chips that the fleet is known by, by what a person says. Never guessed."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import imports_store
from agent.imports import ImportQueue
from shared.errors import Refused

MOST_AIRCRAFT = 10_000


@dataclass(frozen=True, slots=True)
class Owner:
    """aircraft: None when nobody knows. how: said, known (by its chip), own (this device's), asked, unknown."""

    aircraft: uuid.UUID | None
    how: str


class Fleet:
    """The aircraft that this device knows of, in the queue's own file."""

    def __init__(self, queue: ImportQueue) -> None:
        self._queue = queue
        with queue.store.lock:
            self.names = imports_store.fleet(queue.store.conn)

    def resolve(self, text: str) -> uuid.UUID:
        """An aircraft by its id or name. Refused("aircraft_unknown")."""
        try:
            return uuid.UUID(text)
        except ValueError:
            found = [i for i, name in self.names.items() if name.casefold() == text.casefold()]
        if len(found) == 1:
            return found[0]
        why = "several have" if found else "none known here has"
        raise Refused("aircraft_unknown", f"{why} the name {text!r}; give its id, or run: dbx agent sync")

    def owner(self, hardware_ids: tuple[str, ...]) -> Owner:
        """Whose log, as far as its chips tell."""
        with self._queue.store.lock:
            found = imports_store.owners(self._queue.store.conn, hardware_ids)
        if len(found) == 1:
            return Owner(found.pop(), "known")
        if not found and not self._queue.identity.is_station:
            return Owner(self._queue.identity.aircraft_id, "own")
        return Owner(None, "unknown")

    def contradicts(self, hardware_ids: tuple[str, ...], aircraft: uuid.UUID) -> str:
        """The name of another aircraft that the chips speak for; "" when they do not."""
        with self._queue.store.lock:
            found = imports_store.owners(self._queue.store.conn, hardware_ids)
        return "" if not found or aircraft in found else ", ".join(sorted(self.name(a) for a in found))

    def name(self, aircraft: uuid.UUID | None) -> str:
        """For people."""
        return "unassigned" if aircraft is None else self.names.get(aircraft, str(aircraft))

    def learn(self, aircraft: uuid.UUID, hardware_ids: tuple[str, ...]) -> None:
        """These chips speak for that aircraft: a person said so."""
        with self._queue.store.transaction() as conn:
            imports_store.learn(conn, aircraft, hardware_ids)

    def take(self, answer: bytes) -> int:
        """The hub's answer to GET /v1/device/fleet; how many aircraft it names. ValueError when it is none."""
        try:
            found = [_aircraft(item) for item in json.loads(answer)["aircraft"][:MOST_AIRCRAFT]]
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"not an answer on the fleet: {e}") from None
        with self._queue.store.transaction() as conn:
            for aircraft, name, hardware_ids in found:
                imports_store.name_aircraft(conn, aircraft, name)
                imports_store.learn(conn, aircraft, hardware_ids)
            self.names = imports_store.fleet(conn)
        return len(found)


def _aircraft(item: Mapping[str, Any]) -> tuple[uuid.UUID, str, tuple[str, ...]]:
    return uuid.UUID(item["aircraft_id"]), str(item["name"]), tuple(map(str, item["hardware_ids"]))
