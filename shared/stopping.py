"""Stopping on SIGINT and SIGTERM."""

import contextlib
import queue
import signal
import threading


def stop_on_signals(stop: threading.Event) -> None:
    """Have SIGINT and SIGTERM set `stop`. For the main thread; elsewhere nothing happens.

    The handler may interrupt the main thread inside `stop.wait()`; there `stop.set()` would wait for a lock that this
    thread holds, for ever. So it puts into a SimpleQueue, which is made for that; a thread does the rest.
    """
    told: queue.SimpleQueue[int] = queue.SimpleQueue()

    def set_when_told() -> None:
        told.get()
        stop.set()

    threading.Thread(target=set_when_told, name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):
            signal.signal(number, lambda got, _: told.put(got))
