"""Which texts of a flight may be seen by strangers: those that say only what every autopilot says.

An allowlist of words: a text is kept when it knows no other word and its few numbers are short. Names of places, pilots
and aircraft, coordinates in any notation, serial numbers and paths have words or numbers that are not here.
"""

import re
from pathlib import Path

_WORDS = frozenset((Path(__file__).parent / "private_words.txt").read_text(encoding="utf-8").split())
_TOKEN = re.compile(r"[A-Za-z]+[0-9]{0,2}|[0-9]+(?:\.[0-9]*)?|[^\sA-Za-z0-9]")
_MAX_DIGITS, _MAX_NUMBERS = 4, 2
_HARMLESS = set("[]():;,.!?/%-+#=_>*<'\"\t\r\n")


def is_plain(text: str) -> bool:
    """Whether a text holds known words only, and at most two whole numbers of at most four digits."""
    tokens = _TOKEN.findall(text)
    numbers = [t for t in tokens if t[0].isdigit()]
    words = [t.lower() for t in tokens if t[0].isalpha()]
    others = {t for t in tokens if not t[0].isalnum()}
    return (
        all(w in _WORDS or w.rstrip("0123456789") in _WORDS for w in words)
        and others <= _HARMLESS
        and len(numbers) <= _MAX_NUMBERS
        and all(n.isdigit() and len(n) <= _MAX_DIGITS for n in numbers)
    )
