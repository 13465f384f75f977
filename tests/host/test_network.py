from __future__ import annotations

import asyncio
import builtins
import socket
from typing import Any

import pytest

from san_console.host import network


async def test_loopback_is_there() -> None:
    found = {one.name: one for one in await network.interfaces()}
    if not found:
        pytest.skip("no netlink here")
    loopback = next(one for one in found.values() if one.loopback)
    assert "127.0.0.1" in loopback.addresses
    assert loopback.up
    assert loopback.mtu >= 1500


async def test_the_way_to_loopback() -> None:
    route = await network.route_to("127.0.0.1")
    if route is None:
        pytest.skip("no netlink here")
    assert (route.interface, route.source, route.gateway) == ("lo", "127.0.0.1", "")


async def test_no_address_has_no_route() -> None:
    assert await network.route_to("not-an-address") is None


async def test_without_pyroute2_nothing_is_found_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("pyroute2"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert await network.interfaces() == []
    assert await network.route_to("127.0.0.1") is None


async def test_without_netlink_sockets_changes_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("address family not supported")

    monkeypatch.setattr(socket, "socket", refuse)
    assert [None async for _ in network.changes()] == []


async def test_waiting_for_changes_can_be_cancelled() -> None:
    async def wait() -> None:
        async for _ in network.changes():
            return

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_link_local_addresses_carry_their_zone() -> None:
    assert network._with_zone("fe80::1", "eth0") == "fe80::1%eth0"
    assert network._with_zone("2001:db8::1", "eth0") == "2001:db8::1"
    assert network._with_zone("10.0.0.1", "eth0") == "10.0.0.1"
