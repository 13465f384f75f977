"""The tables of the state and how each version becomes the next. `PRAGMA user_version` counts them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from san_console.api.problems import ApiProblem
from san_console.engine.state_upgrades import group_the_portals

Step = str | Callable[[sqlite3.Connection], None]
"""A statement, or what cannot be said in SQL. It runs inside of the migration's transaction."""

MIGRATIONS: Final[tuple[tuple[Step, ...], ...]] = (
    (
        "CREATE TABLE documents (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB, PRIMARY KEY (kind, id))",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, object_id TEXT NOT NULL, body BLOB NOT NULL)",
        "CREATE INDEX events_of_object ON events (object_id, id)",
    ),
    (group_the_portals,),
)
"""Lists of steps; list n leads from version n to n + 1. Never changed once released, only added to."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[Step]]) -> None:
    """Bring the state to the newest version, each step in a transaction of its own.

    Raises ApiProblem `version` for a state that a newer release has written, sqlite3.Error otherwise.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise ApiProblem(
            "version",
            f"The state was written by a newer release (its version is {version}, this one knows "
            f"{len(migrations)}).",
            side="this side",
            check="update SAN Console, or set SAN_CONSOLE_DATA_DIR to another folder",
        )
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in migrations[number]:
                if isinstance(step, str):
                    connection.execute(step)
                else:
                    step(connection)
            # A pragma takes no parameters; the number is ours.
            connection.execute(f"PRAGMA user_version = {number + 1:d}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
