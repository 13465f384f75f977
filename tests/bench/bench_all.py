"""All measurements, one after the other: they share the machine's processors.

    python tests/bench/bench_all.py

The exit code is that of the first that failed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "bench_target.py",
    "bench_target_scale.py",
    "bench_initiator.py",
    "bench_window.py",
    "bench_console.py",
)


def main() -> int:
    folder = Path(__file__).resolve().parent
    codes = []
    for name in SCRIPTS:
        print(f"== {name}", flush=True)
        codes.append(subprocess.run([sys.executable, folder / name], check=False).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
