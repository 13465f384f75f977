"""The server on real sockets: hostile bytes, limits, deadlines, notifications, expiry (B41 to B46)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from san_console.isns import functions, pdu, requests, status
from san_console.isns.attributes import (
    DELIMITER,
    SCN_OBJECT_ADDED,
    Attribute,
    Kind,
    Tag,
    write_number,
    write_text,
)
from san_console.isns.message import Message, decode
from san_console.isns.name_server import ServerEvent
from san_console.isns.pdu import FLAG_CLIENT, FLAG_FIRST_PDU, FLAG_LAST_PDU, HEADER, Reassembler
from san_console.isns.policy import ServerPolicy
from san_console.isns.requests import EntityEntry, NodeEntry, PortalEntry
from san_console.names.portal import Portal
from san_console.nameserver.errors import IsnsFailure
from san_console.nameserver.server import IsnsServer, ServerLimits
from tests.nameserver.waiting import until

HERE = "127.0.0.1"
T1, I1 = "iqn.2026-11.test:t1", "iqn.2026-11.test:i1"
WAIT_S = 10.0


@contextlib.asynccontextmanager
async def serving(**options: object) -> AsyncIterator[IsnsServer]:
    async with IsnsServer(Portal(HERE, 0), **options) as server:  # type: ignore[arg-type]  # passed on
        yield server


class Peer:
    """A client that sends whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.reassembler = Reassembler(1 << 24, 4096)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def receive(self) -> Message | None:
        async with asyncio.timeout(WAIT_S):
            while (whole := self.reassembler.next_message(0.0)) is None:
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self.reassembler.feed(data, 0.0)
        return decode(whole)

    async def ask(self, message: Message) -> Message:
        await self.send(b"".join(message.encode()))
        answer = await self.receive()
        assert answer is not None
        return answer


@contextlib.asynccontextmanager
async def connected(server: IsnsServer) -> AsyncIterator[Peer]:
    portal = server.bound_portal
    reader, writer = await asyncio.open_connection(portal.host, portal.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def header(
    length: int = 0, *, version: int = 1, function: int = 2, flags: int = 0x0C00, sequence: int = 0
) -> bytes:
    return HEADER.pack(version, function, length, flags | FLAG_CLIENT, 7, sequence)


def target(*portals: PortalEntry) -> Message:
    entry = EntityEntry([NodeEntry(T1, target=True)], list(portals), entity_id="t")
    return requests.registration(T1, entry, replace=True)


QUERY = requests.target_query(I1)


async def no_clients(server: IsnsServer) -> None:
    await until(lambda: not server._clients)


async def still_serves(server: IsnsServer) -> None:
    async with connected(server) as peer:
        assert (await peer.ask(QUERY)).status_code == status.SUCCESSFUL


HOSTILE = {
    "version 2": (header(version=2), 10, True),
    "length not of four": (header(5) + bytes(5), 2, True),
    "authentication block": (header(flags=0x2C00), 13, True),
    "TLV past the end": (header(8) + bytes.fromhex("0000002000000010"), 2, False),
    "TLV of 4 GiB": (header(8) + bytes.fromhex("00000020ffffffff"), 2, False),
    "half a TLV": (header(4) + bytes(4), 2, False),
    "last without first": (header(flags=FLAG_LAST_PDU), 2, False),
    "gap": (header(flags=FLAG_FIRST_PDU) + header(flags=FLAG_LAST_PDU, sequence=2), 2, False),
    "mixed functions": (
        header(flags=FLAG_FIRST_PDU) + header(flags=FLAG_LAST_PDU, sequence=1, function=3),
        2,
        False,
    ),
    "unknown function": (header(function=0x7FFF), 15, False),
    "no source": (header(8) + bytes(8), 7, False),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_message_gets_its_status_and_harms_nobody_else(case: str) -> None:
    octets, code, ends = HOSTILE[case]
    async with serving() as server:
        async with connected(server) as peer:
            await peer.send(octets)
            answer = await peer.receive()
            assert answer is not None
            assert (answer.status_code, answer.transaction) == (code, 7)
            if ends:
                assert await peer.receive() is None
            else:
                assert (await peer.ask(QUERY)).status_code == 0
        await still_serves(server)


async def test_message_that_is_too_large_ends_the_connection_before_it_is_read() -> None:
    async with serving(limits=ServerLimits(max_message_bytes=4096)) as server:
        async with connected(server) as peer:
            await peer.send(header(8192))
            answer = await peer.receive()
            assert answer is not None
            assert answer.status_code == 2
            assert await peer.receive() is None
        await still_serves(server)


async def test_client_that_breaks_the_rules_again_and_again_is_dropped() -> None:
    async with serving(limits=ServerLimits(violations=3)) as server, connected(server) as peer:
        await peer.send(header(flags=FLAG_LAST_PDU) * 10)
        answers = 0
        while await peer.receive() is not None:
            answers += 1
        assert answers == 3
        assert server.counters.malformed == 3


async def test_slow_message_and_silent_client_are_ended() -> None:
    limits = ServerLimits(message_timeout_s=0.1, idle_timeout_s=0.2)
    async with serving(limits=limits) as server:
        async with connected(server) as slow, connected(server) as silent:
            await slow.send(header(8))
            assert await slow.receive() is None
            assert await silent.receive() is None
        await until(lambda: server.counters.timeouts == 2)


async def test_clients_are_limited_in_all_and_per_address() -> None:
    for limits in (ServerLimits(clients=1), ServerLimits(clients_per_address=1)):
        async with serving(limits=limits) as server:
            async with connected(server) as first:
                assert (await first.ask(QUERY)).status_code == 0
                async with connected(server) as second:
                    assert await second.receive() is None
                assert server.counters.refused_connections == 1
                assert (await first.ask(QUERY)).status_code == 0
            await no_clients(server)
            await still_serves(server)


async def test_responses_and_server_messages_get_no_answer() -> None:
    async with serving() as server, connected(server) as peer:
        await peer.send(header(4, function=0x8008) + bytes(4))
        await peer.send(header(0, function=0x8001))
        await peer.send(HEADER.pack(1, 2, 0, 0x4C00, 7, 0))
        answer = await peer.ask(QUERY)
        assert answer.function == 0x8002
        assert answer.transaction == 0
        assert server.names.counters.ignored == 2


async def test_pipelined_requests_are_all_answered_in_order() -> None:
    async with serving() as server, connected(server) as peer:
        stream = b""
        for transaction in range(1, 101):
            message = requests.target_query(I1)
            message.transaction = transaction
            stream += b"".join(message.encode())
        await peer.send(stream)
        answers = [await peer.receive() for _ in range(100)]
        assert [answer.transaction for answer in answers if answer] == list(range(1, 101))


async def test_events_are_reported_and_objects_listed() -> None:
    events: list[ServerEvent] = []
    async with serving(on_event=events.append) as server, connected(server) as peer:
        assert (await peer.ask(target(PortalEntry(Portal("::1", 3260))))).status_code == 0
        assert {event.kind for event in events} == {"registered"}
        shown = {(item.kind, item.id) for item in server.objects()}
        assert shown == {
            ("entity", "t"),
            ("node", T1),
            ("portal", "[::1]:3260"),
            ("portal group", f"{T1} [::1]:3260"),
        }
        assert (await peer.ask(requests.deregistration(I1, nodes=(T1,)))).status_code == 6
        assert (await peer.ask(requests.deregistration(T1, entity_id="t"))).status_code == 0
        assert [event.kind for event in events][-3:] == ["refused", "deregistered", "deregistered"]
        assert server.objects() == []


async def test_registration_expires_by_itself() -> None:
    clock = [100.0]
    events: list[ServerEvent] = []
    async with serving(clock=lambda: clock[0], on_event=events.append) as server, connected(server) as peer:
        assert (await peer.ask(target())).status_code == 0
        clock[0] += 599.95
        # Another client's registration has the server look at its deadlines again.
        await peer.ask(requests.registration(I1, EntityEntry([NodeEntry(I1, initiator=True)]), replace=False))
        assert len(server.objects()) == 4
        clock[0] += 0.1
        await until(lambda: "expired" in [event.kind for event in events])
        assert [item.id for item in server.objects() if item.kind == "node"] == [I1]


# Notifications


def initiator(port: int, address: str = HERE) -> Message:
    entry = EntityEntry(
        [NodeEntry(I1, initiator=True)], [PortalEntry(Portal(address, 9), scn_port=port)], entity_id="i"
    )
    return requests.registration(I1, entry, replace=True)


def acknowledged(message: Message, code: int = 0) -> bytes:
    return b"".join(Message(message.function | 0x8000, message.transaction, FLAG_CLIENT, code).encode())


async def test_notification_goes_over_the_open_connection() -> None:
    async with serving() as server, connected(server) as listener, connected(server) as other:
        assert (await listener.ask(initiator(9999))).status_code == 0
        assert (await listener.ask(requests.scn_registration(I1, SCN_OBJECT_ADDED))).status_code == 0
        assert (await other.ask(target())).status_code == 0
        told = await listener.receive()
        assert told is not None
        assert told.function == functions.SCN
        assert Attribute(Tag.ISCSI_NAME, write_text(T1)) in told.attributes
        await listener.send(acknowledged(told))
        await until(lambda: server.counters.acknowledged == 1)


@contextlib.asynccontextmanager
async def callback_target(code: int | None) -> AsyncIterator[tuple[int, list[Message]]]:
    """A port that takes one message per connection and answers with `code`; None: not at all."""
    received: list[Message] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        message = await peer.receive()
        if message is not None:
            received.append(message)
            if code is not None:
                await peer.send(acknowledged(message, code))
        writer.close()

    listener = await asyncio.start_server(serve, HERE, 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], received


@pytest.mark.parametrize(("code", "good"), [(0, True), (1, False), (None, False)])
async def test_notification_goes_to_a_portal_when_the_connection_is_closed(
    code: int | None, good: bool
) -> None:
    async with serving() as server, callback_target(code) as (port, received):
        async with connected(server) as listener:
            assert (await listener.ask(initiator(port))).status_code == 0
            assert (await listener.ask(requests.scn_registration(I1, SCN_OBJECT_ADDED))).status_code == 0
        await until(lambda: not server._listeners)
        async with connected(server) as other:
            assert (await other.ask(target())).status_code == 0
        counters = server.counters
        await until(lambda: counters.acknowledged + counters.failed_notifications == 1)
        assert counters.acknowledged == int(good)
        assert [message.function for message in received] == [functions.SCN]


async def test_third_party_is_never_connected_to() -> None:
    async with serving() as server, callback_target(0) as (port, received), connected(server) as listener:
        assert (await listener.ask(initiator(port, "127.0.0.77"))).status_code == 0
        answer = await listener.ask(requests.scn_registration(I1, SCN_OBJECT_ADDED))
        assert answer.status_code == status.SCN_REGISTRATION_REJECTED
        assert received == []


# Inquiries


def watched(port: int) -> Message:
    entry = PortalEntry(Portal(HERE, 3260), esi_interval_s=1, esi_port=port)
    return target(entry)


async def test_portal_that_answers_inquiries_stays() -> None:
    clock = [100.0]
    async with serving(policy=ServerPolicy(esi=True), clock=lambda: clock[0]) as server:
        async with callback_target(0) as (port, received), connected(server) as peer:
            assert (await peer.ask(watched(port))).status_code == 0
            for round_ in range(1, 3):
                while len(received) < round_:
                    clock[0] += 1.0
                    await asyncio.sleep(0.02)
            assert {message.function for message in received} == {functions.ESI}
            assert received[0].attributes[1] == Attribute(Tag.ENTITY_ID, write_text("t"))
        assert server.names.database.objects(Kind.NODE) != []


async def test_entity_whose_portals_do_not_answer_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    from san_console.nameserver import inquiries

    monkeypatch.setattr(inquiries, "MIN_INTERVAL_S", 0)
    events: list[ServerEvent] = []
    async with (
        serving(policy=ServerPolicy(esi=True), on_event=events.append) as server,
        callback_target(1) as (port, received),
        connected(server) as peer,
    ):
        assert (await peer.ask(watched(port))).status_code == 0
        await until(lambda: "expired" in [event.kind for event in events])
        assert len(received) == inquiries.TRIES
        assert server.objects() == []


# Starting


async def test_taken_port_is_said_so() -> None:
    async with serving() as server:
        with pytest.raises(IsnsFailure, match="taken") as caught:
            await IsnsServer(server.bound_portal).start()
        assert caught.value.side == "this host"
        assert "ss -ltnp" in caught.value.check


async def test_address_of_another_host_is_said_so() -> None:
    with pytest.raises(IsnsFailure, match="no such address"):
        await IsnsServer(Portal("192.0.2.1", 0)).start()


def test_server_that_is_not_started_has_no_address() -> None:
    with pytest.raises(RuntimeError):
        _ = IsnsServer(Portal(HERE, 0)).bound_portal


async def test_large_answers_are_cut_into_pdus() -> None:
    async with serving() as server, connected(server) as peer:
        nodes = [NodeEntry(f"iqn.2026-11.test:{n:04}", target=True, alias="a" * 200) for n in range(400)]
        message = requests.registration(nodes[0].name, EntityEntry(nodes), replace=False)
        assert len(message.encode()) > 1
        assert (await peer.ask(message)).status_code == 0
        answer = await peer.ask(requests.kind_query(I1, Kind.NODE))
        assert sum(attribute.tag == Tag.ISCSI_NAME for attribute in answer.attributes) == 401
        count = write_number(1)
        assert sum(attribute == Attribute(Tag.NODE_TYPE, count) for attribute in answer.attributes) == 400
        assert DELIMITER in answer.attributes
        assert sum(len(attribute.value) for attribute in answer.attributes) > pdu.MAX_PDU_PAYLOAD_BYTES


@pytest.mark.parametrize("late", [False, True])
async def test_a_connection_that_comes_while_the_server_closes_is_closed_too(late: bool) -> None:
    """Its task is cancelled before its first step, or it comes when all others have been ended."""
    server = IsnsServer(Portal(HERE, 0))
    await server.start()
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    if late:
        await server.close()
        server._accept(reader, writer)
    else:
        server._accept(reader, writer)
        await server.close()
    assert writer.transport.is_closing()
    ours.setblocking(False)
    async with asyncio.timeout(5):
        assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""
    ours.close()
