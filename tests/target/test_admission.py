"""Who gives way when there are too many logins at once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from san_console.target import admission
from san_console.target.admission import Admission, Visit
from san_console.target.listener import Listener


class FakeSocket:
    """A connection from somewhere."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False

    def getpeername(self) -> tuple[str, int]:
        return self.address, 1

    def close(self) -> None:
        self.closed = True


class Door:
    """An admission whose logins say what they are told to."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.admission = Admission(self._log_in)

    async def _log_in(self, _: Listener, __: socket.socket, visit: Visit) -> bool:
        self.visits.append(visit)
        await asyncio.Event().wait()
        return True

    async def come(self, *addresses: str) -> list[FakeSocket]:
        found = [FakeSocket(address) for address in addresses]
        for one in found:
            self.admission.connected(None, one)  # type: ignore[arg-type]  # nobody looks at the listener
        await asyncio.sleep(0)
        return found


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_HALF_OPEN", 6)
    monkeypatch.setattr(admission, "MAX_HALF_OPEN_PER_ADDRESS", 4)


@pytest.mark.usefixtures("limits")
async def test_newcomers_are_refused_while_the_others_are_new() -> None:
    door = Door()
    found = await door.come(*["10.0.0.1"] * 6)
    assert [one.closed for one in found] == [False] * 4 + [True] * 2
    assert door.admission.half_open == {"10.0.0.1": 4}
    found = await door.come("10.0.0.2", "10.0.0.2", "10.0.0.3")
    assert [one.closed for one in found] == [False, False, True]
    assert door.admission.refused == 3
    await door.admission.close()
    await asyncio.sleep(0)
    assert not door.admission.half_open
    assert not door.admission._silent


@pytest.mark.usefixtures("limits")
async def test_who_is_silent_gives_way_and_who_has_spoken_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    old = await door.come(*["10.0.0.1"] * 4)
    door.visits[0].spoke()
    monkeypatch.setattr(admission, "SILENT_S", 0.0)
    [new] = await door.come("10.0.0.1")
    await asyncio.sleep(0)
    assert [one.closed for one in old] == [False, True, False, False]
    assert not new.closed
    # Full in all: the address with the most gives way, not that of the newcomer.
    other = await door.come("10.0.0.2", "10.0.0.2", "10.0.0.3")
    await asyncio.sleep(0)
    assert [one.closed for one in old] == [False, True, True, False]
    assert not any(one.closed for one in other)
    for visit in door.visits:
        visit.spoke()
    [late] = await door.come("10.0.0.4")
    assert late.closed
    # Those that have spoken and do not come to an end go next.
    monkeypatch.setattr(admission, "STALLED_S", 0.0)
    [later] = await door.come("10.0.0.4")
    assert not later.closed
    assert door.admission.half_open.total() == 7  # until the other one has ended
    await asyncio.sleep(0)
    await door.admission.close()
    await asyncio.sleep(0)
    assert (door.admission._silent, door.admission._talking) == ({}, {})


async def test_a_login_that_is_ended_before_its_first_step_leaves_nothing() -> None:
    door = Door()
    one = FakeSocket("10.0.0.1")
    door.admission.connected(None, one)  # type: ignore[arg-type]
    await door.admission.close()
    await asyncio.sleep(0)
    assert one.closed
    assert not door.admission.half_open


async def test_a_fault_of_ours_is_told_and_closes_the_connection() -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def broken(*_: object) -> bool:
        raise ZeroDivisionError

    async def gone(*_: object) -> bool:
        raise ConnectionResetError

    for log_in, count in ((broken, 1), (gone, 1)):
        door = Admission(log_in)
        one = FakeSocket("10.0.0.1")
        door.connected(None, one)  # type: ignore[arg-type]
        await asyncio.gather(*door.logins, return_exceptions=True)
        await asyncio.sleep(0)
        assert one.closed
        assert len(told) == count


async def test_who_is_gone_already_is_nobody() -> None:
    class Gone(FakeSocket):
        def getpeername(self) -> tuple[str, int]:
            raise OSError

    door = Door()
    one = Gone("")
    door.admission.connected(None, one)  # type: ignore[arg-type]
    assert one.closed
    assert not door.admission.logins


@pytest.mark.usefixtures("limits")
async def test_all_addresses_of_an_ipv6_host_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "FREE_FAILURES", 10)
    door = Door()
    found = await door.come(*(f"2001:db8:0:7::{number:x}" for number in range(6)), "2001:db8:0:8::1")
    assert [one.closed for one in found] == [False] * 4 + [True] * 2 + [False]
    assert door.visits[3].address == "2001:db8:0:7::3"
    for number in range(3):
        await door.admission.authentication_failed(f"2001:db8:0:7::{number:x}")
    assert {origin: count for origin, (count, _) in door.admission._failures.items()} == {
        "2001:db8:0:7::/64": 3
    }
    door.admission.authenticated("2001:db8:0:7::99")
    assert not door.admission._failures
    await door.admission.close()
    await asyncio.sleep(0)
    assert not door.admission.half_open
