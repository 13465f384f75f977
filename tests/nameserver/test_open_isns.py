"""Open-iSNS, both ways: its isnsadm at our server, and our client at its isnsd."""

import argparse
import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from san_console.cli import isns
from san_console.names.portal import Portal
from san_console.nameserver.client import (
    EntityEntry,
    IsnsClient,
    NodeEntry,
    PortalEntry,
    PortalGroupEntry,
)
from san_console.nameserver.server import IsnsServer
from tests import peers

pytestmark = pytest.mark.interop

HERE = "127.0.0.1"
T1, T2, I1 = (f"iqn.2026-11.test:{name}" for name in ("t1", "t2", "i1"))


class Isnsadm:
    """isnsadm with a configuration for the server on `port`, speaking as `source`."""

    def __init__(self, folder: Path, port: int, source: str = I1) -> None:
        self.program = peers.need("isnsadm", "open-isns-utils")
        self.conf = folder / f"isnsadm-{port}-{source.rpartition(':')[2]}.conf"
        self.conf.write_text(
            f"SourceName = {source}\nServerAddress = {HERE}:{port}\nSecurity = 0\nNetwork.CallTimeout = 10\n"
        )

    def run(self, *words: str) -> tuple[int, str]:
        argv = [self.program, "-c", str(self.conf), *words]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=30, text=True)
        return done.returncode, done.stdout + done.stderr

    async def __call__(self, *words: str) -> str:
        code, output = await asyncio.to_thread(self.run, *words)
        assert code == 0, output
        return output


# Their server


async def test_target_registered_with_isnsadm_at_isnsd_is_found(tmp_path: Path) -> None:
    with peers.isnsd(tmp_path) as port:
        isnsadm = Isnsadm(tmp_path, port)
        await isnsadm("--register", f"target={T1},alias=disk", f"portal={HERE}:3260", "pg,pgt=2")
        await isnsadm("--register", f"initiator={I1}")
        async with IsnsClient(Portal(HERE, port), source_name=I1) as client:
            found = await client.query_targets()
            assert [(t.name, t.alias, t.portals) for t in found] == [(T1, "disk", [(Portal(HERE, 3260), 2)])]
            assert found.skipped == 0
            ids = {(item.kind, item.id) for item in await client.list_objects()}
            assert {("node", T1), ("node", I1), ("portal", f"{HERE}:3260")} <= ids
            assert ("portal group", f"{T1} {HERE}:3260") in ids


async def test_our_client_registers_at_isnsd_and_isnsadm_sees_it(tmp_path: Path) -> None:
    with peers.isnsd(tmp_path) as port:
        isnsadm = Isnsadm(tmp_path, port)
        async with IsnsClient(Portal(HERE, port), source_name=T1) as client:
            portals = [PortalEntry(Portal(HERE, 4000)), PortalEntry(Portal("::1", 4001))]
            entity = EntityEntry(
                [NodeEntry(T1, target=True, alias="from us"), NodeEntry(T2, target=True)],
                portals,
                [
                    PortalGroupEntry(T1, Portal(HERE, 4000), 7),
                    PortalGroupEntry(T1, Portal("::1", 4001), None),
                ],
                entity_id="console.example",
            )
            registered = await client.register(entity)
            assert registered.entity_id == "console.example"
            output = await isnsadm("--query", f"iscsi-name={T1}")
            assert 'iSCSI alias = "from us"' in output
            assert "Portal group tag = 7" in output
            assert await client.is_registered(T1)
            targets = {target.name: target.portals for target in await client.query_targets()}
            assert targets[T1] == [(Portal(HERE, 4000), 7)]
            assert sorted(portal.port for portal, _ in targets[T2]) == [4000, 4001]
            # Registered again, as after a restart: it replaces what was there.
            await client.register(
                EntityEntry([NodeEntry(T1, target=True)], portals[:1], entity_id="console.example")
            )
            assert [target.name for target in await client.query_targets()] == [T1]
            await client.deregister(entity_id="console.example")
            assert await client.query_targets() == []


async def test_entity_name_made_up_by_isnsd(tmp_path: Path) -> None:
    with peers.isnsd(tmp_path) as port:
        async with IsnsClient(Portal(HERE, port), source_name=T1) as client:
            registered = await client.register(EntityEntry([NodeEntry(T1, target=True)]))
            assert registered.entity_id
            await client.deregister(entity_id=registered.entity_id)
            assert not await client.is_registered(T1)


async def test_hundreds_of_targets_from_isnsd(tmp_path: Path) -> None:
    with peers.isnsd(tmp_path) as port:
        async with IsnsClient(Portal(HERE, port), source_name=T1) as client:
            nodes = [NodeEntry(f"iqn.2026-11.test:disk{n}", target=True) for n in range(100)]
            await client.register(EntityEntry(nodes, [PortalEntry(Portal(HERE, 4000))]))
            found = await client.query_targets()
            assert {target.name for target in found} == {node.name for node in nodes}
            assert all(target.portals == [(Portal(HERE, 4000), 1)] for target in found)
            listed = [item.id for item in await client.list_objects() if item.kind == "node"]
            assert sorted(listed) == sorted(node.name for node in nodes)


# Our server


@pytest.fixture
async def server() -> AsyncIterator[IsnsServer]:
    async with IsnsServer(Portal(HERE, 0)) as running:
        yield running


async def test_isnsadm_registers_lists_queries_and_deregisters(server: IsnsServer, tmp_path: Path) -> None:
    port = server.bound_portal.port
    isnsadm = Isnsadm(tmp_path, port)
    output = await isnsadm("--register", f"target={T1},alias=disk", f"portal={HERE}:3260", "pg,pgt=2")
    assert "Successfully registered" in output
    await isnsadm("--register", f"initiator={I1}", f"portal={HERE}:860,scn-port=5555")

    nodes = await isnsadm("--list", "nodes")
    assert f'iSCSI name = "{T1}"' in nodes
    assert f'iSCSI name = "{I1}"' in nodes
    assert "iSCSI node type = Target" in nodes
    portals = await isnsadm("--list", "portals")
    assert "Portal IP address = 127.0.0.1" in portals
    assert "Portal TCP/UDP port = 3260/tcp" in portals
    entities = await isnsadm("--list", "entities")
    assert entities.count("Entity identifier") == 2
    assert "Registration Period = 600" in entities
    assert "Portal group tag = 2" in await isnsadm("--list", "portal-groups")
    assert "DD ID = 1" in await isnsadm("--list", "dds")
    assert "Object" not in await isnsadm("--list", "ddsets")

    found = await isnsadm("--query", f"iscsi-name={T1}")
    assert "<Network Entity>" in found
    assert "<iSCSI Storage Node>" in found
    assert "<Portal>" in found
    assert "<iSCSI Portal Group>" in found
    assert I1 not in found
    assert I1 not in await isnsadm("--query", "iscsi-node-type=target")
    assert T1 in await isnsadm("--query", f"portal={HERE}:3260")
    assert "Object list empty" in await isnsadm("--query", "iscsi-name=iqn.2026-11.test:nobody")

    async with IsnsClient(server.bound_portal, source_name=I1) as client:
        found_targets = await client.query_targets()
        assert [(t.name, t.portals) for t in found_targets] == [(T1, [(Portal(HERE, 3260), 2)])]

    await Isnsadm(tmp_path, port, T1)("--deregister", f"iscsi-name={T1}")
    assert T1 not in await isnsadm("--list", "nodes")


async def test_isnsadm_replaces_one_portal(server: IsnsServer, tmp_path: Path) -> None:
    isnsadm = Isnsadm(tmp_path, server.bound_portal.port)
    await isnsadm("--register", f"initiator={I1}", f"portal={HERE}:861")
    await isnsadm("--register", f"portal={HERE}:863")
    await isnsadm("--register", "--replace", "--key", f"portal={HERE}:861", f"portal={HERE}:862")
    ports = sorted(item.id for item in server.objects() if item.kind == "portal")
    assert ports == [f"{HERE}:862", f"{HERE}:863"]
    await isnsadm("--register", "--replace", f"initiator={I1}")
    assert [item.kind for item in server.objects()] == ["entity", "node"]


async def test_isnsadm_is_told_why_not(server: IsnsServer, tmp_path: Path) -> None:
    port = server.bound_portal.port
    isnsadm = Isnsadm(tmp_path, port)
    await isnsadm("--register", f"target={T1}", f"portal={HERE}:3260")
    for words, why in (
        (("--register", f"target={T2}", f"portal={HERE}:3260"), "Invalid registration"),
        (("--register", "control"), "Invalid registration"),
        (("--deregister", f"iscsi-name={T1}"), "Source unknown"),
        (("--dd-register", "dd-name=foo", f"dd-member-name={T1}"), "not supported"),
    ):
        code, output = await asyncio.to_thread(isnsadm.run, *words)
        assert code != 0
        assert why in output
    assert [item.id for item in server.objects() if item.kind == "node"] == [T1]


async def test_isnsadm_lists_many_objects(server: IsnsServer, tmp_path: Path) -> None:
    """By DevGetNext: one answer of more than 8 KiB is beyond isnsadm, whoever sends it."""
    nodes = [NodeEntry(f"iqn.2026-11.test:disk{n:03}", target=True) for n in range(150)]
    async with IsnsClient(server.bound_portal, source_name=nodes[0].name) as client:
        await client.register(EntityEntry(nodes, [PortalEntry(Portal(HERE, 3260))]))
        isnsadm = Isnsadm(tmp_path, server.bound_portal.port)
        output = await isnsadm("--list", "nodes")
        assert output.count("iSCSI name =") == 150


# The command


def test_query_command_at_isnsd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with peers.isnsd(tmp_path) as port:
        code, output = Isnsadm(tmp_path, port).run("--register", f"target={T1}", f"portal={HERE}:3260")
        assert code == 0, output
        parser = argparse.ArgumentParser()
        isns.add_parser(parser.add_subparsers())
        args = parser.parse_args(["isns", "query", f"{HERE}:{port}", "--json"])
        assert args.handler(args) == 0
        shown = json.loads(capsys.readouterr().out)
        assert [target["name"] for target in shown["targets"]] == [T1]
        assert shown["targets"][0]["portals"] == [{"portal": f"{HERE}:3260", "tag": 1}]
