"""From a specification to an open backstore."""

from __future__ import annotations

from concurrent.futures import Executor

from san_console.target.backstore import Backstore
from san_console.target.backstore_file import FileBackstore
from san_console.target.backstore_memory import MemoryBackstore, NullBackstore
from san_console.target.config import BackstoreSpec


def open_backstore(spec: BackstoreSpec, pool: Executor) -> Backstore:
    """Open what `spec` describes. Raises BackstoreError, which says what is wrong and what to check."""
    if spec.kind == "memory":
        return MemoryBackstore(spec)
    if spec.kind == "null":
        return NullBackstore(spec)
    return FileBackstore(spec, pool)
