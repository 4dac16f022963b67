"""dbx bench offload: how fast a real agent process fetches a log over a simulated link, and what that costs.

A scripted autopilot serves one log over loopback UDP at --kbit-s, beside 20 telemetry messages a second: as PX4
(bursts) and as ArduPilot (ReadFile in flight; LOG_REQUEST). `share`: the log's bytes per second, from the first packet
of data to the last, over what the link can carry of such packets. CPU: the agent's while it fetches, all that it does.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_bridge.mavftp import Nak, Op
from tests.fix_agent import HubKey, settings_file, start_agent, write_identity
from tests.fix_log_server import LogServer
from tests.fix_scripted_autopilot import ScriptedAutopilot

ROOT = Path(__file__).resolve().parents[2]
TICKS_HZ = os.sysconf("SC_CLK_TCK")
CASES = {
    "px4_burst": ("px4", True, 239, 266),
    "ardupilot_reads": ("ardupilot", True, 239, 266),
    "ardupilot_log_request": ("ardupilot", False, 90, 109),
}
"""style, whether it has FTP, a log's bytes in a packet, bytes of its frame"""
LIMIT_S = 90


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dbx bench offload", description=__doc__.splitlines()[0])
    parser.add_argument("--kbit-s", type=float, default=500)
    parser.add_argument("--size", type=int, default=600_000, help="bytes of the log")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    figures: dict[str, Any] = {"kbit_s": args.kbit_s, "log_bytes": args.size}
    for name in CASES:
        with tempfile.TemporaryDirectory(prefix=".bench-offload-", dir=ROOT) as folder:
            figures[name] = measure(name, args.kbit_s, args.size, Path(folder))
    print(json.dumps(figures) if args.json else "\n".join(f"{name:22} {value}" for name, value in figures.items()))
    return 0


def measure(name: str, kbit_s: float, size: int, folder: Path) -> dict[str, float]:
    """One case."""
    style, has_ftp, data_bytes, frame_bytes = CASES[name]
    path = "/fs/microsd/log/2026-05-01/10_00_00.ulg" if style == "px4" else "/APM/LOGS/00000001.BIN"
    naks = {} if has_ftp else {int(Op.LIST): [int(Nak.UNKNOWN_COMMAND)]}
    server = LogServer({path: random.Random(1).randbytes(size)}, style, naks=naks)
    port = free_port()
    write_identity(folder / "identity", HubKey())
    config = settings_file(
        folder, link={"kind": "udp-server", "port": port}, uplink={"transport": "none"},
        offload={"enabled": True, "settle_s": 0, "max_kb_s": 0},
    )  # fmt: skip
    autopilot = ScriptedAutopilot(port, server, kbit_s=kbit_s, is_px4=style == "px4")
    agent = start_agent("run", "--config", config)
    memory = folder / "data" / "offload" / "known.json"
    try:
        wait(lambda: len(data_sent(autopilot, frame_bytes)) > 2)
        used_s, at_s = cpu_s(agent.pid), time.monotonic()
        wait(memory.exists)
        used_s, took_s = cpu_s(agent.pid) - used_s, time.monotonic() - at_s
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate()
        autopilot.stop()
    sent = data_sent(autopilot, frame_bytes)
    rate, can = size / (sent[-1] - sent[0]), kbit_s * 1000 / 8 * data_bytes / frame_bytes
    return {
        "kb_s": round(rate / 1000, 1), "share": round(rate / can, 3),
        "packets_over_least": round(len(sent) * data_bytes / size, 3),
        "cpu_share": round(used_s / took_s, 3), "cpu_ms_per_mb": round(1e9 * used_s / size),
    }  # fmt: skip


def data_sent(autopilot: ScriptedAutopilot, frame_bytes: int) -> list[float]:
    """When packets full of a log's bytes were sent."""
    return [at for at, size in autopilot.answers_sent if size >= frame_bytes - 4]


def wait(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT_S} s")
        time.sleep(0.02)


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_HZ


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
