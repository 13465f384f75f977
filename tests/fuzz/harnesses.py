"""All harnesses by name, and inputs that lead the fuzzer to where it is interesting."""

from __future__ import annotations

from collections.abc import Callable

from san_console.scsi import opcodes as op
from tests.fuzz import protocol_harnesses as protocol
from tests.fuzz import target_harnesses as target

HARNESSES: dict[str, Callable[[bytes], None]] = {
    "framing": protocol.framing,
    "pdus": protocol.pdus,
    "keys": protocol.keys,
    "login": protocol.login,
    "commands": target.commands,
    "stream": target.stream,
}

_LOGIN_TEXT = (
    b"InitiatorName=iqn.2026-11.org.example:host\0TargetName=iqn.2026-11.org.example:disk\0"
    b"SessionType=Normal\0AuthMethod=CHAP,None\0HeaderDigest=CRC32C,None\0MaxBurstLength=262144\0"
)


def _login(flags: int, stages: int, text: bytes) -> bytes:
    return bytes([flags, stages, 0]) + len(text).to_bytes(2, "big") + text


def _command(opcode: int, cdb: bytes, payload: bytes = b"", *, lun: int = 0, read: int = 0) -> bytes:
    """One command of the harness `commands`."""
    shape = (1 if payload else 2) | lun << 2
    body = len(payload).to_bytes(2, "big") + payload if payload else read.to_bytes(2, "big")
    return bytes([target.OPCODES.index(opcode), shape]) + cdb.ljust(15, b"\0") + body


_TEST_UNIT_READY = _command(op.TEST_UNIT_READY, b"")  # takes the unit attention of a new session


SEEDS: dict[str, list[bytes]] = {
    "framing": [bytes([4]) + bytes(48) + b"\0\x08" + b"payload!", bytes([7]) + bytes(48) + b"\0\x03abc"],
    "pdus": [bytes([opcode]) + bytes(47) for opcode in (0, 1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x25, 0x31)],
    "keys": [_LOGIN_TEXT, b"CHAP_C=0x0123\0CHAP_R=0bQUJD\0MaxBurstLength=0x10\0"],
    "login": [
        _login(0, 0x81, _LOGIN_TEXT),
        _login(1, 0x01, _LOGIN_TEXT) + _login(0, 0x01, b"CHAP_A=5,7\0")[1:],
        _login(3, 0x87, _LOGIN_TEXT),
    ],
    "commands": [
        bytes(1) + _TEST_UNIT_READY + _command(opcode, b"", b"\0" * 24) + _command(opcode, b"", read=252)
        for opcode in target.OPCODES
    ],
    "stream": [
        bytes([0, 0, opcode, 0x80]) + bytes(46) + b"\0\x04text"
        for opcode in (0x40, 0x01, 0x02, 0x42, 0x04, 0x05, 0x06, 0x10)
    ],
}
