"""The engine with other people's targets and name servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from san_console.api.engine_objects import Event
from san_console.api.initiator_objects import LoginSettings, Lun, Session, Source, Target
from san_console.api.methods import (
    AddSource,
    ByAddress,
    ById,
    ChapSecrets,
    FileToLun,
    Login,
    LunToFile,
    RunSource,
    SaveIdentity,
)
from san_console.api.problems import ApiProblem
from tests.engine.running import MIB, local_target, running
from tests.peers import isnsd, tgtd

pytestmark = [pytest.mark.interop, pytest.mark.e2e]


async def test_registered_at_isnsd_and_found_through_it(tmp_path: Path) -> None:
    (tmp_path / "isns").mkdir()
    with isnsd(tmp_path / "isns") as port:
        address = f"127.0.0.1:{port}"
        async with running(tmp_path) as host:
            await host.call("serving.create", local_target(register_with=[address]))

            def state() -> str:
                registrations = host.engine.serving.find(local_target().target.id).registrations
                return registrations[0].state if registrations else ""

            await host.until(lambda: state() == "registered")
            added = await host.call("sources.add", AddSource(kind="isns", address=address, run=False))
            job = await host.ended(await host.call("sources.run", RunSource(id=added.id)))
            assert job.state == "done", host.all("sources", Source)
            assert [target.id for target in host.all("targets", Target)] == [local_target().target.id]
            server = await host.call("isns.add", ByAddress(address=address))
            assert (server.state, server.problem) == ("ok", None)
            objects = await host.call("isns.objects", ById(id=server.id))
            assert local_target().target.id in {one.name for one in objects if one.kind == "node"}


TGTD_TARGET = "iqn.2026-11.org.example:tgtd"
SECRET, MUTUAL = "secret-of-alice-1", "secret-of-array-2"


@pytest.mark.parametrize("digest", ["none", "require"])
async def test_tgtd_with_chap_in_both_directions(tmp_path: Path, digest: str) -> None:
    disks = [tmp_path / "disk1", tmp_path / "disk2"]
    for disk in disks:
        disk.write_bytes(bytes(16 * MIB))
    with tgtd() as peer:
        peer.add_target(TGTD_TARGET, disks)
        peer.add_account("alice", SECRET)
        peer.add_account("array", MUTUAL, outgoing=True)
        if digest == "require":
            peer.set_key("HeaderDigest", "CRC32C")
            peer.set_key("DataDigest", "CRC32C")
        async with running(tmp_path) as host:
            one = await host.call("identities.save", SaveIdentity(user="alice", secret=SECRET))
            two = await host.call("identities.save", SaveIdentity(user="array", secret=MUTUAL))
            added = await host.call(
                "sources.add", AddSource(kind="sendtargets", address=peer.portal, run=False)
            )
            job = await host.ended(await host.call("sources.run", RunSource(id=added.id)))
            assert job.state == "done", job.problem
            (target,) = host.all("targets", Target)
            assert target.portals[0].reach == "answers"
            for chap, direction in (
                (ChapSecrets(user="alice", secret="wrong-secret-1234"), "initiator"),
                (
                    ChapSecrets(
                        user="alice", secret=SECRET, mutual_user="array", mutual_secret="wrong-secret-5678"
                    ),
                    "target",
                ),
            ):
                with pytest.raises(ApiProblem) as caught:
                    await host.call("sessions.login", Login(target=target.id, portal=peer.portal, chap=chap))
                assert caught.value.code == "authentication"
                assert caught.value.problem.details["direction"] == direction
            login = LoginSettings(identity_id=one.id, mutual_identity_id=two.id)
            if digest == "require":
                login.header_digest = login.data_digest = "require"
            session: Session = await host.call(
                "sessions.login", Login(target=target.id, portal=peer.portal, login=login)
            )
            assert "mutual" in session.auth
            expected = "CRC32C" if digest == "require" else "None"
            assert session.connections[0].data_digest == expected
            await host.until(lambda: sum(lun.state == "ready" for lun in host.all("luns", Lun)) >= 2)
            lun = next(lun for lun in host.all("luns", Lun) if lun.size_bytes == 16 * MIB)
            source, copy = tmp_path / "source", tmp_path / "copy"
            content = os.urandom(16 * MIB)
            source.write_bytes(content)
            confirm = lun.identity or lun.id
            job = await host.ended(
                await host.call(
                    "luns.from_file", FileToLun(id=lun.id, path=str(source), confirm_identity=confirm)
                )
            )
            assert job.state == "done", job.problem
            # What the LUN holds now is shown, not what it held before.
            assert lun.content == "empty"
            assert next(one for one in host.all("luns", Lun) if one.id == lun.id).content != "empty"
            job = await host.ended(await host.call("luns.to_file", LunToFile(id=lun.id, path=str(copy))))
            assert job.state == "done", job.problem
            assert copy.read_bytes() == content
            assert disks[0].read_bytes() == content
            peer.kill()
            await host.until(lambda: host.all("sessions", Session)[0].state == "retrying")
            peer.start()
            await host.call("sessions.retry_now", ById(id=session.id))
            await host.until(lambda: host.all("sessions", Session)[0].state == "logged_in", 20)
            kinds = [event.kind for event in host.all("events", Event) if event.object_id == session.id]
            assert {"login", "connection_lost", "retry_scheduled", "recovered"} <= set(kinds)
