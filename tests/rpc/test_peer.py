"""Frames, hellos and what a hostile other side may try, byte by byte and without a socket."""

from __future__ import annotations

import json
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.api.messages import (
    API_VERSION,
    MAX_FRAME_BYTES,
    Call,
    Cancel,
    Delta,
    Failure,
    Hello,
    Message,
    Result,
    Snapshot,
)
from san_console.api.problems import Problem
from san_console.rpc.errors import FrameError, FrameTooLarge, VersionMismatch
from san_console.rpc.peer import MAX_HELLO_BYTES, Peer


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def connected() -> tuple[Peer, Peer]:
    client, engine = Peer("cli"), Peer("engine")
    assert engine.receive(client.outgoing()) == []
    assert client.receive(engine.outgoing()) == []
    assert client.ready
    assert engine.ready
    return client, engine


def test_hellos_are_exchanged_and_tell_versions() -> None:
    client, engine = connected()
    assert client.other is not None
    assert client.other.role == "engine"
    assert engine.other is not None
    assert engine.other.role == "cli"
    assert client.api_version == engine.api_version == API_VERSION


def test_the_engine_is_silent_until_the_client_has_said_hello() -> None:
    assert Peer("engine").outgoing() == b""


def test_messages_go_both_ways() -> None:
    client, engine = connected()
    client.send(Call(id=7, method="engine.info"))
    client.send(Cancel(id=7))
    call, cancel = engine.receive(client.outgoing())
    assert isinstance(call, Call)
    assert (call.id, call.method, bytes(call.params)) == (7, "engine.info", b"{}")
    assert cancel == Cancel(id=7)
    engine.send(Result(id=7, result=msgspec.Raw(b'{"a":1}')))
    (result,) = client.receive(engine.outgoing())
    assert isinstance(result, Result)
    assert bytes(result.result) == b'{"a":1}'


def test_raw_values_outlive_the_receive_buffer() -> None:
    client, engine = connected()
    engine.send(Snapshot(revision=1, collections={"targets": [msgspec.Raw(b'{"id":"first"}')]}))
    (snapshot,) = client.receive(engine.outgoing())
    engine.send(Snapshot(revision=2, collections={"targets": [msgspec.Raw(b'{"id":"other"}')]}))
    client.receive(engine.outgoing())
    assert isinstance(snapshot, Snapshot)
    assert bytes(snapshot.collections["targets"][0]) == b'{"id":"first"}'


@given(cuts=st.lists(st.integers(1, 60), max_size=60))
@settings(max_examples=50)
def test_any_split_gives_the_same_messages(cuts: list[int]) -> None:
    client, engine = connected()
    sent: list[Message] = [Call(id=n, method="m" * n) for n in range(1, 12)]
    for message in sent:
        client.send(message)
    data = client.outgoing()
    got: list[Message] = []
    for cut in cuts:
        got += engine.receive(data[:cut])
        data = data[cut:]
    got += engine.receive(data)
    assert got == sent


def test_unknown_members_are_ignored() -> None:
    _, engine = connected()
    body = b'{"type":"call","id":1,"method":"x","params":{},"later":[1,2]}'
    assert len(engine.receive(frame(body))) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"nonsense"}',
        b'{"type":"call","id":"1","method":"x"}',
        b'{"type":"call","id":0,"method":"x"}',
        b'{"type":"call","id":-5,"method":"x"}',
        b'{"type":"call","id":1,"method":"x","params":}',
        b'{"type":"call","id":1,"method":"\xff\xfe"}',
        b'{"type":"call","id":99999999999999999999999,"method":"x"}',
        b'{"type":"call","id":1,"method":"x","params":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"type":"result","id":1,"result":null}',
        b'{"type":"delta","revision":1,"changes":[]}',
        b'{"type":"hello","api_oldest":1,"api_newest":99,"version":"x","role":"cli"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_hostile_client_ends_its_connection_and_nothing_else(body: bytes) -> None:
    _, engine = connected()
    with pytest.raises(FrameError):
        engine.receive(frame(body))
    assert engine.closed
    assert engine.receive(frame(b'{"type":"cancel","id":1}')) == []


def test_what_the_other_side_sent_is_not_quoted_in_the_error() -> None:
    _, engine = connected()
    with pytest.raises(FrameError) as caught:
        engine.receive(frame(b'{"type":"call","id":1,"method":{"secret":"canary-0123456789"}}'))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("size", [MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_an_absurd_length_is_refused_before_anything_is_buffered(size: int) -> None:
    _, engine = connected()
    with pytest.raises(FrameError):
        engine.receive(struct.pack(">I", size))


def test_before_the_hello_only_little_is_taken_in() -> None:
    engine = Peer("engine")
    with pytest.raises(FrameError):
        engine.receive(struct.pack(">I", MAX_HELLO_BYTES + 1))


def test_a_call_before_the_hello_is_refused() -> None:
    engine = Peer("engine")
    with pytest.raises(FrameError):
        engine.receive(frame(b'{"type":"call","id":1,"method":"engine.info"}'))


@pytest.mark.parametrize(("client_role", "engine_role"), [("engine", "engine"), ("cli", "window")])
def test_two_ends_of_one_role_do_not_talk(client_role: str, engine_role: str) -> None:
    hello = Hello(api_oldest=1, api_newest=API_VERSION, version="x", role=client_role)
    peer = Peer(engine_role)
    with pytest.raises(FrameError):
        peer.receive(frame(msgspec.json.encode(hello)))


def test_a_client_of_another_api_version_is_told_so_by_the_engine() -> None:
    engine = Peer("engine")
    client = Peer("cli", api_oldest=7, api_newest=9)
    assert engine.receive(client.outgoing()) == []
    assert engine.closed
    data = engine.outgoing()
    (size,) = struct.unpack_from(">I", data)
    hello = json.loads(data[4 : 4 + size])
    failure = json.loads(data[8 + size :])
    assert hello["type"] == "hello"
    assert (failure["type"], failure["id"], failure["problem"]["code"]) == ("failure", 0, "version")
    with pytest.raises(VersionMismatch, match="no version in common"):
        client.receive(data)


def test_the_newest_common_version_is_taken() -> None:
    engine = Peer("engine", api_oldest=1, api_newest=3)
    client = Peer("cli", api_oldest=2, api_newest=5)
    engine.receive(client.outgoing())
    client.receive(engine.outgoing())
    assert engine.api_version == client.api_version == 3


def test_a_version_failure_without_a_hello_is_understood() -> None:
    client = Peer("cli")
    problem = Problem(code="version", message="too old", side="engine", check="update")
    with pytest.raises(VersionMismatch, match="too old"):
        client.receive(frame(msgspec.json.encode(Failure(id=0, problem=problem))))


def test_a_message_over_the_limit_is_not_sent_and_the_connection_goes_on() -> None:
    client, engine = connected()
    value = msgspec.Raw(b'"' + b"x" * MAX_FRAME_BYTES + b'"')
    with pytest.raises(FrameTooLarge):
        engine.send(Result(id=1, result=value))
    engine.send(Delta(revision=1, changes=[]))
    assert client.receive(engine.outgoing()) == [Delta(revision=1, changes=[])]
