"""From a specification to an open backstore."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from san_console.target.backstore import Backstore
from san_console.target.backstore_file import FileBackstore, finish_atomic_write
from san_console.target.backstore_memory import MemoryBackstore, NullBackstore
from san_console.target.config import BackstoreKind, BackstoreSpec

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
    finish_atomic_write(spec)
    return OPENERS[spec.kind](spec, pool)
