"""How much many targets and sessions cost: in processor time, since the machine has others to serve."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from pathlib import Path

import pytest

from san_console.names.portal import Portal
from san_console.target.config import (
    BackstoreSpec,
    InitiatorAccess,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
)
from tests.target.raw_initiator import ME, NAME, RawInitiator, Served, config, settings, until
from tests.target.serving import serve

TARGETS = 1000
LUNS = 4


def many(specs: list[BackstoreSpec]) -> list[TargetConfig]:
    """Targets with four LUNs each behind one portal."""
    return [
        TargetConfig(
            f"iqn.2026-11.org.example:t{number}",
            [PortalGroup(1, [Portal("127.0.0.9", 0)])],
            luns=[
                LunConfig(f"l{lun}", f"l{lun}", specs[number * LUNS + lun], naa_seed=b"seed")
                for lun in range(LUNS)
            ],
            mappings=[MappingRule(ME, f"l{lun}", lun) for lun in range(LUNS)],
        )
        for number in range(TARGETS)
    ]


async def test_a_thousand_targets_are_there_in_two_seconds() -> None:
    specs = [BackstoreSpec("memory", size_bytes=1 << 20)] * (TARGETS * LUNS)
    async with Served() as served:
        began = time.process_time()
        assert await served.server.add_many(many(specs)) == {}
        assert time.process_time() - began < 2
        assert len(served.server.targets()) == TARGETS + 1
        # Nor does a login look through them.
        portal = served.server.bound_portals(f"{many(specs)[0].name}")[0]
        took = []
        for number in range(20):
            began = time.process_time()
            raw = await RawInitiator.open(portal.port, portal.host)
            await raw.login(settings(target_name=f"iqn.2026-11.org.example:t{number * 50}"))
            took.append(time.process_time() - began)
            await raw.close()
        assert sorted(took)[10] < 0.05


async def test_a_login_costs_the_same_beside_a_thousand_sessions_and_rules() -> None:
    rules = [InitiatorAccess(f"{ME}.{number}") for number in range(10_000)]
    wanted = config(initiators=rules, anyone=False, mappings=[MappingRule(ME, "a", 0)])
    async with Served(wanted) as served:

        async def logins(first: int, count: int) -> float:
            # What the garbage collector finds in the process depends on all tests before this one.
            gc.disable()
            began = time.process_time()
            for number in range(first, first + count):
                raws.append(await served.login(isid=b"\x80\x00\x00" + number.to_bytes(3, "big")))
            took = time.process_time() - began
            gc.enable()
            return took / count

        raws: list[RawInitiator] = []
        try:
            await logins(0, 20)
            alone = await logins(100, 50)
            await logins(1000, 400)
            crowded = await logins(2000, 50)
            assert crowded < alone * 2 + 0.002
        finally:
            gc.enable()
            for raw in raws:
                await raw.close()
        await until(lambda: not served.server.sessions())


def resident_kib(pid: int) -> int:
    """The resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.interop
def test_256_idle_sessions_in_120_mib() -> None:
    with serve(["memory:256M"]) as serving:
        port = int(serving.portal.rpartition(":")[2])

        async def idle() -> int:
            raws = []
            for number in range(256):
                raw = await RawInitiator.open(port)
                await raw.login(settings(isid=b"\x80\x00\x00\x00" + number.to_bytes(2, "big")))
                await raw.ready()
                raws.append(raw)
            found = resident_kib(serving.process.pid)
            for raw in raws:
                raw.writer.transport.abort()
            return found // 1024

        resident_mib = asyncio.run(idle())
        print(f"{resident_mib} MiB with 256 idle sessions")
        assert resident_mib < 120


@pytest.mark.interop
def test_thousands_of_bad_logins_leave_no_memory_behind() -> None:
    """Connections that say nothing, half a header, noise, or a login that is refused."""
    with serve(["memory:1M"]) as serving:
        port = int(serving.portal.rpartition(":")[2])

        async def attack(count: int) -> None:
            from san_console.iscsi.pdu import LoginRequest

            text = f"InitiatorName={ME}\0TargetName={NAME}.x\0".encode()
            refused = LoginRequest(csg=1, nsg=3, transit=True, itt=1).pack(len(text)) + text
            openings = (b"", b"\x43" * 20, b"GET / HTTP/1.1\r\n" * 4, refused + bytes(-len(refused) % 4))
            for number in range(count):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(openings[number % 4])
                if number % 4 > 1:
                    await reader.read()
                writer.transport.abort()

        asyncio.run(attack(1000))
        before = resident_kib(serving.process.pid)
        asyncio.run(attack(4000))
        print(f"{resident_kib(serving.process.pid) - before} KiB more after 4,000 bad logins")
        assert resident_kib(serving.process.pid) - before < 10 * 1024
