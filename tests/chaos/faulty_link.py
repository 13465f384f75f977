"""A link that loses, repeats, swaps and damages whole PDUs of either direction.

It sits in the process of the initiator, between its PDUs and its socket. Of each kind of PDU every fault gets
its turn: the one that was made least often comes next.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from san_console.iscsi import opcodes as o

BHS_BYTES = 48
DIGEST_BYTES = 4
TO_TARGET, TO_INITIATOR = "to the target", "to the initiator"
DROP, DUPLICATE, SWAP, DAMAGE_DATA, DAMAGE_HEADER = (
    "drop",
    "duplicate",
    "swap",
    "damage data",
    "damage header",
)
#: A PDU that is to be swapped with the next one goes alone when none comes.
SWAP_WAIT_S = 0.02
#: Kinds of which there are many; the others are hit more often.
_COMMON = {o.SCSI_COMMAND, o.SCSI_DATA_OUT, o.SCSI_DATA_IN}
_RARE_FACTOR = 4

Fault = tuple[str, int, str]  # direction, opcode, what was done


class FaultyLink:
    """What happens to the PDUs of all connections of a session. `rate`: how many of one PDU are hit."""

    def __init__(
        self, rng: random.Random, rate: float, *, digests: bool = True, headers: bool = False
    ) -> None:
        self.rng = rng
        self.active = False
        self.only: frozenset[str] | None = None
        """When set, nothing but these faults is made."""
        self.direction = ""
        """When set, faults are made in this direction alone."""
        self.made: Counter[Fault] = Counter()
        self.passed = 0
        self._rate = rate
        self._digest_bytes = DIGEST_BYTES if digests else 0
        self._headers = headers

    def fault_for(self, direction: str, pdu: bytes) -> str:
        """What happens to the PDU; empty: nothing."""
        self.passed += 1
        opcode = pdu[0] & 0x3F
        if not self.active or self.direction not in ("", direction):
            return ""
        if self.rng.random() >= self._rate * (1 if opcode in _COMMON else _RARE_FACTOR):
            return ""
        possible = [DROP, DUPLICATE, SWAP]
        if int.from_bytes(pdu[5:8], "big"):
            possible.append(DAMAGE_DATA)
        if self._headers:
            possible.append(DAMAGE_HEADER)
        if self.only is not None:
            possible = [fault for fault in possible if fault in self.only]
        if not possible:
            return ""
        self.rng.shuffle(possible)
        fault = min(possible, key=lambda one: self.made[direction, opcode, one])
        self.made[direction, opcode, fault] += 1
        return fault

    def damage(self, pdu: bytes, *, header: bool) -> bytes:
        """The PDU with one bit turned over, its digest as it was."""
        start, end = 0, BHS_BYTES
        if not header:
            start = BHS_BYTES + pdu[4] * 4 + self._digest_bytes
            end = start + int.from_bytes(pdu[5:8], "big")
        damaged = bytearray(pdu)
        damaged[self.rng.randrange(start, end)] ^= 1 << self.rng.randrange(8)
        return bytes(damaged)

    async def read_pdu(self, reader: asyncio.StreamReader) -> bytes:
        """The next PDU of a stream, whole, with its digests."""
        bhs = await reader.readexactly(BHS_BYTES)
        data_bytes = int.from_bytes(bhs[5:8], "big")
        data = data_bytes + (-data_bytes & 3) + self._digest_bytes if data_bytes else 0
        return bhs + await reader.readexactly(bhs[4] * 4 + self._digest_bytes + data)


class Lane:
    """One direction of one connection; `deliver` gets what comes out at the other end."""

    def __init__(self, link: FaultyLink, direction: str, deliver: Callable[[bytes], None]) -> None:
        self._link = link
        self._direction = direction
        self._deliver = deliver
        self._held: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def carry(self, pdu: bytes) -> None:
        """Take a PDU in."""
        fault = self._link.fault_for(self._direction, pdu)
        if fault == SWAP and self._held is None:
            self._held = pdu
            self._timer = asyncio.get_running_loop().call_later(SWAP_WAIT_S, self._let_go)
            return
        if fault in (DAMAGE_DATA, DAMAGE_HEADER):
            pdu = self._link.damage(pdu, header=fault == DAMAGE_HEADER)
        if fault != DROP:
            self._hand_over(pdu)
        if fault == DUPLICATE:
            self._hand_over(pdu)
        self._let_go()

    def _hand_over(self, pdu: bytes) -> None:
        if not self._closed:
            self._deliver(pdu)

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, None
        if held is not None:
            self._hand_over(held)

    def close(self) -> None:
        """The connection is gone, and what is under way with it."""
        self._closed = True
        self._let_go()
