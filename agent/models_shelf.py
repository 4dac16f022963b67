"""Released model bundles on this aircraft's disk, and which of them is in force: checked at each load.

`models/state.json` is replaced as a whole, after the bundle that it names is on disk: a kill at any point leaves the
earlier choice or the new one. What is torn falls back to the older bundle, at last to that of the program.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.lean import give_back
from agent.models_trial import Trial, trial_from
from shared.errors import Refused
from shared.scoring import MAX_BUNDLE_BYTES, Bundle, packaged_bundle, read_bundle

FOLDER = "models"
STAGES = ("shadow", "canary", "fleet")
_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release that a directive told of: not enacted and reported yet."""

    version: int
    digest: bytes
    stage: str
    size: int


@dataclass(frozen=True, slots=True)
class Choice:
    """stage: packaged (nothing was released, or it was withdrawn), shadow, canary, fleet. newer: the released bundle;
    older: the one that it replaces, or is compared with. None: the packaged one. number: of the last report.
    answered: version of the newest directive that was."""

    stage: str = "packaged"
    newer: bytes | None = None
    older: bytes | None = None
    trial: Trial = field(default_factory=Trial)
    wanted: Wanted | None = None
    number: int = 0
    answered: int = 0

    @property
    def active(self) -> bytes | None:
        """The bundle whose findings are raised."""
        return self.newer if self.stage in ("canary", "fleet") else self.older

    @property
    def other(self) -> tuple[bytes | None] | None:
        """The bundle that is compared, when one is: (its digest,)."""
        return {"shadow": (self.newer,), "canary": (self.older,)}.get(self.stage)

    def released(self, wanted: Wanted) -> "Choice":
        """The choice that this release asks for; it is compared with what was last released to the fleet."""
        trusted = self.newer if self.stage == "fleet" and self.newer != wanted.digest else self.older
        is_same = (self.newer, self.stage) == (wanted.digest, wanted.stage)
        trial = self.trial if is_same else Trial()
        return replace(self, stage=wanted.stage, newer=wanted.digest, older=trusted, trial=trial)

    def withdrawn(self) -> "Choice":
        """Back to the older bundle."""
        stage = "packaged" if self.older is None else "fleet"
        return replace(self, stage=stage, newer=self.older, older=None, trial=Trial())


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a start found. trouble: why it is not what was chosen; "" when it is."""

    choice: Choice
    active: Bundle
    other: Bundle | None
    trouble: str


class Shelf:
    """See the module. One writer of the state; bundles are put by another thread."""

    def __init__(self, data_dir: Path, trusted_keys: Sequence[bytes]) -> None:
        self._folder = data_dir / FOLDER
        self._keys = trusted_keys

    def open(self) -> Loaded:
        """The bundles in force. OSError or Refused when not even the packaged one can be loaded."""
        for left in self._folder.glob("*.new"):  # of a kill
            left.unlink(missing_ok=True)
        choice, trouble = self._read()
        found = self._try(choice)
        while isinstance(found, str):
            trouble = "; ".join(filter(None, (trouble, found)))
            choice = choice.withdrawn()
            found = (self.load(None), None) if choice.stage == "packaged" else self._try(choice)
        return Loaded(choice, *found, trouble)

    def load(self, digest: bytes | None) -> Bundle:
        """A bundle, checked. OSError, Refused."""
        if digest is None:
            return _slim(packaged_bundle())
        with self._path(digest).open("rb") as file:
            return self.check(file.read(MAX_BUNDLE_BYTES + 1), digest)

    def check(self, data: bytes, digest: bytes) -> Bundle:
        """The bundle of these bytes: signed by a release key and the one that is meant. Refused."""
        bundle = read_bundle(data, self._keys)
        if bundle.digest != digest:
            raise Refused("bundle_digest", f"{bundle.digest.hex()} instead of {digest.hex()}")
        return _slim(bundle)

    def put(self, digest: bytes, data: bytes) -> None:
        """Put a checked bundle on disk. OSError."""
        self._replace(self._path(digest), data)

    def save(self, choice: Choice) -> None:
        """Put a choice in force for the next start, and drop bundles that nothing needs. OSError."""
        wanted = choice.wanted
        body = {
            "stage": choice.stage, "newer": _hex(choice.newer), "older": _hex(choice.older), "number": choice.number,
            "answered": choice.answered, "trial": choice.trial.to_map(),
            "wanted": wanted and [wanted.version, wanted.digest.hex(), wanted.stage, wanted.size],
        }  # fmt: skip
        self._replace(self._folder / _STATE, json.dumps(body).encode())
        needed = {choice.newer, choice.older, wanted.digest if wanted else None}
        for path in self._folder.glob("*.bundle"):
            if path.stem not in {d.hex() for d in needed if d is not None}:
                path.unlink(missing_ok=True)

    def _read(self) -> tuple[Choice, str]:
        try:
            body = json.loads((self._folder / _STATE).read_bytes())
            return _choice(body), ""
        except FileNotFoundError:
            return Choice(), ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            return Choice(), f"{_STATE} cannot be read ({e}): the packaged model is in force"[:300]

    def _try(self, choice: Choice) -> tuple[Bundle, Bundle | None] | str:
        """Both bundles of a choice, or why not."""
        try:
            return self.load(choice.active), None if choice.other is None else self.load(choice.other[0])
        except (OSError, Refused) as e:
            return f"{choice.stage} bundle {(_hex(choice.newer) or 'packaged')[:16]} not loaded: {e}"[:300]

    def _path(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}.bundle"

    def _replace(self, path: Path, data: bytes) -> None:
        """On disk as a whole, or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _choice(body: dict[str, Any]) -> Choice:
    stage, wanted, counts = body["stage"], body["wanted"], (body["number"], body["answered"])
    if stage not in ("packaged", *STAGES) or (stage != "packaged" and not body["newer"]):
        raise ValueError(f"stage {stage!r}")
    if any(type(n) is not int for n in counts):
        raise ValueError(f"number, answered: {counts!r}")
    return Choice(
        stage, _digest(body["newer"]), _digest(body["older"]), trial_from(body["trial"]),
        None if wanted is None else Wanted(int(wanted[0]), bytes.fromhex(wanted[1]), str(wanted[2]), int(wanted[3])),
        *counts,
    )  # fmt: skip


def _digest(text: str | None) -> bytes | None:
    raw = None if text is None else bytes.fromhex(text)
    if raw is not None and len(raw) != 32:
        raise ValueError("a digest has 32 bytes")
    return raw


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _slim(bundle: Bundle) -> Bundle:
    """The bundle without what only an analysis needs, and without what loading it left behind."""
    bundle.let_go()
    give_back()
    return bundle
