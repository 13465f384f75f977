"""`python -m san_console.engine`: what starts the engine as a process of its own."""

from __future__ import annotations

import argparse
import sys

from san_console.engine.main import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m san_console.engine", description="The SAN Console engine."
    )
    parser.add_argument("--memory-secrets", action="store_true", help="keep CHAP secrets in memory")
    parser.add_argument("--lab", action="store_true", help="build a small SAN on loopback at once")
    options = parser.parse_args(arguments)
    return run(memory_secrets=options.memory_secrets, lab=options.lab)


if __name__ == "__main__":
    sys.exit(main())
