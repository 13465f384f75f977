"""The state that outlives the engine: one SQLite file, written by one thread, never half.

Writes are noted at once and committed together by a thread, so that the loop never waits for the medium;
`settled` waits for the commit where a client has been promised that something is kept. With WAL and
`synchronous=FULL` a commit is there or not, whatever kills the process or the machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from san_console.api.engine_objects import Event
from san_console.api.problems import ApiProblem
from san_console.engine.state_schema import MIGRATIONS, migrate

log = logging.getLogger(__name__)

STATE_NAME: Final = "state.sqlite"
MAX_EVENTS: Final = 10_000
"""Kept for `events.query`; about 5 MB."""

PRUNE_EVERY: Final = 500
RETRY_S: Final = 5.0
"""After a failed commit (a full disk); what was to be written waits in memory."""

T = TypeVar("T", bound=msgspec.Struct)


class StateStore:
    """Documents by kind and id, and events. Made by `open_state`.

    All methods are for the event loop's thread; `on_failed` is called there with the error of a commit,
    and with None once commits work again.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, note: str = "") -> None:
        self.path = path
        self.note = note
        """What the user has to know about how the state was opened; empty when all is well."""
        self.on_failed: Callable[[str | None], None] | None = None
        self._connection = connection
        self._in_use = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._documents: dict[tuple[str, str], bytes | None] = {}
        self._events: list[tuple[int, str, bytes]] = []
        self._writing: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._failure: str | None = None
        self._since_prune = PRUNE_EVERY

    def load(self, kind: str, struct: type[T]) -> list[T]:
        """All documents of a kind. Those that cannot be read are left where they are, and said in `note`."""
        found: list[T] = []
        bad = 0
        with self._in_use:
            rows = self._connection.execute(
                "SELECT body FROM documents WHERE kind = ? ORDER BY rowid", (kind,)
            ).fetchall()
        for (body,) in rows:
            try:
                found.append(msgspec.json.decode(body, type=struct))
            except (msgspec.DecodeError, RecursionError, TypeError):
                bad += 1
        if bad:
            note = f"{bad} entries of the kind {kind} in the state could not be read and were left out."
            log.error("unreadable state", extra={"fields": {"kind": kind, "entries": bad}})
            self.note = f"{self.note} {note}".strip()
        return found

    def get_text(self, name: str) -> str:
        """A single value, e.g. the initiator's name; empty when it was never set."""
        with self._in_use:
            row = self._connection.execute(
                "SELECT body FROM documents WHERE kind = 'value' AND id = ?", (name,)
            ).fetchone()
        if row is None:
            return ""
        try:
            return msgspec.json.decode(row[0], type=str)
        except (msgspec.DecodeError, TypeError):
            return ""

    def put_text(self, name: str, value: str) -> None:
        self._note("value", name, msgspec.json.encode(value))

    def put(self, kind: str, object_id: str, value: msgspec.Struct) -> None:
        """Keep a document, in place of an older one. Never give this one a secret."""
        self._note(kind, object_id, msgspec.json.encode(value))

    def delete(self, kind: str, object_id: str) -> None:
        self._note(kind, object_id, None)

    def add_event(self, event: Event) -> None:
        self._events.append((int(event.id), event.object_id, msgspec.json.encode(event)))
        self._start()

    def last_event_id(self) -> int:
        with self._in_use:
            (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        return int(last)

    def read_events(self, *, object_id: str = "", before_id: int = 2**62, limit: int) -> list[Event]:
        """Newest first. Those not committed yet are not among them."""
        condition, values = ("AND object_id = ?", [object_id]) if object_id else ("", [])
        with self._in_use:
            rows = self._connection.execute(
                f"SELECT body FROM events WHERE id < ? {condition} ORDER BY id DESC LIMIT ?",  # noqa: S608 - a constant of ours
                [before_id, *values, limit],
            ).fetchall()
        events: list[Event] = []
        for (body,) in rows:
            try:
                events.append(msgspec.json.decode(body, type=Event))
            except (msgspec.DecodeError, TypeError):
                log.error("an unreadable event was left out")
        return events

    async def query_events(self, *, object_id: str = "", before_id: int = 2**62, limit: int) -> list[Event]:
        """Like `read_events`, with all events so far and without stopping the loop."""
        await self.settled(check=False)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self.read_events(object_id=object_id, before_id=before_id, limit=limit)
        )

    async def settled(self, *, check: bool = True) -> None:
        """Wait until all that was put so far is on the medium. Raises ApiProblem `storage` unless `check`
        is False.
        """
        while True:
            if self._failure is None and (self._documents or self._events):
                self._start()
            writing = self._writing
            if writing is None:
                break
            await asyncio.shield(writing)
        if check and self._failure is not None:
            raise ApiProblem(
                "storage",
                f"The state cannot be written: {self._failure}.",
                side="operating system",
                check=f"free space and rights of {self.path.parent}; it is tried again every {RETRY_S:.0f} s",
            )

    async def close(self) -> None:
        """Write what is left, and close the file."""
        self._cancel_retry()
        self._failure = None
        await self.settled(check=False)
        self._cancel_retry()
        self._thread.shutdown(wait=True)
        self._connection.close()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _note(self, kind: str, object_id: str, body: bytes | None) -> None:
        self._documents[(kind, object_id)] = body
        self._start()

    def _start(self) -> None:
        if self._writing is None and self._retry is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="state writer")

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._documents or self._events:
                documents, self._documents = self._documents, {}
                events, self._events = self._events, []
                try:
                    await loop.run_in_executor(self._thread, self._commit, documents, events)
                except sqlite3.Error as error:
                    # What came in the meantime is newer than what failed.
                    self._documents = documents | self._documents
                    self._events = events + self._events
                    self._fail(str(error))
                    return
                self._fail(None)
        finally:
            self._writing = None

    def _fail(self, failure: str | None) -> None:
        changed = (failure is None) != (self._failure is None)
        self._failure = failure
        if failure is not None and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)
        if changed and self.on_failed is not None:
            self.on_failed(failure)

    def _try_again(self) -> None:
        self._retry = None
        self._start()

    def _commit(
        self, documents: dict[tuple[str, str], bytes | None], events: list[tuple[int, str, bytes]]
    ) -> None:
        """In the writer's thread: everything in one transaction."""
        with self._in_use, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "DELETE FROM documents WHERE kind = ? AND id = ?",
                [key for key, body in documents.items() if body is None],
            )
            self._connection.executemany(
                "INSERT INTO documents (kind, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
                [(*key, body) for key, body in documents.items() if body is not None],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO events (id, object_id, body) VALUES (?, ?, ?)", events
            )
            self._since_prune += len(events)
            if self._since_prune >= PRUNE_EVERY:
                self._since_prune = 0
                self._connection.execute(
                    "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (MAX_EVENTS,)
                )


def open_state(folder: Path, *, now: float) -> StateStore:
    """Open or create the state in `folder`.

    A damaged file is kept aside as `state.sqlite.damaged-<time>` and a new one begun; `note` then says so.
    Raises ApiProblem `version` for a state of a newer release, `storage` where the file cannot be used.
    """
    path = folder / STATE_NAME
    note = ""
    try:
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            aside = _keep_aside(path, now)
            log.error("damaged state", extra={"fields": {"why": str(error), "kept_as": str(aside)}})
            note = f"The state was damaged ({error}). It was kept as {aside.name}, and a new one begun."
            connection = _connect(path)
    except (sqlite3.Error, OSError) as error:
        raise ApiProblem(
            "storage",
            f"The state {path} cannot be used: {error}.",
            side="operating system",
            check=f"free space and rights of {folder}",
        ) from error
    return StateStore(path, connection, note)


def _connect(path: Path) -> sqlite3.Connection:
    # Made here with its mode, since SQLite would follow the umask; -wal and -shm take over this mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict}")
        migrate(connection, MIGRATIONS)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Damage of the file's content, not a full disk, a missing right or a lock."""
    return not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error)


def _keep_aside(path: Path, now: float) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{int(now)}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{int(now)}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside
