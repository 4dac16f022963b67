"""What is on its way to the hub: sent, acknowledged by the broker, receipted by the hub. Pure; times are passed in (s).

PUBACK only means that the broker has it; the batch stays in the outbox until the hub's receipt. A PUBACK that does not
come means that the connection is dead whatever TCP says. A receipt that does not come (the hub may have refused the
batch): send again, later each time, up to an hour; what was sent often takes no place in the window from others.
Half of the window is kept free of the slow lanes, so that a backlog never delays what is happening now.
"""

from dataclasses import dataclass, field

from agent.store import OutboxRow
from shared.topics import Lane

MAX_RECEIPT_WAIT_S = 3600.0
SUSPECT_TIMES = 3
"""A batch sent so often is held for refused, and makes no other wait."""


@dataclass(slots=True)
class Sent:
    """One batch that was sent and is not receipted. first_s: when it was sent first. acked_s: when the broker
    confirmed it. times: how often sent."""

    row: OutboxRow
    sent_s: float
    acked_s: float | None = None
    times: int = 1
    first_s: float = 0.0


@dataclass(slots=True)
class Window:
    """Batches between first sending and receipt, by outbox id."""

    max_in_flight: int = 32
    max_in_flight_bytes: int = 1 << 20
    max_waiting: int = 512
    puback_timeout_s: float = 15.0
    receipt_timeout_s: float = 60.0
    sent: dict[int, Sent] = field(default_factory=dict)
    _tries: dict[int, Sent] = field(default_factory=dict)

    def has_room(self, lane: Lane) -> bool:
        """Whether one more batch of this lane may be sent now."""
        flying = [s for s in self.sent.values() if s.acked_s is None]
        share = 1 if lane <= Lane.live else 2
        return (
            len(flying) * share < self.max_in_flight
            and sum(s.row.size for s in flying) * share < self.max_in_flight_bytes
            and sum(s.times < SUSPECT_TIMES for s in self.sent.values()) * share < self.max_waiting
        )

    def send(self, row: OutboxRow, now_s: float) -> None:
        """A batch goes out (again)."""
        before = self._tries.pop(row.id, None)
        times, first_s = (before.times, before.first_s) if before else (0, now_s)
        self.sent[row.id] = Sent(row, now_s, None, times + 1, first_s)

    def ack(self, key: int, now_s: float) -> None:
        """The broker has it."""
        if key in self.sent:
            self.sent[key].acked_s = now_s

    def receipt(self, key: int, digest: bytes) -> bool:
        """The hub has it. False when it was not waited for, or when the digest is not that of our batch."""
        waiting = self.sent.get(key) or self._tries.get(key)
        if waiting is None or waiting.row.digest != digest:
            return False
        self.forget(key)
        return True

    def forget(self, key: int) -> None:
        """It is no longer in the outbox."""
        self.sent.pop(key, None)
        self._tries.pop(key, None)

    def unreceipted(self) -> set[int]:
        """All that was sent and is not receipted."""
        return self.sent.keys() | self._tries.keys()

    def oldest_s(self, now_s: float) -> float:
        """How long ago the longest unreceipted batch was sent first; 0 when there is none."""
        waiting = (*self.sent.values(), *self._tries.values())
        return max((now_s - s.first_s for s in waiting), default=0.0)

    def is_stuck(self, now_s: float) -> bool:
        """Whether a PUBACK is overdue: the connection must be made anew."""
        return any(s.acked_s is None and now_s - s.sent_s > self.puback_timeout_s for s in self.sent.values())

    def is_slow(self, now_s: float) -> bool:
        """Whether PUBACKs take so long that the link is not live any more."""
        return any(s.acked_s is None and now_s - s.sent_s > self.puback_timeout_s / 2 for s in self.sent.values())

    def disconnected(self) -> list[OutboxRow]:
        """The connection is gone: what the broker did not confirm is to be sent again."""
        return self._give_back([s for s in self.sent.values() if s.acked_s is None])

    def overdue(self, now_s: float) -> list[OutboxRow]:
        """Confirmed by the broker, but the hub's receipt does not come: to be sent again."""
        late = [s for s in self.sent.values() if s.acked_s is not None and now_s - s.acked_s > self._patience(s)]
        return self._give_back(late)

    def _give_back(self, lost: list[Sent]) -> list[OutboxRow]:
        for s in lost:
            self._tries[s.row.id] = s
            del self.sent[s.row.id]
        return [s.row for s in lost]

    def _patience(self, s: Sent) -> float:
        return min(self.receipt_timeout_s * 2.0 ** min(s.times - 1, 20), MAX_RECEIPT_WAIT_S)
