"""dbx bench edge: what a real agent process costs on a stream of 500 messages/s, and what kill -9 costs.

A recorded flight is sent over UDP at an even pace to `dbx agent run` with the packaged model loaded, a real broker with
mutual TLS attached and a hub that verifies and signs receipts (both in other processes or threads than the agent).
CPU, memory: /proc of the agent, after it has settled. Disk: the kernel's write_bytes of the agent over raw MAVLink.
Then: kill -9 while recording, several times; lost is the age of the newest frame that the store or the hub has.
And our path from link bytes to journal rows on disk against pymavlink's recv_msg on the same bytes: medians of CPU time
(`speed_over_pymavlink`) and of wall time, waiting for the disk included (`wall_over_pymavlink`).
"""

import argparse
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from agent import journal
from agent.clock_model import ClockModel
from agent.companion import Companion
from agent.identity import signer_of
from agent.link import LinkReader
from agent.pipeline import Pipeline
from agent.policy import Policy
from agent.recorder_clock import now_us
from agent.recovery import start
from agent.settings import LinkSettings
from agent.source import LinkSource
from agent.waiting import Now
from agent.watch import Watch
from firmware_bridge.tlog import open_log, read_tlog
from hub.embedded.broker import NatsBroker
from hub.pki import DeviceAuthority
from shared.frames import Frames
from tests.fix_agent import HubKey, ScriptedHub, settings_file, start_agent, write_identity

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 500
SETTLE_S = 6.0
KILLS = 4
PIECE_BYTES = 200 << 10
CHUNK_BYTES = 16 << 10
TICKS_HZ = os.sysconf("SC_CLK_TCK")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dbx bench edge", description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, default=ROOT / "deploy" / "demo" / "plane.tlog.zst")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder in the checkout)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    frames = read_tlog(open_log(args.log)).frames
    with tempfile.TemporaryDirectory(prefix=".bench-edge-", dir=args.folder or ROOT) as folder:
        figures = measure(frames, Path(folder), args.seconds)
        figures |= compare(frames, Path(folder))
    if args.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:22} {value}" for name, value in figures.items()))
    return 0


class Sender:
    """Sends frames over UDP at RATE_HZ, round and round, from a thread."""

    def __init__(self, frames: Frames, port: int) -> None:
        self.sent = self.sent_bytes = 0
        self._frames, self._port = frames, port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not self._stop.is_set():
                while self.sent < (time.monotonic() - began) * RATE_HZ:
                    frame = self._frames[self.sent % len(self._frames)]
                    out.sendto(frame, ("127.0.0.1", self._port))
                    self.sent += 1
                    self.sent_bytes += len(frame)
                time.sleep(0.002)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def measure(frames: Frames, folder: Path, seconds: float) -> dict[str, Any]:
    """Figures of a real agent process."""
    key = HubKey()
    with NatsBroker(folder / "nats", DeviceAuthority(folder / "pki")) as broker:
        identity = write_identity(folder / "identity", key, broker)
        hub = ScriptedHub(broker, identity, key)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = settings_file(
            folder, link={"kind": "udp-server", "port": port}, findings={"bundle": "packaged"}
        )  # fmt: skip
        sender = Sender(frames, port)
        agent = start_agent("run", "--config", config)
        try:
            time.sleep(SETTLE_S)
            began, cpu, written, raw = time.monotonic(), cpu_s(agent.pid), disk_bytes(agent.pid), sender.sent_bytes
            rss = 0
            while time.monotonic() - began < seconds:
                time.sleep(1)
                rss = max(rss, rss_bytes(agent.pid))
            took = time.monotonic() - began
            figures = {
                "cpu_percent": round(100 * (cpu_s(agent.pid) - cpu) / took, 2),
                "rss_mb": round(rss / (1 << 20), 1),
                "disk_over_raw": round((disk_bytes(agent.pid) - written) / (sender.sent_bytes - raw), 3),
            }
            lost = [kill_and_look(agent.pid, folder, hub)]
            agent.wait()
            for _ in range(KILLS - 1):
                agent = start_agent("run", "--config", config)
                wait_recording(folder, hub)
                time.sleep(2 * random.random())
                lost.append(kill_and_look(agent.pid, folder, hub))
                agent.wait()
        finally:
            agent.kill()
            agent.wait()
            sender.stop()
            hub.close()
    return figures | {
        "lost_s_on_kill": round(max(lost), 3), "messages_s": RATE_HZ, "raw_bytes_s": int(frames_rate(frames)),
        "batches": len(hub.batches),
    }  # fmt: skip


def wait_recording(folder: Path, hub: ScriptedHub) -> None:
    """Until the agent has been writing what the link sends. RuntimeError when it does not."""
    until = time.monotonic() + 30
    began_us = now_us()
    while newest_us(folder, hub) < began_us:
        if time.monotonic() > until:
            raise RuntimeError("the agent does not record")
        time.sleep(0.1)


def newest_us(folder: Path, hub: ScriptedHub) -> int:
    """Time of the newest frame that the store or the hub has, on the recorder's clock."""
    conn = sqlite3.connect(folder / "data" / "store.db", timeout=10)
    newest = [int(journal.unpack(b).time_us[-1]) for (b,) in conn.execute("SELECT body FROM journal")]
    newest += [t for (t,) in conn.execute("SELECT max(to_us) FROM outbox WHERE frames > 0") if t is not None]
    conn.close()
    newest += [body.covers[1] for body, _ in list(hub.batches.values()) if body.columns]
    return max(newest, default=0)


def kill_and_look(pid: int, folder: Path, hub: ScriptedHub) -> float:
    """Seconds between kill -9 and the newest frame that survived it."""
    os.kill(pid, signal.SIGKILL)
    at_us = now_us()
    time.sleep(0.3)
    return (at_us - newest_us(folder, hub)) / 1e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_HZ


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def frames_rate(frames: Frames) -> float:
    return len(frames.data) / len(frames) * RATE_HZ


def compare(frames: Frames, folder: Path) -> dict[str, Any]:
    """Frames/s from link bytes to the journal on disk, ours and pymavlink's recv_msg."""
    frames = in_flight(frames)
    data, n = frames.data, len(frames)
    ours_s(data, n, folder)  # once for what is only paid once
    ours_cpu, ours_wall = medians([ours_s(data, n, folder) for _ in range(9)])
    theirs_cpu, theirs_wall = medians([pymavlink_s(data, folder) for _ in range(3)])
    return {
        "speed_over_pymavlink": round(theirs_cpu / ours_cpu, 1),
        "wall_over_pymavlink": round(theirs_wall / ours_wall, 1),
        "frames_s": int(n / ours_cpu), "pymavlink_frames_s": int(n / theirs_cpu),
    }  # fmt: skip


def in_flight(frames: Frames) -> Frames:
    """The recording between arming and disarming: no batch boundary, so nothing is sealed while the clock runs."""
    watch, span = Watch(), [0, len(frames)]
    for sighting in watch.update(frames)[0]:
        if sighting.kind in ("armed", "disarmed"):
            span[sighting.kind == "disarmed"] = sighting.index
    return frames.slice(*span)


def medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(cpu for cpu, _ in runs), statistics.median(wall for _, wall in runs)


def ours_s(data: bytes, expected: int, folder: Path) -> tuple[float, float]:
    """CPU and wall seconds: inbox, scanner, vehicle, journal rows on disk, each with its own fsync.

    Sealing what was journaled comes between, not counted.
    """
    key = HubKey().private
    reader = LinkReader(LinkSettings(), now_us)
    source = LinkSource(reader, now_us)
    now = Now(now_us(), now_us())
    path = folder / f"{uuid.uuid4()}" / "store.db"
    clock = ClockModel()
    recorder = start(path, signer_of(key), lambda _: key.public_key(), clock, Policy(), uuid.uuid4(), now)
    pipeline = Pipeline(source, recorder, clock, 1 << 60, Companion(lambda _: False, "none"))
    cpu = wall = 0.0
    piece_bytes = -(-len(data) // -(-len(data) // PIECE_BYTES))  # equal pieces: large ones are packed for speed
    for at in range(0, len(data), piece_bytes):
        cpu_began, began = time.process_time(), time.perf_counter()
        for chunk in range(at, min(at + piece_bytes, len(data)), CHUNK_BYTES):
            reader.inbox.put(now_us(), data[chunk : min(chunk + CHUNK_BYTES, at + piece_bytes)])
        pipeline.step()
        recorder.journal_now(now)
        cpu, wall = cpu + time.process_time() - cpu_began, wall + time.perf_counter() - began
        recorder.seal_now(now)
    assert recorder.totals.frames >= expected - 1, (recorder.totals, expected)
    recorder.store.close()
    return cpu, wall


def pymavlink_s(data: bytes, folder: Path) -> tuple[float, float]:
    """CPU and wall seconds: recv_msg until the end, nothing else."""
    os.environ["MAVLINK20"] = "1"
    from pymavlink import mavutil

    path = folder / "bytes.raw"
    path.write_bytes(data)
    log = mavutil.mavlink_connection(str(path), notimestamps=True, dialect="ardupilotmega")
    cpu_began, began = time.process_time(), time.perf_counter()
    while log.recv_msg() is not None:
        pass
    took = time.process_time() - cpu_began, time.perf_counter() - began
    log.close()
    return took


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
