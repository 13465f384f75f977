"""The console with its real engine: help, start, idle cost, and the window beside a full-speed session.

    python tests/bench/bench_console.py [--seconds 8]

Printed, not asserted: they depend on the machine. The limits beside them are what the product promises.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from san_console.api.messages import Snapshot  # noqa: E402 - the path comes first
from san_console.api.methods import BenchLun, Login  # noqa: E402
from san_console.rpc.client import EngineClient  # noqa: E402
from tests.bench.measure import process_cpu_s  # noqa: E402
from tests.peers import Process  # noqa: E402

WINDOW = """
import json, sys, time
began, seconds = float(sys.argv[1]), float(sys.argv[2])
from PySide6.QtCore import QElapsedTimer, QTimer, Qt
from san_console.gui import app
from san_console.gui.preferences import MemoryPreferences
kept = {"window.page": "sessions", "quit.silently": True}
opened = app.open_window(None, preferences=MemoryPreferences(kept))
opened.window.repaint()
painted = time.time() - began
while not opened.host.connected:
    opened.application.processEvents()
opened.window.grab()
filled = time.time() - began
late, clock, interval_ms = [], QElapsedTimer(), 10
clock.start()
due = clock.nsecsElapsed() / 1e6 + interval_ms
def tick():
    global due
    now = clock.nsecsElapsed() / 1e6
    late.append(max(0.0, now - due))
    due = now + interval_ms
timer = QTimer(interval=interval_ms)
timer.setTimerType(Qt.TimerType.PreciseTimer)
timer.timeout.connect(tick)
timer.start()
QTimer.singleShot(int(seconds * 1000), opened.application.quit)
opened.application.exec()
samples = {one: len(kept) for one, kept in opened.host.replica.samples.items()}
late.sort()
print(json.dumps({"painted": painted, "filled": filled, "p99": late[int(len(late) * 0.99)], "worst": late[-1],
                  "samples": max(samples.values(), default=0)}))
opened.close()
"""


def row(what: str, figure: str, limit: str = "") -> None:
    print(f"{what:<62} {figure:>14}   {limit}", flush=True)


def window_figures(env: dict[str, str], seconds: float) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", WINDOW, str(time.time()), str(seconds)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


async def objects(collection: str) -> list[dict[str, Any]]:
    """What a fresh snapshot holds of a collection."""
    async with await EngineClient.connect() as client:
        await client.subscribe()
        async for message in client.messages():
            if isinstance(message, Snapshot):
                return [json.loads(bytes(raw)) for raw in message.collections[collection]]
    return []


async def lab_session() -> str:
    """Start the lab, log in to its open target; returns the id of a LUN that is ready."""
    async with await EngineClient.connect() as client:
        await client.call("lab.start")
        served: list[dict[str, Any]] = []
        while not served:
            found = await objects("local_targets")
            served = [one for one in found if one["state"] == "serving" and not one["identity_ids"]]
        login = Login(target=served[0]["id"], portal=served[0]["portals"][0])
        session = await client.call("sessions.login", login)
        ready: list[str] = []
        while not ready:
            luns = await objects("luns")
            ready = [one["id"] for one in luns if one["session_id"] == session.id and one["state"] == "ready"]
        return ready[0]


async def full_speed(lun: str, seconds: float) -> None:
    async with await EngineClient.connect() as client:
        await client.call("luns.bench", BenchLun(id=lun, block_bytes=4096, queue_depth=32, seconds=seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("DATA", "RUNTIME", "CONFIG"):
            os.environ[f"SAN_CONSOLE_{name}_DIR"] = f"{folder}/{name.lower()}"
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "san_console"]
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([*command, "--help"], env=env, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - began)
        row("san-console --help, median of 5", f"{sorted(times)[2] * 1000:.0f} ms", "< 300 ms")
        began = time.perf_counter()
        with Process([*command, "engine", "run", "--memory-secrets"], env=env) as engine:
            socket = Path(folder, "runtime", "engine.sock")
            engine.wait_until(socket.exists)
            row("engine: from the command to its socket", f"{(time.perf_counter() - began) * 1000:.0f} ms")
            time.sleep(2)  # its start is no idling
            before = process_cpu_s(engine.pid)
            time.sleep(options.seconds)
            idle = 100 * (process_cpu_s(engine.pid) - before) / options.seconds
            row("engine idle, of one core", f"{idle:.2f} %", "< 1 %")
            starts = [window_figures(env, 0.2) for _ in range(3)]
            painted = sorted(one["painted"] for one in starts)[1]
            filled = sorted(one["filled"] for one in starts)[1]
            row(
                "window: from the command to the first paint, engine running",
                f"{painted * 1000:.0f} ms",
                "< 1500 ms",
            )
            row("window: to the page with its objects", f"{filled * 1000:.0f} ms")
            lun = asyncio.run(lab_session())
            asyncio.run(full_speed(lun, options.seconds + 4))
            busy = window_figures(env, options.seconds)
            row("window timer late with a session at full speed, p99", f"{busy['p99']:.1f} ms", "< 16 ms")
            row("window timer late with a session at full speed, worst", f"{busy['worst']:.1f} ms")
            row(
                "samples that reached the charts in that time",
                f"{busy['samples']:.0f}",
                f"≥ {options.seconds:.0f}",
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
