"""Runs one harness under the coverage-guided fuzzer until something breaks or the time is over.

    python -m tests.fuzz.run framing --seconds 600 --corpus FOLDER

What was found interesting stays in the corpus folder. An input that breaks something is written to the
folder of `--findings`, and the exit code is not zero.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it has no annotations

with atheris.instrument_imports(include=["san_console"]):
    from tests.fuzz.harnesses import HARNESSES, SEEDS

MAX_INPUT_BYTES = 16384
INPUT_TIMEOUT_S = 20  # one input; all of them take milliseconds, so that more is an endless loop
MAX_RESIDENT_MIB = 2048


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("harness", choices=sorted(HARNESSES))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--findings", type=Path, default=Path.cwd())
    parser.add_argument("--seed", type=int, default=0, help="0: another one in each run")
    args = parser.parse_args()
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS.get(args.harness, ())):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={args.seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MAX_RESIDENT_MIB}",
        f"-artifact_prefix={args.findings}{os.sep}{args.harness}-",
        f"-seed={args.seed}",
        "-print_final_stats=1",
    ]
    atheris.Setup(arguments, HARNESSES[args.harness])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
