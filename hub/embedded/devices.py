"""The devices that a broker lets in: one line per device, in a file that any process of the hub may change."""

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Device(NamedTuple):
    """A device's identity, as its certificate names it (O, CN and, if it has one, OU)."""

    org_id: uuid.UUID
    aircraft_id: uuid.UUID
    device_id: uuid.UUID | None = None

    def subject(self) -> list[str]:
        """The parts of the certificate's subject, in the order of its encoding."""
        unit = [] if self.device_id is None else [f"OU={self.device_id}"]
        return [f"CN={self.aircraft_id}", f"O={self.org_id}", *unit]


class DeviceList:
    """Devices in a text file, in order of registration. Changes are made under a lock and replace the file whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Device]:
        """All devices; none when the file is not there yet."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Device(*map(uuid.UUID, line.split())) for line in lines]

    @contextmanager
    def changed(self) -> Iterator[dict[Device, None]]:
        """The devices as an ordered set to change in place; what it holds at the end is written."""
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            devices = dict.fromkeys(self.read())
            yield devices
            new = self.path.with_suffix(".new")
            new.write_text("".join(" ".join(str(part) for part in d if part) + "\n" for d in devices))
            new.replace(self.path)
