"""How a model on trial is compared with the one that it is to replace, second by second of the same flights. Pure."""

from dataclasses import asdict, dataclass, replace
from typing import Any

MOST_FINDINGS = 3
"""Findings that the newer model may raise whatever the older one says."""
MOST_TIMES = 3
"""Beyond those: more than so many times the older one's findings, over the same seconds, and it is withdrawn."""


@dataclass(frozen=True, slots=True)
class Trial:
    """flown_s: seconds in flight that both judged; agreed_s: of those, seconds in which both or neither had an open
    finding. active, other: findings that each began."""

    flown_s: int = 0
    agreed_s: int = 0
    active: int = 0
    other: int = 0
    is_active_open: bool = False
    is_other_open: bool = False

    def after(self, is_active_open: bool, is_other_open: bool) -> "Trial":
        """One second more, at whose end these had an open finding."""
        return Trial(
            self.flown_s + 1,
            self.agreed_s + (is_active_open == is_other_open),
            self.active + (is_active_open and not self.is_active_open),
            self.other + (is_other_open and not self.is_other_open),
            is_active_open,
            is_other_open,
        )

    def ended(self) -> "Trial":
        """The flight is over."""
        return replace(self, is_active_open=False, is_other_open=False)

    def why_withdrawn(self, is_active_newer: bool) -> str:
        """Why the newer model is to go; "" while it may stay."""
        newer, older = (self.active, self.other) if is_active_newer else (self.other, self.active)
        if newer <= MOST_FINDINGS or newer <= MOST_TIMES * older:
            return ""
        return f"{newer} findings against {older} in {self.flown_s / 3600:.2f} flight hours"

    def to_map(self) -> dict[str, Any]:
        """For the disk."""
        return asdict(self.ended())


def trial_from(body: dict[str, Any]) -> Trial:
    """Back from `to_map`. ValueError when it is none."""
    names = ("flown_s", "agreed_s", "active", "other")
    values = [body.get(n) for n in names]
    if any(type(v) is not int or v < 0 for v in values):
        raise ValueError(f"not a trial: {body!r}"[:200])
    return Trial(*values)  # type: ignore[arg-type]
