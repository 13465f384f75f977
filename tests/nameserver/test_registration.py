"""A registration that stays, whatever the server forgets."""

import pytest

from san_console.isns.attributes import Kind
from san_console.names.portal import Portal
from san_console.nameserver import registration as module
from san_console.nameserver.client import EntityEntry, IsnsClient, NodeEntry, PortalEntry
from san_console.nameserver.errors import IsnsFailure
from san_console.nameserver.registration import Registration, RegistrationEvent
from san_console.nameserver.server import IsnsServer
from tests.nameserver.waiting import until

HERE = "127.0.0.1"
T1 = "iqn.2026-11.test:t1"
ENTITY = EntityEntry([NodeEntry(T1, target=True)], [PortalEntry(Portal(HERE, 3260))])


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MAX_INTERVAL_S", 0.02), ("MIN_INTERVAL_S", 0.02)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.02)


async def test_registration_is_renewed_and_made_again_when_lost() -> None:
    events: list[RegistrationEvent] = []

    def kinds() -> list[str]:
        return [event.kind for event in events]

    async with (
        IsnsServer(Portal(HERE, 0)) as server,
        IsnsClient(server.bound_portal, source_name=T1) as client,
    ):
        keeper = Registration(client, ENTITY, on_event=events.append)
        assert keeper.state == "stopped"
        registered = await keeper.start()
        assert registered.period_s == 600
        assert keeper.state == "registered"
        await until(lambda: "renewed" in kinds())
        database = server.names.database
        database.remove(database.objects(Kind.ENTITY)[0])
        await until(lambda: "lost" in kinds() and database.objects(Kind.NODE))
        assert kinds().count("registered") == 2
        await keeper.stop()
        assert keeper.state == "stopped"
        assert len(database) == 0
        await keeper.stop()


async def test_server_that_is_away_is_tried_again() -> None:
    server = IsnsServer(Portal(HERE, 0))
    await server.start()
    portal = server.bound_portal
    await server.close()
    events: list[RegistrationEvent] = []
    async with IsnsClient(portal, source_name=T1, timeout_s=2.0) as client:
        keeper = Registration(client, ENTITY, on_event=events.append)
        with pytest.raises(IsnsFailure):
            await keeper.start()
        keeper.start_later()
        await until(lambda: [event.kind for event in events].count("failed") >= 2)
        assert keeper.state == "failing"
        assert keeper.last_failure is not None
        async with IsnsServer(portal) as again:
            await until(lambda: again.names.database.objects(Kind.NODE))
            await until(lambda: keeper.state == "registered")
            await keeper.stop(deregister=False)
            assert again.names.database.objects(Kind.NODE)
