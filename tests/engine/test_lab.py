"""The lab: built, used, taken down, and cleaned up after an engine that was killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from san_console.api.engine_objects import Identity
from san_console.api.initiator_objects import Lun, Session, Source, Target
from san_console.api.methods import Login
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import IsnsServer, LocalTarget
from san_console.engine.lab import CHAP_TARGET, OPEN_TARGET
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.service import Engine
from san_console.engine.state import open_state
from tests.engine.running import running

pytestmark = pytest.mark.e2e


async def test_everything_of_the_lab_works_and_goes(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        job = await host.ended(await host.call("lab.start"))
        assert (job.state, job.problem) == ("done", None)
        with pytest.raises(ApiProblem) as caught:
            await host.call("lab.start")
        assert caught.value.code == "exists"
        targets = {target.id: target for target in host.all("targets", Target)}
        assert set(targets) == {OPEN_TARGET, CHAP_TARGET}
        assert all(len(target.found_by) == 2 for target in targets.values())
        assert {one.state for one in host.all("sources", Source)} == {"ok", "idle"}
        for target in targets.values():
            login = Login(target=target.id, portal=target.portals[0].address, login=target.login)
            session: Session = await host.call("sessions.login", login)
            assert ("mutual" in session.auth) == (target.id == CHAP_TARGET)
        await host.until(lambda: len(host.all("luns", Lun)) == 4)
        await host.until(lambda: all(lun.state == "ready" for lun in host.all("luns", Lun)))
        chap = next(one for one in host.all("local_targets", LocalTarget) if one.id == CHAP_TARGET)
        assert chap.lab
        await host.call("lab.stop")
        for collection, kind in (
            ("targets", Target),
            ("sessions", Session),
            ("luns", Lun),
            ("local_targets", LocalTarget),
            ("isns_servers", IsnsServer),
            ("identities", Identity),
        ):
            assert host.all(collection, kind) == []
        assert [one.id for one in host.all("sources", Source)] == ["manual"]
        assert not (await host.call("engine.info")).lab
        assert (await host.ended(await host.call("lab.start"))).state == "done"


async def test_a_killed_engine_leaves_no_lab_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        await host.ended(await host.call("lab.start"))
        await host.engine.context.state.settled()
        # Ends without taking the lab down, as a kill would.
    state = open_state(tmp_path, now=0)
    names = [target.id for target in state.load("target", Target)]
    await state.close()
    assert set(names) == {OPEN_TARGET, CHAP_TARGET}
    state = open_state(tmp_path, now=0)
    engine = Engine(state, tmp_path, tmp_path / "run" / "engine.sock", secrets=EngineSecrets(use_memory=True))
    await engine.start()
    await asyncio.sleep(0)
    assert [one.id for one in engine.context.registry.values("sources", Source)] == ["manual"]
    assert list(engine.context.registry.values("targets", Target)) == []
    await engine.close()
