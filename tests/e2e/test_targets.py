"""The engine's targets as users have them: through kill -9, and changed by documents while they work."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from san_console.initiator.session import Session
from san_console.initiator.settings import SessionSettings
from san_console.names.portal import Portal
from tests.e2e.conftest import Console
from tests.peers import free_port, wait_for

pytestmark = pytest.mark.e2e

NAME = "iqn.2026-11.org.example:disks"
ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
MIB = 1 << 20
KEYS = {ALICE: 0xA11CE, BOB: 0xB0B}

READ_KEYS, READ_RESERVATION = 0x00, 0x01
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5


def document(folder: Path, *ports: int, alias: str = "disks", luns: int = 2) -> str:
    """A target with LUNs in files (made when missing), for anyone."""
    lines = [
        "schema: san-console/targets/1",
        "targets:",
        f"  - name: {NAME}",
        f"    alias: {alias}",
        "    portal_groups:",
    ]
    for tag, port in enumerate(ports, 1):
        lines += [f"      - tag: {tag}", f"        portals: [127.0.0.1:{port}]"]
    lines += ["    luns:"]
    for number in range(luns):
        path = folder / f"disk{number}.img"
        lines += [
            f"      - id: d{number}",
            "        kind: file",
            f"        path: {path}",
            "        size: 4 MiB",
            "        create: true",
        ]
    lines += ["    access:", '      - subject: "*"', "    mappings:"]
    for number in range(luns):
        lines += [f'      - initiator: "*"\n        lun_id: d{number}\n        lun: {number}']
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def logged_in(port: int, name: str = ALICE) -> AsyncIterator[Session]:
    """Somebody else's initiator; its ISID is the same each time."""
    session = Session(
        SessionSettings(name, NAME, Portal("127.0.0.1", port), isid=bytes.fromhex("800000000001"))
    )
    await session.login()
    try:
        yield session
    finally:
        await session.drop()


async def persistent_reserve_out(
    session: Session,
    lun: int,
    action: int,
    *,
    key: int = 0,
    new_key: int = 0,
    type_: int = 0,
    aptpl: bool = False,
) -> None:
    """SPC-4 §6.16."""
    data = key.to_bytes(8) + new_key.to_bytes(8) + bytes(4) + bytes([aptpl]) + bytes(3)
    unit = session.lun(lun)
    await unit.info()
    await unit.execute(bytes([0x5F, action, type_, 0, 0, 0, 0, 0, len(data), 0]), data=data)


async def persistent_reserve_in(session: Session, lun: int, action: int) -> list[int]:
    """The keys that READ KEYS tells, or key, scope and type of READ RESERVATION (SPC-4 §6.15)."""
    unit = session.lun(lun)
    await unit.info()
    result = await unit.execute(bytes([0x5E, action, 0, 0, 0, 0, 0, 4, 0, 0]), read_bytes=1024)
    data = bytes(result.data)
    length = int.from_bytes(data[4:8])
    if action == READ_KEYS:
        return [int.from_bytes(data[at : at + 8]) for at in range(8, 8 + length, 8)]
    return [int.from_bytes(data[8:16]), data[21]] if length else []


def test_what_was_reserved_with_aptpl_survives_a_kill(console: Console, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "targets.yaml"
    file.write_text(document(tmp_path, port))
    engine = console.start_engine()
    console.ok("target", "apply", str(file), "--yes")

    async def reserve() -> None:
        async with logged_in(port) as alice, logged_in(port, BOB) as bob:
            for lun, aptpl in ((0, True), (1, False)):
                for session, name in ((alice, ALICE), (bob, BOB)):
                    await persistent_reserve_out(session, lun, 0x06, new_key=KEYS[name], aptpl=aptpl)
                await persistent_reserve_out(
                    alice, lun, 0x01, key=KEYS[ALICE], type_=WRITE_EXCLUSIVE_REGISTRANTS_ONLY
                )
            # The answer is on its way: whatever it promised must be there from now on.
            engine.kill()

    asyncio.run(reserve())
    engine.end()
    console.start_engine()
    wait_for(lambda: console.json("target", "list")["targets"][0]["state"] == "serving", 20, "the target")

    async def look() -> None:
        async with logged_in(port) as alice:
            assert sorted(await persistent_reserve_in(alice, 0, READ_KEYS)) == sorted(KEYS.values())
            assert await persistent_reserve_in(alice, 0, READ_RESERVATION) == [
                KEYS[ALICE],
                WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
            ]
            assert await persistent_reserve_in(alice, 1, READ_KEYS) == []
            assert await persistent_reserve_in(alice, 1, READ_RESERVATION) == []

    asyncio.run(look())
    (held,) = console.json("target", "reservations")["reservations"]
    assert (held["lun_id"], held["holder"], held["aptpl"]) == ("d0", ALICE, True)
    console.ok("target", "clear-reservation", "disks", "d0", "--yes")
    assert console.json("target", "reservations")["reservations"] == []


def test_a_document_is_applied_and_taken_back_under_sessions(console: Console, tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    file = tmp_path / "targets.yaml"
    console.start_engine()

    def apply(text: str, *words: str) -> str:
        file.write_text(text)
        return console.ok("target", "apply", str(file), *words)

    apply(document(tmp_path, *ports), "--yes")
    first = console.ok("target", "export")

    async def at_work() -> None:
        async with logged_in(ports[0]) as alice, logged_in(ports[1], BOB) as bob:
            for session, lun in ((alice, 0), (bob, 1)):
                await session.lun(lun).write_bytes(0, b"\xa5" * 4096)
            assert len(console.json("target", "sessions")["sessions"]) == 2
            plan = json.loads(apply(document(tmp_path, *ports, alias="more", luns=3), "--dry-run", "--json"))
            assert (plan["applied"], plan["plan"]["disconnects"]) == (False, [])
            assert console.ok("target", "export") == first
            apply(document(tmp_path, *ports, alias="more", luns=3), "--yes")
            second = console.ok("target", "export")
            assert (alice.state, bob.state) == ("logged_in", "logged_in")
            for session in (alice, bob):
                await session.lun(2).write_bytes(0, bytes(4096))
            shown = apply(document(tmp_path, ports[0], alias="more", luns=3), "--dry-run")
            assert f"This disconnects:\n  {BOB} from {NAME}" in shown
            assert ALICE not in shown[shown.index("This disconnects:") :]
            apply(document(tmp_path, ports[0], alias="more", luns=3), "--yes")
            await until(lambda: bob.state != "logged_in")
            assert alice.state == "logged_in"
            assert bytes(await alice.lun(1).read_bytes(0, 4096)) == b"\xa5" * 4096
            console.ok("target", "undo", "--yes")
            assert console.ok("target", "export") == second
        async with logged_in(ports[1], BOB) as bob, logged_in(ports[0]) as alice:
            console.ok("target", "undo", "--yes")
            assert console.ok("target", "export") == first
            assert (alice.state, bob.state) == ("logged_in", "logged_in")
            assert bytes(await bob.lun(1).read_bytes(0, 4096)) == b"\xa5" * 4096
            # All or nothing: the second target of the document cannot be served, so the first is as it was.
            broken = document(tmp_path, *ports, alias="never").replace("create: true", "create: false")
            broken += broken[broken.index("  - name:") :].replace(NAME, NAME + "-2")
            file.write_text(broken)
            failed = console.run("target", "apply", str(file), "--yes")
            assert failed.returncode == 1
            assert f"{NAME}-2" in failed.stderr
            assert console.ok("target", "export") == first
            assert (alice.state, bob.state) == ("logged_in", "logged_in")

    asyncio.run(at_work())
    steps = console.json("target", "undo", "--list")["steps"]
    assert len(steps) == 1
    assert NAME in steps[0]["text"]


def test_a_kill_in_the_middle_of_a_document_leaves_all_of_it_or_nothing(
    console: Console, tmp_path: Path
) -> None:
    port = free_port()
    engine = console.start_engine()
    texts = []
    for alias in ("one", "two"):
        lines = [f"  - name: {NAME}-{number:03d}\n    alias: {alias}" for number in range(100)]
        group = f"    portal_groups:\n      - tag: 1\n        portals:\n          - 127.0.0.1:{port}"
        texts.append(
            "schema: san-console/targets/1\ntargets:\n" + "".join(f"{one}\n{group}\n" for one in lines)
        )
    file = tmp_path / "targets.yaml"
    file.write_text(texts[0])
    console.ok("target", "apply", str(file), "--yes")
    assert console.ok("target", "export") == texts[0]
    chance = random.Random(3)
    for turn in range(4):
        file.write_text(texts[1 - turn % 2])
        applying = subprocess.Popen(
            console.argv("target", "apply", str(file), "--yes"),
            env=console.env | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert applying.stdout is not None
        assert applying.stdout.readline()  # the plan is told, and the document is being applied
        # No wait for anything: the kill is to come at a moment that nobody has chosen.
        time.sleep(chance.random() * 0.15)
        engine.kill()
        engine.end()
        applying.communicate(timeout=30)
        engine = console.start_engine()
        found = console.ok("target", "export")
        assert found in texts, found[:300]
        if applying.returncode == 0:
            assert found == texts[1 - turn % 2]
        file.write_text(texts[turn % 2])
        console.ok("target", "apply", str(file), "--yes")


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a session's state sets no event here
            await asyncio.sleep(0.02)
