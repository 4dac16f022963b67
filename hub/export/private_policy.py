"""What a private export may hold, message by message: an allowlist. What is not named in it is left out.

`private_messages.txt`: a line is messages and what is kept of them; a line that begins with two spaces goes on. `*` all
fields (but those of SUSPECT), names, `-name` all but these; `name=lat`, `=lon`, `=alt_m`, `=alt_mm`, `=alt` fields that
are moved; `name=utc` fields that tell the time of day. A name after `-` may end in `*`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Dialect = Literal["mavlink", "dataflash", "ulog"]
SUSPECT = re.compile(
    r"(?i)(^|[_.])(lat|lon|lng|latitude|longitude|ecef|home|origin|ref|utc|uuid|uid|serial_number|device_ids?)([_.\[]|$)"
    r"|^(lat|lng|lon)(_|$)|ellipsoid|terrain|declin|inclin|amsl|device_id"
)
"""Fields that `*` does not cover, whatever the message."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of a message. moved: field -> lat, lon, alt_m, alt_cm, alt_mm or utc."""

    keeps_all: bool
    named: frozenset[str]
    without: frozenset[str]
    moved: dict[str, str]

    def keeps(self, name: str) -> bool:
        """Whether a field (`esc[0].esc_rpm` is asked for as `esc.esc_rpm`) is kept or moved."""
        bare = re.sub(r"\[\d+\]", "", name)
        if bare in self.moved:
            return True
        if bare in self.without or any(w.endswith("*") and bare.startswith(w[:-1]) for w in self.without):
            return False
        return bare in self.named or (self.keeps_all and not SUSPECT.search(bare))


FOLDER = Path(__file__).parent


@cache
def policies(dialect: Dialect) -> dict[str, Policy]:
    """Message name -> what is kept of it."""
    text = (FOLDER / "private_messages.txt").read_text(encoding="utf-8")
    section = text.split(f"[{dialect}]\n")[1].split("\n[")[0].replace("\n  ", " ")
    found: dict[str, Policy] = {}
    for line in section.strip().splitlines():
        words = line.split()
        first = next(i for i, word in enumerate(words) if i and _is_term(word, dialect))
        found |= dict.fromkeys(words[:first], _policy(words[first:]))
    return found


def _is_term(word: str, dialect: Dialect) -> bool:
    """Messages come first and are upper case; ULog's topics end at `*` or at the first field, which is `timestamp`."""
    return word in ("*", "timestamp") if dialect == "ulog" else word == "*" or word != word.upper()


def _policy(terms: Iterable[str]) -> Policy:
    plain = {t for t in terms if "=" not in t and not t.startswith("-") and t != "*"}
    without = {t[1:] for t in terms if t.startswith("-")}
    moved = dict(t.split("=") for t in terms if "=" in t)
    return Policy("*" in terms, frozenset(plain), frozenset(without), moved)


# By the beginning of their names: tuning, limits and wiring. Not compass, baro, GPS, home, fence, ids.
_PARAMETERS = tuple((FOLDER / "private_parameters.txt").read_text(encoding="utf-8").split())
_NOT_PARAMETERS = re.compile(r"(?i)LAT|LON|LNG|DECL|_ID$|_ID\d|UUID|SERIAL|ORIG|HOME|_MAG_DEC|MAG_B|PRESS|_DEVID")


def keeps_parameter(name: str) -> bool:
    """Whether a parameter tells nothing of a place or of the hardware's identity."""
    return name.startswith(_PARAMETERS) and not _NOT_PARAMETERS.search(name)
