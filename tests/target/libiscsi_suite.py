"""libiscsi's conformance tests as a program, and several runs of them at the same time.

The tool sleeps most of its time, up to minutes; runs that wait beside each other cost one of them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tests.peers import need


@dataclass(slots=True)
class Report:
    """What the tool said."""

    ran: int
    failed: int
    skipped: list[str]
    text: str

    def unexpected(self, *allowed: str) -> list[str]:
        """The skips that nothing in `allowed` explains."""
        return [line for line in self.skipped if not any(reason in line for reason in allowed)]

    def failures(self) -> str:
        """The part of the report that says what went wrong."""
        return "\n".join(re.findall(r"(?:\[FAILED\].*|.*\.c:\d+ .*)", self.text)[:40])


def conformance(
    *urls: str, tests: str = "ALL", options: tuple[str, ...] = (), timeout_s: float = 280
) -> Report:
    """Run `tests` of the tool over one path or two, every test of which must have run."""
    tool = need("iscsi-test-cu", "libiscsi-bin")
    text = subprocess.run(
        [tool, "-d", "-V", *options, f"--test={tests}", *urls],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    ).stdout
    match = re.search(r"tests +(\d+) +(\d+) +(\d+) +(\d+)", text)
    assert match is not None, text[-2000:]
    total, ran, _, failed = map(int, match.groups())
    assert ran == total, text[-2000:]
    return Report(ran, failed, re.findall(r"\[SKIPPED\] *(.*)", text), text)


class Runs:
    """Named runs that are under way together; `of(name)` waits for one and gives its report."""

    def __init__(self, runs: Mapping[str, Callable[[], Report]]) -> None:
        self._pool = ThreadPoolExecutor(len(runs))
        self._futures: dict[str, Future[Report]] = {
            name: self._pool.submit(run) for name, run in runs.items()
        }

    def of(self, name: str) -> Report:
        """Raises what the run has raised."""
        return self._futures[name].result()

    def close(self) -> None:
        """Wait for the end of all, wanted or not."""
        self._pool.shutdown()
