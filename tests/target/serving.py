"""`san-console target serve` as a process, for the tests that let programs from outside log in."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import Process

NAME = "iqn.2026-11.org.example:disks"

# The command module alone: these tests must not depend on what the other commands import.
_DRIVER = """
import argparse, sys
from san_console.cli import target
parser = argparse.ArgumentParser(prog="san-console")
target.add_parser(parser.add_subparsers())
args = parser.parse_args()
sys.exit(args.handler(args))
"""


@dataclass(slots=True)
class Serving:
    """A running target: the URL of each LUN, and its process."""

    urls: list[str]
    process: Process

    @property
    def portal(self) -> str:
        return self.urls[0].split("/")[2]

    def url(self, lun: int, credentials: str = "") -> str:
        """The URL of a LUN, with `user%secret@` in it, as libiscsi wants it."""
        return self.urls[lun].replace("iscsi://", f"iscsi://{credentials}")


def start(*words: str, prelude: str = "", under: Sequence[str] = ()) -> Process:
    """Start `target serve` with these words; `prelude` is Python that its process runs before, `under` the
    program and its options that start it.
    """
    return Process([*under, sys.executable, "-c", prelude + _DRIVER, "target", "serve", *words])


@contextmanager
def serve(luns: Sequence[str], *words: str, portal: str = "127.0.0.1:0") -> Iterator[Serving]:
    """A target with these LUNs, until the context is left; then it has to end cleanly."""
    with start("--name", NAME, "--portal", portal, "--lun", *luns, *words) as process:
        process.wait_until(lambda: process.output.count("iscsi://") == len(luns), 20)
        urls = [line for line in process.output.splitlines() if line.startswith("iscsi://")]
        yield Serving(urls, process)
        process.signal(signal.SIGTERM)
        assert process.wait(20) == 0, process.output


def secret_file(folder: Path, name: str, secret: str) -> str:
    """A file with a CHAP secret."""
    path = folder / name
    path.write_text(secret + "\n")
    path.chmod(0o600)
    return str(path)
