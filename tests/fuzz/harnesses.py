"""All harnesses by name, and inputs that lead the fuzzer to where it is interesting."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import protocol_harnesses as protocol

HARNESSES: dict[str, Callable[[bytes], None]] = {
    "framing": protocol.framing,
    "pdus": protocol.pdus,
    "keys": protocol.keys,
    "login": protocol.login,
}

_LOGIN_TEXT = (
    b"InitiatorName=iqn.2026-11.org.example:host\0TargetName=iqn.2026-11.org.example:disk\0"
    b"SessionType=Normal\0AuthMethod=CHAP,None\0HeaderDigest=CRC32C,None\0MaxBurstLength=262144\0"
)


def _login(flags: int, stages: int, text: bytes) -> bytes:
    return bytes([flags, stages, 0]) + len(text).to_bytes(2, "big") + text


SEEDS: dict[str, list[bytes]] = {
    "framing": [bytes([4]) + bytes(48) + b"\0\x08" + b"payload!", bytes([7]) + bytes(48) + b"\0\x03abc"],
    "pdus": [bytes([opcode]) + bytes(47) for opcode in (0, 1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x25, 0x31)],
    "keys": [_LOGIN_TEXT, b"CHAP_C=0x0123\0CHAP_R=0bQUJD\0MaxBurstLength=0x10\0"],
    "login": [
        _login(0, 0x81, _LOGIN_TEXT),
        _login(1, 0x01, _LOGIN_TEXT) + _login(0, 0x01, b"CHAP_A=5,7\0")[1:],
        _login(3, 0x87, _LOGIN_TEXT),
    ],
}
