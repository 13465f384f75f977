"""Bad inputs to the login, over real sockets and beside a canary: rows B01 to B22 of the list of hostile
inputs.

An input is what is sent request by request, and the status that has to come (None: the connection is closed
without an answer; "in": the login succeeds all the same).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from san_console.iscsi import login_status as st
from san_console.iscsi.chap import chap_response
from san_console.iscsi.pdu import LoginRequest, LoginResponse, NopOut, ScsiCommand, TextRequest
from san_console.names.credentials import ChapCredentials, Secret
from san_console.target.config import ChapConfig, TargetLimits
from san_console.target.errors import ConfigError
from tests.target.canary import attacked
from tests.target.raw_initiator import ME, NAME, Served, config, mapping, settings, until

ALICE = ChapCredentials("alice", Secret("opensesame-1234"))
OURS = ChapCredentials("target", Secret("secret-of-target-1"))
DENIED = st.AUTHENTICATION_FAILURE
ERROR = st.INITIATOR_ERROR
ISID = bytes.fromhex("80aabbccddee")
NAMES = f"InitiatorName={ME}\0TargetName={NAME}\0"
DECLARED = f"{NAMES}SessionType=Normal\0"

Keys = dict[str, str]


@dataclass(slots=True)
class Say:
    """One Login Request. `text` may be made from the keys of the answers so far."""

    text: str | bytes | Callable[[Keys], str] = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Input:
    name: str
    steps: Sequence[Say | bytes]
    status: int | Literal["in"] | None
    absent: str = ""
    """What must not be in any answer."""


def op(text: str | bytes = DECLARED, **fields: Any) -> Say:
    """A request of the operational stage that wants to get on to the full feature phase."""
    return Say(text, {"csg": 1, "nsg": 3, "transit": True} | fields)


def sec(text: str | Callable[[Keys], str], **fields: Any) -> Say:
    """A request of the security stage."""
    return Say(text, {"csg": 0} | fields)


async def play(served: Served, one: Input) -> None:
    """Send the input; check the outcome."""
    raw = await served.raw()
    keys: Keys = {}
    status: int | str | None = None
    said = b""
    try:
        for step in one.steps:
            if isinstance(step, bytes):
                raw.writer.write(step)
                if step is not one.steps[-1]:
                    continue
            else:
                text = step.text(keys) if callable(step.text) else step.text
                data = text.encode() if isinstance(text, str) else text
                fields: dict[str, Any] = {"isid": ISID, "itt": 7, "cmd_sn": 1} | step.fields
                raw.send(LoginRequest(**fields).pack(len(data)), data)
            with contextlib.suppress(EOFError, ConnectionError):
                status = None
                pdu, answer = await raw.receive()
                assert isinstance(pdu, LoginResponse), one.name
                said += answer
                keys |= {k: v for k, _, v in (p.partition("=") for p in answer.decode().split("\0") if p)}
                status = pdu.status_class << 8 | pdu.status_detail
                if status == 0 and pdu.transit and pdu.nsg == 3:
                    status = "in"
            if status is None or (isinstance(status, int) and status):
                break
        assert status == one.status, (one.name, status, one.status)
        assert not one.absent or one.absent.encode() not in said, one.name
        if status not in ("in", 0):
            with contextlib.suppress(ConnectionError):
                assert await raw.closed() == b"", one.name
    finally:
        await raw.close()


async def play_all(inputs: Sequence[Input], served: Served | None = None, **canary: Any) -> None:
    async with attacked(served, **canary) as running:
        for one in inputs:
            await play(running, one)
        await until(lambda: len(running.server.sessions()) == 1, "only the canary is left")


def bad_values(status: int | Literal["in"] | None, *texts: str | bytes) -> list[Input]:
    return [Input(repr(text)[:60], [op(text)], status) for text in texts]


def header(**changes: int) -> bytes:
    """A Login Request whose length word says what it likes."""
    bhs = bytearray(LoginRequest(csg=1, nsg=3, transit=True, itt=7, isid=ISID).pack())
    for offset, value in ((4, changes["lengths"]),):
        struct.pack_into(">I", bhs, offset, value)
    return bytes(bhs)


E = DECLARED.encode()
OPERATIONAL = {
    "B01": [
        *(
            Input(f"first {name}", [octets], None)
            for name, octets in {
                "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(48),
                "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
                "SSH": b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(48),
                "SMB": b"\x00\x00\x00\x2f\xffSMB" + bytes(48),
                "zeros": bytes(96),
                "ones": b"\xff" * 96,
                "NOP-Out": NopOut(itt=1).pack(),
                "SCSI Command": ScsiCommand(itt=1).pack(),
                "Text Request": TextRequest(itt=1).pack(),
            }.items()
        ),
        Input("NOP-Out inside", [op(transit=False, nsg=0), NopOut(itt=1).pack()], st.INVALID_DURING_LOGIN),
        Input(
            "command inside", [op(transit=False, nsg=0), ScsiCommand(itt=1).pack()], st.INVALID_DURING_LOGIN
        ),
    ],
    "B02": [
        Input(hex(lengths), [header(lengths=lengths)], None)
        for lengths in (0x00FFFFFF, 0xFF000000, 0xFFFFFFFF, 0x01000000, 0x00002001, 0x7F000010)
    ],
    "B04": [
        Input(
            "text without end",
            [op(b"X-a=" + b"a" * 8000, continued=True, transit=False, nsg=0)] * 40,
            ERROR,
        ),
        Input(
            "exchanges without progress",
            [op(transit=False, nsg=0), *([Say("", {"csg": 1})] * 40)],
            ERROR,
        ),
    ],
    "B05": [
        Input(str(fields), [op(**fields)], ERROR)
        for fields in (
            {"continued": True},
            {"nsg": 1},
            {"nsg": 0},
            {"csg": 2},
            {"csg": 3},
            {"nsg": 2},
        )
    ],
    "B06": bad_values(
        ERROR,
        E + b"InitialR2T=Yes\0InitialR2T=No\0",
        E + b"CHAP_A=5\0",
        E + b"=x\0",
        E + b"novalue\0",
        E + b"InitialR2T=Yes",
        E + b"k" * 64 + b"=1\0",
        E + b"initialR2T=Yes\0",
        E + b"InitialR2T\xff=Yes\0",
    ),
    "B07": [
        *bad_values(
            "in",
            *(
                E + text
                for text in (
                    b"MaxBurstLength=-1\0",
                    b"MaxBurstLength=0x\0",
                    b"MaxBurstLength=18446744073709551616\0",
                    b"MaxBurstLength=1e3\0",
                    b"MaxBurstLength=\0",
                    b"MaxConnections=0\0",
                    b"MaxConnections=65536\0",
                    b"ErrorRecoveryLevel=3\0",
                    b"DefaultTime2Wait=3601\0",
                    b"ImmediateData=yes\0",
                    b"InitialR2T=1\0",
                    b"MaxOutstandingR2T=5~1\0",
                )
            ),
        ),
        # What is declared has no answer that could refuse it.
        *bad_values(
            ERROR,
            E + b"MaxRecvDataSegmentLength=0\0",
            E + b"MaxRecvDataSegmentLength=511\0",
            E + b"MaxRecvDataSegmentLength=16777216\0",
        ),
    ],
    "B08": bad_values(
        "in", E + b"X-com.example.key=1\0", E + b"Something=2\0", E + b"X#New=3\0Y=4\0", E + b"Z1=5\0"
    ),
    "B09": [
        Input("no name", [op(f"TargetName={NAME}\0")], st.MISSING_PARAMETER),
        Input("no target", [op(f"InitiatorName={ME}\0")], st.MISSING_PARAMETER),
        Input("unknown", [op(f"InitiatorName={ME}\0TargetName={NAME}2\0")], st.NOT_FOUND),
        Input("version", [op(version_min=1, version_max=2)], st.UNSUPPORTED_VERSION),
        Input("type", [op(f"{NAMES}SessionType=Odd\0")], st.SESSION_TYPE_NOT_SUPPORTED),
        Input("denied", [op(f"InitiatorName={ME}2\0TargetName={NAME}\0")], st.AUTHORIZATION_FAILURE),
    ],
    "B10": [
        *(
            Input(repr(name), [op(b"InitiatorName=" + name + f"\0TargetName={NAME}\0".encode())], status)
            for name, status in (
                (b"iqn.2026-11.org.example:a\nb", ERROR),
                (b"iqn.2026-11.org.example:\x1b[31m", ERROR),
                ("iqn.2026-11.org.example:\u202eb".encode(), ERROR),
                (b"iqn.2026-11.org.example:\xff\xfe", ERROR),
                (b"iqn.2026-11.org.example:" + b"n" * 200, ERROR),
                (b"../../etc/passwd", ERROR),
                (b"", ERROR),
                (b"iqn.2026-11.org.example:../x", ERROR),
            )
        ),
        Input("capitals", [op(f"InitiatorName={ME.upper()}\0TargetName={NAME}\0")], "in"),
        Input("target", [op(f"InitiatorName={ME}\0TargetName=../{NAME}\0")], st.NOT_FOUND),
        Input("target in capitals", [op(f"InitiatorName={ME}\0TargetName={NAME.upper()}\0")], "in"),
    ],
    "B11": [
        Input("unknown TSIH", [op(tsih=0xABCD)], st.SESSION_DOES_NOT_EXIST),
        Input("TSIH of nobody, new ISID", [op(tsih=1, isid=b"\x80new..")], st.SESSION_DOES_NOT_EXIST),
    ],
    "B13": [
        Input(
            f"changed {fields}",
            [op(transit=False, nsg=0), op("", **fields)],
            ERROR,
        )
        for fields in (
            {"itt": 8},
            {"isid": bytes(6)},
            {"cid": 3},
            {"tsih": 9},
            {"version_max": 1},
            {"csg": 0, "nsg": 1},
        )
    ],
}


def count(inputs: dict[str, list[Input]]) -> int:
    return sum(len(row) for row in inputs.values())


@pytest.mark.parametrize("row", sorted(OPERATIONAL))
async def test_bad_logins(row: str) -> None:
    one = config(anyone=False, mappings=[mapping(ME, 0), mapping(ME.upper() + ".x", 0)])
    await play_all(OPERATIONAL[row], Served(one))


def respond(keys: Keys, secret: Secret = ALICE.secret) -> str:
    challenge = bytes.fromhex(keys["CHAP_C"].removeprefix("0x"))
    return "0x" + chap_response(int(keys["CHAP_A"]), int(keys["CHAP_I"]), secret, challenge).hex()


START = sec(f"{DECLARED}AuthMethod=CHAP\0")
A5 = sec("CHAP_A=5\0")
RIGHT = "CHAP_N=alice\0CHAP_R={}\0"


def proof(extra: str = "", **fields: Any) -> Say:
    return sec(lambda keys: RIGHT.format(respond(keys)) + extra.format(**keys), transit=True, nsg=1, **fields)


CHAP: dict[str, list[Input]] = {
    "B15": [
        Input(
            "reflected challenge",
            [START, A5, proof("CHAP_I=9\0CHAP_C={CHAP_C}\0")],
            DENIED,
            "CHAP_R",
        ),
    ],
    "B16": [
        Input(
            "challenge first", [START, A5, sec("CHAP_I=1\0CHAP_C=0x0011\0")], st.MISSING_PARAMETER, "CHAP_R"
        ),
        Input(
            "challenge and name, no response",
            [START, A5, sec("CHAP_N=alice\0CHAP_I=1\0CHAP_C=0x0011\0")],
            st.MISSING_PARAMETER,
            "CHAP_R",
        ),
        Input(
            "no algorithm",
            [START, sec("CHAP_I=1\0CHAP_C=0x0011\0")],
            st.MISSING_PARAMETER,
            "CHAP_R",
        ),
    ],
    "B17": [
        Input(repr(text), [START, sec(f"CHAP_A={text}\0")], status)
        for text, status in (
            ("", DENIED),
            ("56", DENIED),
            ("5x", DENIED),
            ("1,2,3", DENIED),
            ("-5", DENIED),
            ("99,5", 0),
        )
    ],
    "B18": [
        *(
            Input(
                f"response {value[:12]}…{len(value)}",
                [START, A5, sec(f"CHAP_N=alice\0CHAP_R={value}\0")],
                status,
            )
            for value, status in (
                ("0x", ERROR),
                ("12345", ERROR),
                ("0bA", ERROR),
                ("0x" + "00" * 1025, ERROR),
                ("0xzz", ERROR),
                ("0x00", DENIED),
                ("0x0", DENIED),
                ("0x" + "00" * 1024, DENIED),
            )
        ),
        *(
            Input(f"challenge {text[:30]!r}", [START, A5, proof(text)], ERROR, "CHAP_R")
            for text in (
                "CHAP_I=256\0CHAP_C=0x0011\0",
                "CHAP_I=-1\0CHAP_C=0x0011\0",
                "CHAP_I=1\0CHAP_C=0x\0",
                "CHAP_I=1\0CHAP_C=0xzz\0",
                "CHAP_I=1\0CHAP_C=0x" + "11" * 1025 + "\0",
            )
        ),
        Input(
            "the largest challenge",
            [START, A5, proof("CHAP_I=1\0CHAP_C=0x" + "12" * 1024 + "\0")],
            0,
        ),
    ],
    "B19": [
        Input(
            f"name {name[:12]}…{len(name)}",
            [START, A5, sec(lambda keys, name=name: f"CHAP_N={name}\0CHAP_R={respond(keys)}\0")],  # type: ignore[misc]
            status,
        )
        for name, status in (
            ("0xAB", DENIED),
            ("0bAA", DENIED),
            ("0x616c696365", DENIED),
            ("ALICE", DENIED),
            ("target", DENIED),
            ("n" * 255, DENIED),
            ("n" * 256, ERROR),
        )
    ],
    "B20": [
        Input("wrong", [START, A5, sec(f"CHAP_N=alice\0CHAP_R=0x{'00' * 16}\0")], DENIED),
        Input("unknown", [START, A5, sec(f"CHAP_N=bob\0CHAP_R=0x{'00' * 16}\0")], DENIED),
    ],
    "B22": [
        Input("stage skipped", [op()], DENIED),
        Input("None", [sec(f"{DECLARED}AuthMethod=None\0", transit=True, nsg=1)], DENIED),
        Input("no method at all", [sec(DECLARED, transit=True, nsg=3)], DENIED),
        Input("KRB5", [sec(f"{DECLARED}AuthMethod=KRB5,SRP\0")], DENIED),
        Input(
            "no response",
            [START, A5, sec("", transit=True, nsg=1)],
            DENIED,
        ),
    ],
}


@pytest.mark.parametrize("row", sorted(CHAP))
async def test_bad_chap(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.target.admission.FREE_FAILURES", 1000)
    served = Served(config(chap=ChapConfig([ALICE], OURS)))
    await play_all(CHAP[row], served, chap=ALICE)
    text = " ".join(str(event) for event in served.events)
    assert "sesame" not in text
    assert "secret-of" not in text


def test_how_many_inputs_there_are() -> None:
    assert count(OPERATIONAL) + count(CHAP) >= 100


async def test_b03_slow_loris_by_the_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 connections that say half a header, and some of them an octet now and then."""
    limits = TargetLimits(login_timeout_s=1.0)
    monkeypatch.setattr("san_console.target.login.LOGIN_TIMEOUT_S", 1.0)
    async with attacked(Served(config(limits=limits))) as served:
        request = LoginRequest(csg=1, itt=1).pack(100)
        slow = []
        for _ in range(500):
            one = await served.raw()
            one.writer.write(request[:20])
            slow.append(one)
        await asyncio.sleep(0.15)  # the attack stands
        assert served.server._reception.admission.half_open.total() <= 128
        for number in range(10):
            for one in slow[::7]:
                with contextlib.suppress(ConnectionError):
                    one.writer.write(request[20 + number : 21 + number])
            began = time.monotonic()
            good = await served.login()
            await good.ping()
            assert time.monotonic() - began < 1
            await good.close()
        for one in slow:
            assert await one.closed(3) == b""
            await one.close()


async def test_b12_a_forged_reinstatement_ends_nothing() -> None:
    async with Served(config(chap=ChapConfig([ALICE]))) as served:
        victim = await served.login(chap=ALICE)
        tsih = served.server.sessions()[0].tsih
        isid = settings().isid
        for number, one in enumerate(
            (
                Input("without CHAP", [op(isid=isid)], DENIED),
                Input("with the TSIH", [op(isid=isid, tsih=tsih)], DENIED),
                Input(
                    "wrong secret",
                    [
                        sec(f"{DECLARED}AuthMethod=CHAP\0", isid=isid, tsih=tsih),
                        sec("CHAP_A=5\0", isid=isid, tsih=tsih),
                        sec(f"CHAP_N=alice\0CHAP_R=0x{'00' * 16}\0", isid=isid, tsih=tsih),
                    ],
                    DENIED,
                ),
            )
        ):
            await play(served, one)
            await victim.ping()
            assert len(served.server.sessions()) == 1, number
        await victim.close()


async def test_b14_more_sessions_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.target.session_table.MAX_SESSIONS", 40)
    monkeypatch.setattr("san_console.target.session_table.MAX_DISCOVERY_SESSIONS", 10)
    async with attacked(Served(config(limits=TargetLimits(max_sessions=20)))) as served:
        raws, statuses = [], []
        for number in range(200):
            raw = await served.raw()
            target = None if number % 2 else NAME
            try:
                await raw.login(settings(isid=(number + 1).to_bytes(6, "big"), target_name=target))
                raws.append(raw)
            except Exception as error:
                statuses.append((getattr(error, "status_class", 0), getattr(error, "status_detail", 0)))
                await raw.close()
        assert len(raws) == 19 + 10
        assert set(statuses) == {(3, 2)}
        for raw in raws:
            await raw.ping()
            await raw.close()
        await until(lambda: len(served.server.sessions()) == 1)
        await (await served.login()).close()


async def test_b15_a_challenge_of_another_connection_is_not_answered() -> None:
    async with attacked(Served(config(chap=ChapConfig([ALICE], OURS))), chap=ALICE) as served:
        first = await served.raw()
        theirs = ""
        for step in (START, A5):
            assert isinstance(step.text, str)
            data = step.text.encode()
            first.send(LoginRequest(isid=ISID, itt=7, cmd_sn=1, csg=0).pack(len(data)), data)
            _, answer = await first.receive()
            theirs = answer.decode().partition("CHAP_C=")[2].split("\0")[0] or theirs
        assert theirs
        again = Input("theirs", [START, A5, proof(f"CHAP_I=9\0CHAP_C={theirs}\0")], DENIED, "CHAP_R")
        await play(served, again)
        await first.close()


def test_b21_secrets_that_are_too_short_or_the_same() -> None:
    for accepted, mutual in (
        (ChapCredentials("alice", Secret("short-11byt")), None),
        (ALICE, ChapCredentials("target", Secret("short-11byt"))),
        (ALICE, ChapCredentials("target", ALICE.secret)),
    ):
        with pytest.raises(ConfigError):
            ChapConfig([accepted], mutual)


async def test_b20_guesses_become_slow_and_say_nothing() -> None:
    pauses: list[float] = []
    async with attacked(Served(config(chap=ChapConfig([ALICE]))), chap=ALICE) as served:
        for number in range(7):
            began = time.monotonic()
            user = "alice" if number % 2 else "bob"
            wrong = Input(user, [START, A5, sec(f"CHAP_N={user}\0CHAP_R=0x{'00' * 16}\0")], DENIED)
            await play(served, wrong)
            pauses.append(time.monotonic() - began)
        assert pauses[-1] > 1.5 > max(pauses[:3])
        causes = {event.cause.replace("alice", "bob") for event in served.events if event.cause}
        assert len(causes) == 1
