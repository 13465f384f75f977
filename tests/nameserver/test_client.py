"""The client: against our server, and against servers that are wrong, slow or hostile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from san_console.isns import functions
from san_console.isns.attributes import (
    SCN_OBJECT_ADDED,
    Attribute,
    Tag,
    write_address,
    write_number,
    write_text,
    write_time,
)
from san_console.isns.message import Message
from san_console.isns.pdu import FLAG_SERVER, HEADER
from san_console.isns.policy import Limits, ServerPolicy
from san_console.names.portal import Portal
from san_console.nameserver.client import (
    EntityEntry,
    IsnsClient,
    NodeEntry,
    PortalEntry,
    PortalGroupEntry,
    Registered,
)
from san_console.nameserver.connection import ServerConnection
from san_console.nameserver.errors import IsnsFailure
from san_console.nameserver.server import IsnsServer, ServerLimits
from san_console.nameserver.stream import MessageStream
from tests.nameserver.waiting import until

HERE = "127.0.0.1"
T1, T2, I1 = (f"iqn.2026-11.test:{name}" for name in ("t1", "t2", "i1"))
P1, P2 = Portal(HERE, 3260), Portal("::1", 3261)

ENTITY = EntityEntry(
    [NodeEntry(T1, target=True, alias="disk\u202e"), NodeEntry(T2, target=True)],
    [PortalEntry(P1, "left"), PortalEntry(P2)],
    [PortalGroupEntry(T1, P1, 7), PortalGroupEntry(T1, P2, None)],
    entity_id="storage.example",
    period_s=120,
)


@pytest.fixture
async def server() -> AsyncIterator[IsnsServer]:
    async with IsnsServer(Portal(HERE, 0)) as running:
        yield running


@pytest.fixture
async def client(server: IsnsServer) -> AsyncIterator[IsnsClient]:
    async with IsnsClient(server.bound_portal, source_name=I1, timeout_s=5.0) as one:
        yield one


async def test_registered_targets_are_found_with_portals_and_tags(client: IsnsClient) -> None:
    assert await client.query_targets() == []
    assert await client.register(ENTITY) == Registered("storage.example", 120)
    found = await client.query_targets(T2)
    assert [(t.name, t.portals, t.entity) for t in found] == [
        (T1, [(P1, 7)], "storage.example"),
        (T2, [(P1, 1), (P2, 1)], "storage.example"),
    ]
    assert found[0].alias == "disk\\u{202e}", "fit for display"
    assert (found.skipped, found.truncated) == (0, False)


async def test_objects_are_listed_once_with_all_attributes(client: IsnsClient) -> None:
    await client.register(ENTITY)
    objects = await client.list_objects()
    listed = [(item.kind, item.id) for item in objects]
    assert listed[:5] == [
        ("entity", "storage.example"),
        ("node", T1),
        ("node", T2),
        ("portal", f"{HERE}:3260"),
        ("portal", "[::1]:3261"),
    ]
    portals = (f"{HERE}:3260", "[::1]:3261")
    assert sorted(listed[5:9]) == sorted(("portal group", f"{t} {p}") for t in (T1, T2) for p in portals)
    assert listed[9:] == [("discovery domain", "1")]
    node = next(item for item in objects if item.id == T1)
    assert node.attributes["iSCSI Node Type"] == "target"
    assert node.attributes["iSCSI Alias"] == "disk\\u{202e}"


async def test_deregistration_of_a_node_and_of_the_entity(client: IsnsClient) -> None:
    await client.register(ENTITY)
    assert await client.is_registered(T1)
    await client.deregister(nodes=[T1])
    assert not await client.is_registered(T1)
    await client.deregister(entity_id="storage.example", source=T2)
    assert [item.kind for item in await client.list_objects()] == ["discovery domain"]


async def test_refusal_tells_cause_side_and_what_to_check(client: IsnsClient) -> None:
    await client.register(ENTITY)
    with pytest.raises(IsnsFailure) as caught:
        await client.register(EntityEntry([NodeEntry(I1, initiator=True)], [PortalEntry(P1)]))
    failure = caught.value
    assert (failure.side, failure.status) == ("iSNS server", 3)
    assert "DevAttrReg was refused" in failure.cause
    assert "no other entity" in failure.check


async def test_what_cannot_be_said_in_isns(client: IsnsClient) -> None:
    named = EntityEntry([NodeEntry(T1, target=True)], [PortalEntry(Portal("storage.example"))])
    with pytest.raises(IsnsFailure, match="numeric addresses"):
        await client.register(named)
    with pytest.raises(IsnsFailure, match="needs a node"):
        await client.register(EntityEntry([]))


async def test_shut_out_initiator_is_told_to_register() -> None:
    async with (
        IsnsServer(Portal(HERE, 0), policy=ServerPolicy(open_queries=False)) as server,
        IsnsClient(server.bound_portal, source_name=I1) as client,
    ):
        with pytest.raises(IsnsFailure, match="Source Unknown") as caught:
            await client.query_targets()
        assert "Register the initiator name" in caught.value.check


async def test_requests_may_run_at_the_same_time(client: IsnsClient) -> None:
    await client.register(ENTITY)
    results = await asyncio.gather(*(client.query_targets() for _ in range(50)))
    assert all(len(result) == 2 for result in results)


async def test_connection_that_the_server_closed_is_made_again() -> None:
    limits = ServerLimits(idle_timeout_s=0.05)
    async with (
        IsnsServer(Portal(HERE, 0), limits=limits) as server,
        IsnsClient(server.bound_portal, source_name=I1) as client,
    ):
        await client.query_targets()
        await until(lambda: not server._clients)
        assert await client.query_targets() == []
        assert server.counters.connections == 2


async def test_notification_is_a_hint_that_is_acknowledged(server: IsnsServer, client: IsnsClient) -> None:
    changed: asyncio.Queue[list[str]] = asyncio.Queue()
    async with IsnsClient(server.bound_portal, source_name=I1, on_change=changed.put_nowait) as listener:
        own = EntityEntry([NodeEntry(I1, initiator=True)], [PortalEntry(Portal(HERE, 9), scn_port=9)])
        await listener.register(own)
        await listener.subscribe(SCN_OBJECT_ADDED)
        await client.register(ENTITY)
        async with asyncio.timeout(5):
            assert sorted(await changed.get()) == [T1, T2]
        await until(lambda: server.counters.acknowledged == 1)
        await listener.unsubscribe()
        await client.deregister(entity_id="storage.example", source=T1)
        await client.register(ENTITY)
        assert changed.empty()


# Servers that are none, or hostile


Handler = Callable[[MessageStream, Message], Awaitable[None]]


@contextlib.asynccontextmanager
async def fake_server(handler: Handler) -> AsyncIterator[IsnsClient]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = MessageStream(reader, writer, asyncio.get_running_loop().time)
        try:
            while (message := await stream.receive()) is not None:
                await handler(stream, message)
        except OSError:
            return
        finally:
            await stream.close()

    listener = await asyncio.start_server(serve, HERE, 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        async with IsnsClient(Portal(HERE, port), source_name=I1, timeout_s=0.5) as client:
            yield client


def answer(message: Message, *attributes: Attribute, code: int = 0) -> Message:
    return Message(message.function | 0x8000, message.transaction, FLAG_SERVER, code, list(attributes))


async def test_nobody_listens() -> None:
    probe = await asyncio.start_server(lambda *_: None, HERE, 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    with pytest.raises(IsnsFailure, match="connection is refused") as caught:
        await IsnsClient(Portal(HERE, port), source_name=I1).query_targets()
    assert caught.value.side == "network"
    assert "3205" in caught.value.check


async def test_unknown_host() -> None:
    with pytest.raises(IsnsFailure, match="cannot be reached"):
        await IsnsClient(Portal("no-such-host.invalid"), source_name=I1).query_targets()


async def test_server_that_does_not_answer() -> None:
    async def silent(stream: MessageStream, message: Message) -> None:
        return

    async with fake_server(silent) as client:
        with pytest.raises(IsnsFailure, match=r"did not answer within 0\.5 s"):
            await client.query_targets()


async def test_connecting_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> ServerConnection:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(ServerConnection, "open", never)
    with pytest.raises(IsnsFailure, match="no answer in time"):
        await IsnsClient(P1, source_name=I1, timeout_s=0.05).query_targets()


async def test_server_that_hangs_up() -> None:
    async def hang_up(stream: MessageStream, message: Message) -> None:
        stream.abort()

    async with fake_server(hang_up) as client:
        with pytest.raises(IsnsFailure, match="closed the connection"):
            await client.query_targets()


@pytest.mark.parametrize(
    "octets",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        HEADER.pack(1, 0x8002, 5, 0x4C00, 1, 0) + bytes(5),
        HEADER.pack(1, 0x8002, 0, 0x4C00, 1, 0),
        HEADER.pack(1, 0x8002, 12, 0x4C00, 1, 0) + bytes(4) + bytes.fromhex("00000020ffffffff"),
    ],
)
async def test_answer_that_is_no_isns(octets: bytes) -> None:
    async def garbage(stream: MessageStream, message: Message) -> None:
        stream._writer.write(octets)

    async with fake_server(garbage) as client:
        with pytest.raises(IsnsFailure, match="malformed") as caught:
            await client.query_targets()
        assert caught.value.side == "iSNS server"


async def test_endless_answer_is_cut_off() -> None:
    async def endless(stream: MessageStream, message: Message) -> None:
        for sequence in range(400):
            flags = 0x4400 if sequence == 0 else 0x4000
            stream._writer.write(
                HEADER.pack(1, 0x8002, 65532, flags, message.transaction, sequence) + bytes(65532)
            )
            await stream._writer.drain()

    async with fake_server(endless) as client:
        client.timeout_s = 10.0
        with pytest.raises(IsnsFailure, match="malformed"):
            await client.query_targets()


async def test_answer_to_another_question() -> None:
    async def confused(stream: MessageStream, message: Message) -> None:
        await stream.send(Message(0x8002, message.transaction + 1, FLAG_SERVER, 0))
        await stream.send(Message(0x8001, message.transaction, FLAG_SERVER, 0))

    async with fake_server(confused) as client:
        with pytest.raises(IsnsFailure, match="DevAttrRegRsp where DevAttrQryRsp was due"):
            await client.query_targets()


async def test_bad_records_are_skipped_and_counted() -> None:
    async def mixed(stream: MessageStream, message: Message) -> None:
        target = Attribute(Tag.NODE_TYPE, write_number(1))
        names = [write_text("\x1b[31mred"), b"abcd", write_text(T1)]
        records = [part for value in names for part in (Attribute(Tag.ISCSI_NAME, value), target)]
        await stream.send(answer(message, Attribute(0, b""), *records))

    async with fake_server(mixed) as client:
        found = await client.query_targets()
        assert [target.name for target in found] == [T1]
        assert found.skipped == 2
        assert all("\x1b" not in item.id for item in await client.list_objects())


async def test_kinds_that_a_server_does_not_know_are_left_out_and_other_refusals_are_not() -> None:
    codes = {Tag.DD_ID: 18, Tag.PG_ISCSI_NAME: 5}

    async def partial(stream: MessageStream, message: Message) -> None:
        code = codes.get(message.attributes[1].tag, 0)
        name = [Attribute(0, b""), Attribute(Tag.ISCSI_NAME, write_text(T1))]
        await stream.send(answer(message, *(name if not code else []), code=code))

    async with fake_server(partial) as client:
        assert [item.id for item in await client.list_objects()] == [T1]
        codes[Tag.DD_ID] = 8
        with pytest.raises(IsnsFailure, match="Source Unauthorized"):
            await client.list_objects()


async def test_objects_are_fetched_one_by_one_where_the_answer_would_be_too_large(
    server: IsnsServer, client: IsnsClient
) -> None:
    server.names.policy = ServerPolicy(limits=Limits(answer_bytes=300))
    await client.register(ENTITY)
    found = await client.query_targets()
    assert {target.name: target.portals for target in found} == {
        T1: [(P1, 7)],
        T2: [(P2, 1), (P1, 1)],
    }
    kinds = [item.kind for item in await client.list_objects()]
    assert kinds == ["entity", "node", "node", "portal", "portal", *["portal group"] * 4, "discovery domain"]


async def test_fetching_one_by_one_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.nameserver.client.WALK_TIMEOUT_S", 0.1)
    number = 0

    async def endless(stream: MessageStream, message: Message) -> None:
        nonlocal number
        if message.function == functions.DEV_ATTR_QRY:
            await stream.send(answer(message, code=11))
            return
        number += 1
        name = Attribute(32, write_text(f"iqn.2026-11.test:{number}"))
        await stream.send(answer(message, name, Attribute(0, b""), name))

    async with fake_server(endless) as client:
        with pytest.raises(IsnsFailure, match=r"did not list its nodes within 0\.1 s"):
            await client.query_targets()
        assert number > 1


async def test_server_that_goes_in_circles_or_fails_on_the_way() -> None:
    code = 0

    async def circling(stream: MessageStream, message: Message) -> None:
        if message.function == functions.DEV_ATTR_QRY:
            await stream.send(answer(message, code=11))
        else:
            await stream.send(answer(message, Attribute(32, write_text(T1)), Attribute(0, b""), code=code))

    async with fake_server(circling) as client:
        with pytest.raises(IsnsFailure, match="names no next object"):
            await client.query_targets()
        code = 8
        with pytest.raises(IsnsFailure, match="Source Unauthorized"):
            await client.query_targets()


async def test_server_that_says_nothing_about_the_registration_or_nonsense() -> None:
    attributes: list[Attribute] = []

    async def terse(stream: MessageStream, message: Message) -> None:
        await stream.send(answer(message, *attributes))

    async with fake_server(terse) as client:
        assert await client.register(ENTITY) == Registered("storage.example", 120)
        attributes.append(Attribute(Tag.ENTITY_ID, b"abcd"))
        with pytest.raises(IsnsFailure, match="cannot be read"):
            await client.register(ENTITY)


async def test_inquiry_is_answered_for_an_own_portal_only() -> None:
    """B46: what is not ours gets no answer, a forged notification is a hint and no more."""
    replies: list[Message] = []
    changed: list[list[str]] = []
    own = [Attribute(Tag.ENTITY_ID, write_text("storage.example")), Attribute(16, write_address(HERE))]

    def inquiry(*attributes: Attribute) -> Message:
        return Message(functions.ESI, 5, FLAG_SERVER, None, [Attribute(4, write_time(1)), *attributes])

    forged = [
        inquiry(*own, Attribute(17, write_number(9999))),
        inquiry(Attribute(1, write_text("other")), *own[1:], Attribute(17, write_number(3260))),
        inquiry(Attribute(1, b"abcd"), *own[1:], Attribute(17, write_number(3260))),
        inquiry(*own),
        Message(functions.HEARTBEAT, 6, FLAG_SERVER, None, []),
        Message(functions.SCN, 7, FLAG_SERVER, None, []),
        Message(functions.SCN, 8, FLAG_SERVER, None, [Attribute(32, b"abcd")]),
        Message(functions.SCN, 9, FLAG_SERVER, None, [Attribute(32, write_text(n)) for n in (I1, "\u202ex")]),
        inquiry(*own, Attribute(17, write_number(3260))),
    ]

    async def asking(stream: MessageStream, message: Message) -> None:
        if message.is_response:
            replies.append(message)
        elif message.function == functions.DEV_ATTR_QRY:
            for one in forged:
                await stream.send(one)
            await stream.send(answer(message))
        else:
            await stream.send(answer(message))

    async with fake_server(asking) as client:
        client._on_change = changed.append
        await client.register(ENTITY)
        await client.query_targets()
        await until(lambda: len(replies) == 2)
    assert [(reply.function, reply.transaction, reply.status_code) for reply in replies] == [
        (0x8008, 9, 0),
        (0x800D, 5, 0),
    ]
    assert replies[1].attributes[1:] == [*own, Attribute(17, write_number(3260))]
    assert changed == [["\\u{202e}x"]]
