"""The window's figures on this machine: start, large lists, memory, lateness of its timer.

    python tests/bench/bench_window.py [--targets 10000] [--seconds 5]

Printed, not asserted: they depend on the machine. The limits beside them are what the product promises.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

FIRST_PAINT = """
import sys, time
began = float(sys.argv[1])
from PySide6.QtCore import QEvent, QObject
from san_console.gui import app
from san_console.gui.bridge.urls import backend_for
from san_console.gui.preferences import MemoryPreferences
opened = app.open_window(backend_for("test://demo"), preferences=MemoryPreferences())
opened.window.repaint()
window = time.time() - began
while not opened.host.connected:
    opened.application.processEvents()
for _ in range(5):
    opened.application.processEvents()
opened.window.grab()
print(f"{window:.3f} {time.time() - began:.3f}")
"""


def row(what: str, figure: str, limit: str) -> None:
    print(f"{what:<58} {figure:>14}   {limit}")


def rss_mib() -> float:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure_start() -> None:
    best = min(
        (
            tuple(
                map(
                    float,
                    subprocess.run(
                        [sys.executable, "-c", FIRST_PAINT, str(time.time())],
                        cwd=ROOT,
                        capture_output=True,
                        text=True,
                        check=True,
                        timeout=60,
                    ).stdout.split(),
                )
            )
            for _ in range(3)
        ),
        key=lambda pair: pair[1],
    )
    row("process start to the window, painted", f"{best[0] * 1000:.0f} ms", "")
    row("process start to the first page with its objects", f"{best[1] * 1000:.0f} ms", "< 1500 ms")


def measure_large(targets: int, seconds: float) -> None:
    from PySide6.QtCore import QElapsedTimer, Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    from san_console.console.simulated import SimulatedBackend
    from san_console.gui.bridge.host import QtHost
    from san_console.gui.preferences import MemoryPreferences
    from san_console.gui.shell.main_window import MainWindow
    from san_console.gui.theme.theme import Theme

    application = QApplication.instance() or QApplication([])
    Theme.of().apply("light")
    row("memory before the host is there", f"{rss_mib():.0f} MiB", "")
    backend = SimulatedBackend("large", targets=targets)
    host = QtHost(backend)
    window = MainWindow(host, MemoryPreferences({"window.page": "events"}), lambda: backend.world.now)
    window.resize(1280, 800)
    window.show()
    host.start()
    application.processEvents()
    row(f"memory with {targets:,} targets, two portals each", f"{rss_mib():.0f} MiB", "")
    for key in ("discover", "targets"):
        clock = time.perf_counter()
        window.go(key)
        window.grab()
        row(f"page {key} opened and painted", f"{(time.perf_counter() - clock) * 1000:.0f} ms", "< 1000 ms")
    window.go("discover")
    page = window.pages["discover"]
    line = page.filter.line  # type: ignore[attr-defined]  # a DiscoverPage
    model = page.model  # type: ignore[attr-defined]  # a DiscoverPage
    clock = time.perf_counter()
    while model.reading_ahead:
        application.processEvents()
    row("until the filter is prepared, after opening", f"{(time.perf_counter() - clock) * 1000:.0f} ms", "")
    times = []
    for character in model.id_at(model.rowCount() // 2)[-12:]:
        clock = time.perf_counter()
        QTest.keyClicks(line, character)
        application.processEvents()
        window.grab()
        times.append((time.perf_counter() - clock) * 1000)
    row("filter: slowest key, with painting", f"{max(times):.0f} ms", "< 50 ms")
    line.clear()
    table = page.table  # type: ignore[attr-defined]  # a DiscoverPage
    clock = time.perf_counter()
    table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    window.grab()
    row("sorted by name", f"{(time.perf_counter() - clock) * 1000:.0f} ms", "")
    row("memory after all that", f"{rss_mib():.0f} MiB", "< 300 MiB")
    window.leave()
    window.close()
    host.close()
    measure_lateness(seconds, application, QElapsedTimer, QTimer)


def measure_lateness(seconds: float, application, elapsed_class, timer_class) -> None:  # type: ignore[no-untyped-def]  # Qt's classes
    from san_console.console.simulated import SimulatedBackend
    from san_console.gui.bridge.host import QtHost
    from san_console.gui.preferences import MemoryPreferences
    from san_console.gui.shell.main_window import MainWindow

    backend = SimulatedBackend("demo")
    host = QtHost(backend)
    window = MainWindow(host, MemoryPreferences({"window.page": "sessions"}), lambda: backend.world.now)
    window.resize(1280, 800)
    window.show()
    host.start()
    application.processEvents()
    interval_ms, late = 10, []
    clock = elapsed_class()
    clock.start()
    due = [clock.nsecsElapsed() / 1e6 + interval_ms]

    def tick() -> None:
        now = clock.nsecsElapsed() / 1e6
        late.append(max(0.0, now - due[0]))
        due[0] = now + interval_ms

    timer = timer_class(interval=interval_ms)
    from PySide6.QtCore import Qt

    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    seconds_timer = timer_class(interval=1000)
    seconds_timer.timeout.connect(lambda: backend.tick(backend.world.now + 1))
    timer.start()
    seconds_timer.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        application.processEvents()
        time.sleep(0.0005)
    late.sort()
    row("timer lateness, charts at 1 Hz: p50", f"{late[len(late) // 2]:.1f} ms", "")
    row("timer lateness, charts at 1 Hz: p99", f"{late[int(len(late) * 0.99)]:.1f} ms", "< 16 ms")
    row("timer lateness, charts at 1 Hz: worst", f"{late[-1]:.1f} ms", "")
    window.leave()
    window.close()
    host.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    measure_start()
    measure_large(options.targets, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
