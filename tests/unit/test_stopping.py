"""A signal stops a process whatever its main thread is doing."""

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, threading
from shared.stopping import stop_on_signals
stop = threading.Event()
stop_on_signals(stop)
with stop._cond:  # where stop.wait() is for a moment, and a handler that sets the event would wait for ever
    os.kill(os.getpid(), signal.SIGTERM)
assert stop.wait(10)
print("stopped")
"""


def test_a_signal_that_comes_while_the_main_thread_is_inside_wait_still_stops() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=30)
    assert done.stdout == "stopped\n", f"{done.stderr} (signals: {signal.SIGTERM})"
