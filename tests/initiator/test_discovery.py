"""SendTargets against targets that tell too much, nothing, or nonsense (RFC 7143 appendix C)."""

from __future__ import annotations

import asyncio

import pytest

from san_console.initiator import send_targets
from san_console.initiator.discovery import DiscoveryResult
from san_console.initiator.errors import InitiatorError, LoginRefused, SessionLost
from san_console.iscsi.login_policy import TargetDecision
from san_console.iscsi.pdu import LogoutRequest, LogoutResponse, Reject, TextRequest, TextResponse
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from tests.initiator.hostile import INITIATOR, Behaviour, Hostile, hostile

pytestmark = pytest.mark.conformance


def tell(*parts: bytes) -> Behaviour:
    """A target that answers SendTargets in these parts."""

    async def behave(peer: Hostile) -> None:
        await peer.log_in()
        for number, part in enumerate(parts):
            request, data = await peer.receive()
            assert isinstance(request, TextRequest)
            assert data == (b"" if number else b"SendTargets=All\0")
            final = number == len(parts) - 1
            response = TextResponse(final=final, itt=request.itt, ttt=0xFFFFFFFF if final else 5)
            await peer.send(response, part, numbered=True)
        logout, _ = await peer.receive()
        assert isinstance(logout, LogoutRequest)
        await peer.send(LogoutResponse(itt=logout.itt), numbered=True)

    return behave


async def ask(portal: Portal, **more: object) -> DiscoveryResult:
    return await send_targets(portal, initiator_name=INITIATOR, timeout_s=2.0, **more)  # type: ignore[arg-type]


async def test_a_list_in_parts_that_split_a_name() -> None:
    behave = tell(
        b"TargetName=iqn.2026-11.a:one\0TargetAddress=10.0.0.1:3260,1\0TargetName=iqn.20",
        b"26-11.a:two\0TargetAddress=[fd00::1]:3261,2\0TargetAddress=san.example:3260,3\0",
    )
    async with hostile(behave) as portal:
        found = await ask(portal)
    assert [record.name for record in found.targets] == ["iqn.2026-11.a:one", "iqn.2026-11.a:two"]
    assert [str(address) for address, _ in found.targets[1].addresses] == [
        "[fd00::1]:3261",
        "san.example:3260",
    ]
    assert (found.truncated, found.skipped, found.portal) == (False, 0, portal)


async def test_bad_records_are_skipped_and_counted() -> None:
    behave = tell(
        b"TargetName=iqn.2026-11.a:bad\nname\0TargetAddress=10.0.0.1:3260,1\0"
        b"TargetName=iqn.2026-11.a:good\0TargetAddress=[fe80::1%eth9]:3260,1\0TargetAddress=10.0.0.2:3260,1\0"
        b"TargetName=<b>\xe2\x80\xae\0"
    )
    async with hostile(behave) as portal:
        found = await ask(portal)
    assert [record.name for record in found.targets] == ["iqn.2026-11.a:good"]
    assert [str(address) for address, _ in found.targets[0].addresses] == ["10.0.0.2:3260"]
    assert found.skipped >= 3


async def test_a_list_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.initiator.discovery.MAX_LIST_BYTES", 3000)

    async def endless(peer: Hostile) -> None:
        await peer.log_in()
        number = 0
        while True:
            request, _ = await peer.receive()
            part = b"TargetName=iqn.2026-11.a:%d\0" % number
            await peer.send(TextResponse(final=False, itt=request.itt, ttt=5), part, numbered=True)
            number += 1

    async with hostile(endless) as portal:
        async with asyncio.timeout(10):
            found = await ask(portal)
    assert found.truncated
    assert 50 < len(found.targets) < 200


async def test_a_target_that_hangs_up_or_refuses_or_says_nothing() -> None:
    async def hang_up(peer: Hostile) -> None:
        await peer.log_in()
        await peer.receive()

    async def reject(peer: Hostile) -> None:
        await peer.log_in()
        request, _ = await peer.receive()
        await peer.send(Reject(reason=5), request.pack(), numbered=True)
        await peer.reader.read()

    async def silent(peer: Hostile) -> None:
        await peer.log_in()
        await peer.reader.read()

    for behave, word in ((hang_up, "closed the connection"), (reject, "rejected the request")):
        async with hostile(behave) as portal:
            with pytest.raises(SessionLost, match=word):
                await ask(portal)
    async with hostile(silent) as portal:
        with pytest.raises(InitiatorError, match="did not finish"):
            await send_targets(portal, initiator_name=INITIATOR, timeout_s=0.3)


async def test_discovery_chap_in_both_directions() -> None:
    ours = ChapCredentials("me", Secret("our-secret-12345"))
    theirs = ChapCredentials("them", Secret("their-secret-123"))

    async def behave(peer: Hostile) -> None:
        await peer.log_in(TargetDecision(chap=[ours], mutual=theirs))
        request, _ = await peer.receive()
        await peer.send(TextResponse(itt=request.itt), b"TargetName=iqn.2026-11.a:one\0", numbered=True)

    async with hostile(behave) as portal:
        found = await ask(portal, chap=ours, mutual_chap=theirs)
        assert found.auth.startswith("CHAP")
        assert found.auth.endswith("mutual")
        impostor = ChapCredentials("them", Secret("another-secret-1"))
        with pytest.raises(LoginRefused) as refusal:
            await ask(portal, chap=ours, mutual_chap=impostor)
        assert refusal.value.direction == "target"
