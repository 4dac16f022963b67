"""What an intake is: envelopes from a broker, grouped, taken in, receipted, and only then acknowledged."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from hub.ingest.pipeline import Arrival, SignedReceipt
from shared import topics

MERGE_S = 0.02
"""How long the first envelope of a group waits for others."""
GROUP_BYTES = 1 << 19
"""5,000 to 10,000 rows' worth of sealed telemetry: enough for one transaction, and the other processes get theirs."""
GROUP_MESSAGES = 512
QUEUE_MESSAGES = 2 * GROUP_MESSAGES
"""What an intake holds beside the group in work: a broker's own limits do not hold after a reconnect."""

Take = Callable[[Sequence[Arrival]], list[SignedReceipt]]
"""Commits envelopes and gives the receipts; blocks while the database is gone. Raises `Stopped` when asked to stop."""


class Stopped(Exception):
    """The process is to stop while the database is gone: what is under way stays unacknowledged and comes again."""


class Intake(Protocol):
    """One connection to a broker."""

    def run(self, take: Take, stop: threading.Event) -> None:
        """Until `stop`: receive, group, take, publish receipts, acknowledge. Reconnects by itself."""


def receipt_topic(receipt: SignedReceipt) -> str:
    """The MQTT topic of a receipt."""
    return topics.receipt(receipt.org_id, receipt.aircraft_id)
