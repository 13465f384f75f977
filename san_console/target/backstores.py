"""From a specification to an open backstore."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor

from san_console.names.display import visible
from san_console.target.atomic_journal import JOURNAL_SUFFIX, recover
from san_console.target.backstore import Backstore
from san_console.target.backstore_file import FileBackstore
from san_console.target.backstore_memory import MemoryBackstore, NullBackstore
from san_console.target.config import BackstoreKind, BackstoreSpec
from san_console.target.errors import BackstoreError

OPENERS: dict[BackstoreKind, Callable[[BackstoreSpec, Executor], Backstore]] = {
    "file": FileBackstore,
    "block": FileBackstore,
    "memory": lambda spec, _: MemoryBackstore(spec),
    "null": lambda spec, _: NullBackstore(spec),
}
"""Who opens what: they may block, and raise BackstoreError. The executor is for calls that wait for a
medium.
"""


def open_backstore(spec: BackstoreSpec, pool: Executor) -> Backstore:
    """Open what `spec` describes. Raises BackstoreError, which says what is wrong and what to check."""
    if spec.kind == "file" and not spec.read_only:
        try:
            recover(os.path.abspath(spec.path))
        except OSError as error:
            raise BackstoreError(
                f"An atomic write to {visible(spec.path)} was interrupted and cannot be finished: "
                f"{error.strerror or error}.",
                check=f"Check the file and its journal, which ends in {JOURNAL_SUFFIX}.",
            ) from error
    return OPENERS[spec.kind](spec, pool)
