"""The devices that a broker lets in: one line per aircraft, in a file that any process of the hub may change."""

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Device(NamedTuple):
    """An aircraft's identity, as its certificate names it (O and CN)."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID


class DeviceList:
    """Devices in a text file, in order of registration. Changes are made under a lock and replace the file whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Device]:
        """All devices; none when the file is not there yet."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Device(uuid.UUID(org), uuid.UUID(aircraft)) for org, aircraft in map(str.split, lines)]

    @contextmanager
    def changed(self) -> Iterator[dict[Device, None]]:
        """The devices as an ordered set to change in place; what it holds at the end is written."""
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            devices = dict.fromkeys(self.read())
            yield devices
            new = self.path.with_suffix(".new")
            new.write_text("".join(f"{device.org_id} {device.aircraft_id}\n" for device in devices))
            new.replace(self.path)
