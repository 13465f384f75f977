"""The state survives: kills in the middle of writes, damage, full disks, newer and older releases."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from san_console.api.engine_objects import Event
from san_console.api.problems import ApiProblem
from san_console.engine import state as state_module
from san_console.engine.state import open_state
from san_console.engine.state_schema import MIGRATIONS, migrate
from tests.peers import need


class Note(msgspec.Struct, kw_only=True):
    id: str
    text: str = ""


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def event(number: int, object_id: str = "x") -> Event:
    return Event(
        id=str(number),
        at=float(number),
        severity="info",
        kind="k",
        object_kind="session",
        object_id=object_id,
        text="t",
    )


async def test_what_was_put_is_there_after_reopening(tmp_path: Path) -> None:
    state = open_state(tmp_path, now=0)
    assert state.note == ""
    state.put("note", "b", Note(id="b", text="1"))
    state.put("note", "a", Note(id="a"))
    state.put("note", "b", Note(id="b", text="2"))
    state.put("other", "a", Note(id="a"))
    state.delete("other", "a")
    state.put_text("name", "iqn.x")
    await state.settled()
    await state.close()
    state = open_state(tmp_path, now=0)
    assert [note.text for note in state.load("note", Note)] == ["2", ""]
    assert state.load("other", Note) == []
    assert state.get_text("name") == "iqn.x"
    assert state.get_text("never") == ""
    await state.close()


async def test_the_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        state = open_state(tmp_path, now=0)
        state.put_text("a", "b")
        await state.settled()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files_of(tmp_path)}
        await state.close()
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    assert "state.sqlite-wal" in modes


async def test_events_are_found_by_object_and_by_age(tmp_path: Path) -> None:
    state = open_state(tmp_path, now=0)
    for number in range(1, 11):
        state.add_event(event(number, "odd" if number % 2 else "even"))
    assert [one.id for one in await state.query_events(limit=3)] == ["10", "9", "8"]
    assert [one.id for one in await state.query_events(object_id="odd", before_id=7, limit=9)] == [
        "5",
        "3",
        "1",
    ]
    assert state.last_event_id() == 10
    await state.close()


async def test_old_events_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "MAX_EVENTS", 20)
    monkeypatch.setattr(state_module, "PRUNE_EVERY", 5)
    state = open_state(tmp_path, now=0)
    for number in range(1, 101):
        state.add_event(event(number))
        await state.settled()
    kept = await state.query_events(limit=1000)
    assert 20 <= len(kept) <= 25
    assert kept[0].id == "100"
    await state.close()


@pytest.mark.parametrize("damage", ["garbage", "zeros", "header", "middle", "truncated"])
async def test_a_damaged_file_is_kept_aside_and_said(tmp_path: Path, damage: str) -> None:
    state = open_state(tmp_path, now=0)
    for number in range(500):
        state.put("note", str(number), Note(id=str(number), text="x" * 200))
    await state.settled()
    await state.close()
    path = tmp_path / "state.sqlite"
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(random.Random(1).randbytes(len(data)))
    elif damage == "zeros":
        data = bytearray(len(data))
    elif damage == "header":
        data[:16] = b"not a database!!"
    elif damage == "middle":
        data[4096:] = bytes(random.Random(2).randbytes(len(data) - 4096))
    else:
        data = data[: len(data) // 2]
    path.write_bytes(data)
    state = open_state(tmp_path, now=1234.5)
    assert "damaged" in state.note
    assert (tmp_path / "state.sqlite.damaged-1234").read_bytes() == bytes(data)
    state.put_text("works", "again")
    await state.settled()
    await state.close()
    assert open_state_and_close(tmp_path) == ""


def open_state_and_close(folder: Path) -> str:
    state = open_state(folder, now=0)
    state._connection.close()
    state._thread.shutdown()
    return state.note


async def test_two_damages_in_one_second_overwrite_nothing(tmp_path: Path) -> None:
    for content in (b"first damage", b"second damage"):
        (tmp_path / "state.sqlite").write_bytes(content * 100)
        open_state_and_close(tmp_path)
    assert (tmp_path / "state.sqlite.damaged-0").read_bytes().startswith(b"first")
    assert (tmp_path / "state.sqlite.damaged-0-2").read_bytes().startswith(b"second")


async def test_single_bad_entries_are_left_out_and_said(tmp_path: Path) -> None:
    state = open_state(tmp_path, now=0)
    state.put("note", "good", Note(id="good"))
    state.put("note", "bad", Note(id="bad"))
    await state.settled()
    await state.close()
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("UPDATE documents SET body = x'00ff' WHERE id = 'bad'")
        connection.execute("INSERT INTO documents VALUES ('note', 'null', NULL)")
        connection.execute("INSERT INTO documents VALUES ('value', 'name', 17)")
    connection.close()
    state = open_state(tmp_path, now=0)
    assert [note.id for note in state.load("note", Note)] == ["good"]
    assert "2 entries" in state.note
    assert state.get_text("name") == ""
    await state.close()


async def test_a_state_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    open_state_and_close(tmp_path)
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / "state.sqlite").read_bytes()
    with pytest.raises(ApiProblem) as caught:
        open_state(tmp_path, now=0)
    assert caught.value.code == "version"
    assert (tmp_path / "state.sqlite").read_bytes() == before
    assert not any("damaged" in path.name for path in files_of(tmp_path))


def test_migrations_run_once_each_and_a_failing_one_leaves_the_old_version() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    steps = [*MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO more VALUES (1)")]
    migrate(connection, MIGRATIONS)
    migrate(connection, steps)
    migrate(connection, steps)
    assert connection.execute("SELECT count(*) FROM more").fetchone() == (1,)
    broken = [*steps, ("CREATE TABLE third (x)", "THIS IS NO SQL")]
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(steps),)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'third'").fetchone() is None
    connection.close()


async def test_a_file_that_cannot_be_used_is_a_storage_problem(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").mkdir()
    with pytest.raises(ApiProblem) as caught:
        open_state(tmp_path, now=0)
    assert caught.value.code == "storage"


async def test_a_full_disk_is_said_and_nothing_is_lost_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "RETRY_S", 0.02)
    state = open_state(tmp_path, now=0)
    told: list[str | None] = []
    state.on_failed = told.append
    real = state._commit
    full = True

    def commit(*arguments: object) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        real(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(state, "_commit", commit)
    state.put_text("a", "old")
    state.add_event(event(1))
    with pytest.raises(ApiProblem, match="disk is full"):
        await state.settled()
    state.put_text("a", "new")
    with pytest.raises(ApiProblem):
        await state.settled()
    full = False
    async with asyncio.timeout(5):
        while told[-1] is not None:  # noqa: ASYNC110 - the state tells by a list here
            await asyncio.sleep(0.01)
    await state.settled()
    assert state.get_text("a") == "new"
    assert state.last_event_id() == 1
    await state.close()
    assert told == ["database or disk is full", None]


WRITER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    import msgspec
    from san_console.engine.state import open_state

    class Note(msgspec.Struct):
        id: str
        text: str = ""

    async def main():
        state = open_state(Path(sys.argv[1]), now=0)
        number = int(state.get_text("number") or 0)
        while True:
            number += 1
            # Both in one turn of the loop: one transaction, so never one without the other.
            state.put_text("number", str(number))
            state.put("note", str(number % 50), Note(id=str(number), text="x" * 3000))
            await state.settled()
            print(number, flush=True)

    asyncio.run(main())
    """
)


@pytest.mark.e2e
def test_kill_9_in_the_middle_of_writes_loses_nothing_that_was_settled(tmp_path: Path) -> None:
    rng = random.Random(7)
    last = 0
    for _ in range(15):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            line = process.stdout.readline()
            assert line, "the writer could not open what the kill left"
            last = int(line)
        # Anywhere between two acknowledged writes.
        signal.pthread_sigmask(signal.SIG_BLOCK, [])
        process.kill()
        rest, _ = process.communicate()
        last = max([last, *(int(line) for line in rest.split())])
        with sqlite3.connect(tmp_path / "state.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (raw,) = connection.execute("SELECT body FROM documents WHERE id = 'number'").fetchone()
            number = int(msgspec.json.decode(raw))
            (note,) = connection.execute(
                "SELECT body FROM documents WHERE kind = 'note' AND id = ?", (str(number % 50),)
            ).fetchone()
        connection.close()
        assert number >= last
        assert msgspec.json.decode(note)["id"] == str(number)
    assert last > 100
    assert not list(tmp_path.glob("*.damaged-*"))


FAILING_WRITER = WRITER.replace(
    "        await state.settled()\n",
    """\
        try:
            await state.settled()
        except ApiProblem:
            print("failed", flush=True)
            return
""",
).replace("import msgspec\n", "import msgspec\nfrom san_console.api.problems import ApiProblem\n")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "injection",
    [
        "pwrite64:error=ENOSPC:when={}+",
        "pwrite64:error=EIO:when={}",
        "fdatasync:error=EIO:when={}+",
        "pwrite64:signal=KILL:when={}",
        "fdatasync:signal=KILL:when={}",
    ],
)
def test_a_failing_or_deadly_system_call_leaves_old_or_new_and_never_else(
    tmp_path: Path, injection: str
) -> None:
    strace = need("strace", "strace")
    reached = 0
    for number in (1, 2, 3, 5, 8, 13, 40):
        folder = tmp_path / str(number)
        folder.mkdir()
        # A state that is there already: what is damaged then would be somebody's settings.
        state_file = sqlite3.connect(folder / "state.sqlite", isolation_level=None)
        migrate(state_file, MIGRATIONS)
        state_file.execute("INSERT INTO documents VALUES ('value', 'precious', '\"kept\"')")
        state_file.close()
        command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injection.format(number)}"]
        process = subprocess.Popen(
            [*command, sys.executable, "-c", FAILING_WRITER, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        acknowledged = 0
        for line in process.stdout:
            if line.strip() == "failed" or acknowledged > 40:
                break
            acknowledged = int(line)
        process.kill()
        process.communicate()
        reached = max(reached, acknowledged)
        connection = sqlite3.connect(folder / "state.sqlite")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = dict(connection.execute("SELECT id, body FROM documents WHERE kind = 'value'").fetchall())
        connection.close()
        assert msgspec.json.decode(rows["precious"]) == "kept"
        assert int(msgspec.json.decode(rows.get("number", b'"0"'))) >= acknowledged
        assert not any("damaged" in path.name for path in folder.iterdir())
    assert reached, "the writer never came to write"
