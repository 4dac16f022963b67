"""`dbx agent import`: finds the logs under paths, whose they are, and queues them."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent import imports_store
from agent.imports import ImportQueue
from agent.imports_fleet import Fleet, Owner
from firmware_bridge.log_source import LogSource, log_sources
from firmware_bridge.log_survey import Survey, survey
from shared.errors import Refused, plainly

NEW, ALREADY, ASSIGNED, SKIPPED, FAILED = "imported", "already", "assigned", "skipped", "failed"
Ask = Callable[[LogSource, Survey, Fleet], Owner]
"""Asks a person whose log it is."""
Progress = Callable[[str, int], None]
"""Told what is done to which log, and how many bytes of it are done."""


@dataclass(slots=True)
class Outcome:
    """One log, or one file without any. state: imported, already, assigned (it was there, its aircraft is news),
    skipped (no flight log), failed. how: see Owner. damages, damaged_bytes: what could not be read as messages; it is
    kept all the same."""

    file: str
    state: str
    why: str = ""
    format: str = ""
    sha256: str = ""
    size_bytes: int = 0
    packed_bytes: int = 0
    aircraft: str | None = None
    aircraft_name: str = ""
    how: str = ""
    hardware_ids: list[str] = field(default_factory=list)
    damaged_bytes: int = 0
    damages: int = 0

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def find_files(paths: Sequence[Path], besides: Path) -> Iterator[Path]:
    """The files named, and all under the folders named, in order; never those of the agent's own folder `besides`.

    A folder that cannot be read is given itself: reading it says why. FileNotFoundError for a path that is not there.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(2, "no such file or folder", str(path))
        if not path.is_dir():
            yield path
            continue
        unread: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=unread.append):
            folders[:] = sorted(f for f in folders if (Path(folder) / f).resolve() != besides.resolve())
            yield from (Path(folder) / name for name in sorted(names) if (Path(folder) / name).is_file())
        yield from (Path(e.filename) for e in unread)


def digest_of(source: LogSource) -> bytes:
    """SHA-256 of the unpacked log."""
    sha = hashlib.sha256()
    for piece in source.pieces():
        sha.update(piece)
    return sha.digest()


class Import:
    """One run of the command. said: the aircraft named on the command line."""

    def __init__(self, queue: ImportQueue, said: str | None, is_dry: bool, ask: Ask | None, progress: Progress) -> None:
        """ask: None when there is nobody to ask. Refused("aircraft_unknown")."""
        self.fleet = Fleet(queue)
        self._queue = queue
        self._said = None if said is None else self.fleet.resolve(said)
        self._is_dry = is_dry
        self._ask = ask
        self._progress = progress

    def run(self, files: Iterator[Path]) -> Iterator[Outcome]:
        """What becomes of each file's logs."""
        for path in files:
            try:
                sources = log_sources(path)
            except Refused as e:
                yield Outcome(str(path), SKIPPED, e.detail or e.reason)
                continue
            except OSError as e:
                yield Outcome(str(path), FAILED, plainly(e))
                continue
            for source in sources:
                yield self._one(path, source)

    def _one(self, path: Path, source: LogSource) -> Outcome:
        place = f"{path}!{source.member}" if source.member else str(path)
        try:
            return self._import(place, source)
        except (Refused, OSError) as e:
            return Outcome(place, FAILED, plainly(e), source.format)

    def _import(self, place: str, source: LogSource) -> Outcome:
        log = digest_of(source)
        known = self._queue.find(log)
        if known is not None and known.packed and self._said in (None, known.aircraft):
            self._saw(place, log)
            return self._outcome(Outcome(place, ALREADY), known.log, known.aircraft, known.size, known.packed, source)
        found = survey(source, lambda done: self._progress(f"reading {source.name}", done))
        owner = self._owner(source, found)
        out = Outcome(
            place, NEW, how=owner.how, hardware_ids=list(found.hardware_ids), damages=len(found.damage),
            damaged_bytes=sum(d.size for d in found.damage),
        )  # fmt: skip
        if self._said is not None and (other := self.fleet.contradicts(found.hardware_ids, self._said)):
            out.why = f"its chip speaks for {other}"
        if self._is_dry:
            return self._outcome(out, log, owner.aircraft, found.size_bytes, 0, source)
        queued = self._queue.add(
            source, found, owner.aircraft, "card", lambda done: self._progress(f"packing {source.name}", done)
        )
        self._saw(place, log)
        out.state = NEW if queued.is_new else ASSIGNED if queued.is_assigned else ALREADY
        if owner.how in ("said", "asked") and owner.aircraft is not None and not out.why:
            self.fleet.learn(owner.aircraft, found.hardware_ids)
        return self._outcome(out, log, queued.aircraft, queued.size_bytes, queued.packed_bytes, source)

    def _owner(self, source: LogSource, found: Survey) -> Owner:
        if self._said is not None:
            return Owner(self._said, "said")
        owner = self.fleet.owner(found.hardware_ids)
        if owner.aircraft is None and self._ask is not None and not self._is_dry:
            return self._ask(source, found, self.fleet)
        return owner

    def _saw(self, place: str, log: bytes) -> None:
        path = str(Path(place).resolve())
        with self._queue.store.lock:
            seen = imports_store.seen_file(self._queue.store.conn, path)
        if seen != log and not self._is_dry:
            with self._queue.store.transaction() as conn:
                imports_store.saw_file(conn, path, log)

    def _outcome(
        self, out: Outcome, log: bytes, aircraft: Any, size_bytes: int, packed_bytes: int, source: LogSource
    ) -> Outcome:
        out.format, out.sha256, out.size_bytes, out.packed_bytes = source.format, log.hex(), size_bytes, packed_bytes
        out.aircraft = None if aircraft is None else str(aircraft)
        out.aircraft_name = self.fleet.name(aircraft)
        if source.torn:
            out.why = (
                f"{out.why}; " * bool(out.why) + f"packed file cut short ({source.torn}): kept what could be unpacked"
            )
        return out


def ask_person(source: LogSource, found: Survey, fleet: Fleet) -> Owner:
    """Ask on the terminal, by number or name; an empty answer: nobody knows."""
    names = sorted(fleet.names.items(), key=lambda item: item[1].casefold())
    what = " ".join(filter(None, (found.firmware, found.version, found.vehicle, found.vehicle_name)))
    print(f"\nWhose log is {source.name}? {what or source.format}; {', '.join(found.hardware_ids) or 'no hardware id'}")
    for number, (_, name) in enumerate(names, 1):
        print(f"  {number}  {name}")
    while True:
        print("Number, name or id (empty: not known yet): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if not answer:
            return Owner(None, "unknown")
        try:
            if answer.isdigit() and 1 <= int(answer) <= len(names):
                return Owner(names[int(answer) - 1][0], "asked")
            return Owner(fleet.resolve(answer), "asked")
        except Refused as e:
            print(f"  {e.detail}", file=sys.stderr)
