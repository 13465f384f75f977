"""Our initiator and libiscsi's, reading from the same tgtd: IOPS, CPU time per command, ratios.

    python tests/bench/bench_initiator.py [--seconds 3] [--rounds 3]

`san-console lun bench` and iscsi-perf take turns in each row; the medians count. CPU time is the initiator's
own, without the start of the interpreter, which is measured first and subtracted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import (
    READS,
    TARGET,
    Figure,
    compare,
    iscsi_perf,
    make_disk,
    print_header,
    run,
)
from tests.peers import tgtd

ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES = 512
_START_ONLY_S = 0.001
_START_RUNS = 3


def lun_bench(url: str, blocks: int, depth: int, seconds: float, start_s: float) -> Figure:
    """Sequential reads by `lun bench`; the CPU time is its own, without `start_s` of each run."""
    result, used_s = _lun_bench(url, blocks, depth, seconds)
    return Figure(int(result["iops"]), (used_s - start_s) / max(result["commands"], 1) * 1e6)


def _lun_bench(url: str, blocks: int, depth: int, seconds: float) -> tuple[dict[str, Any], float]:
    argv = [sys.executable, "-m", "san_console", "lun", "bench", url, "--json"]
    argv += ["--block-size", str(blocks * BLOCK_BYTES), "--queue-depth", str(depth)]
    output, used_s = run([*argv, "--seconds", str(seconds)], seconds + 60, cwd=ROOT)
    return json.loads(output), used_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tgtd() as peer:
        peer.add_target(TARGET, [make_disk(Path(folder) / "disk")])
        url = f"iscsi://{peer.portal}/{TARGET}/1"
        start_s = min(_lun_bench(url, 1, 1, _START_ONLY_S)[1] for _ in range(_START_RUNS))
        print_header("ours", "iscsi-perf")
        for name, blocks, depth in READS:
            theirs = partial(iscsi_perf, url, blocks, depth, args.seconds)
            ours = partial(lun_bench, url, blocks, depth, args.seconds, start_s)
            compare(name, ours, theirs, args.rounds)


if __name__ == "__main__":
    main()
