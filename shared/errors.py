"""The one exception for input that must not be trusted: hostile, damaged or of a version that we do not know."""

import cbor2


class Refused(ValueError):
    """Input refused. `reason` is a constant snake_case word (a metric label, a quarantine reason);
    `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def plainly(error: Exception) -> str:
    """What an exception says to a person: an OSError without its number, the file first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


MALFORMED: tuple[type[Exception], ...] = (
    cbor2.CBORDecodeError,
    cbor2.CBOREncodeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    OverflowError,
)
"""What taking apart decoded CBOR of an unknown shape can raise."""
