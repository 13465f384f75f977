"""Stamped blocks and the ledger that knows which of them must be there.

Each block says where it belongs, which write made it and by whom, and its payload follows from that: so a
block that is damaged, torn, stale, at the wrong place, or of nobody is told from a good one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from san_console.wire.crc32c import crc32c

BLOCK_BYTES = 512
MAGIC = b"SanStamp"
_HEADER = struct.Struct(">8sQQII")  # magic, LBA, generation, writer, seed
_CRC = struct.Struct(">I")
_WORD = struct.Struct(">Q")
_PAYLOAD_WORDS = (BLOCK_BYTES - _HEADER.size - _CRC.size) // _WORD.size
assert _HEADER.size + _CRC.size + _PAYLOAD_WORDS * _WORD.size == BLOCK_BYTES - 4
_TAIL = bytes(4)


def stamp(lba: int, generation: int, writer: int, seed: int) -> bytes:
    """The one block that write `generation` puts at `lba`."""
    header = _HEADER.pack(MAGIC, lba, generation, writer, seed)
    # Mixed, so that no two words of different blocks are alike: a torn block shows at every place.
    word = (lba * 0x9E3779B97F4A7C15 ^ generation * 0xC2B2AE3D27D4EB4F ^ seed) & 0xFFFFFFFFFFFFFFFF
    body = header + _WORD.pack(word) * _PAYLOAD_WORDS + _TAIL
    return body + _CRC.pack(crc32c(body))


def generation_of(data: bytes | bytearray | memoryview) -> int:
    """Which write has made the first of these blocks, as it says itself."""
    generation: int = _HEADER.unpack_from(data)[2]
    return generation


class Violation(AssertionError):
    """A block is not what the ledger says it may be."""


@dataclass(slots=True)
class Block:
    """What is known about one LBA. Generations; 0 is the block of zeros that was there at first."""

    acknowledged: int = 0
    durable: int = 0
    issued: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """(generation, writer) of each write since the last durable one, and that one."""

    def make_durable(self, generation: int) -> None:
        """Nothing older can come back, whatever happens."""
        self.durable = generation
        self.issued = [write for write in self.issued if write[0] >= generation]


class Ledger:
    """The writes of one run to a disk of `blocks` blocks. Writes of one block are never at the same time."""

    def __init__(self, blocks: int, seed: int, *, first_generation: int = 1) -> None:
        self.seed = seed
        self.blocks = [Block() for _ in range(blocks)]
        self.verified = 0
        self.acknowledged_writes = 0
        self._generation = first_generation - 1

    def issue(self, lba: int, count: int, writer: int) -> tuple[int, bytes]:
        """A new write: its generation, and its data."""
        self._generation += 1
        generation = self._generation
        for block in self.blocks[lba : lba + count]:
            block.issued.append((generation, writer))
        return generation, b"".join(stamp(lba + n, generation, writer, self.seed) for n in range(count))

    def acknowledge(self, lba: int, count: int, generation: int, *, durable: bool) -> None:
        """The write came back good: nothing older may be seen any more."""
        self.acknowledged_writes += 1
        for block in self.blocks[lba : lba + count]:
            block.acknowledged = generation
            if durable:
                block.make_durable(generation)

    def before_flush(self) -> list[int]:
        """What a flush that begins now has to make durable."""
        return [block.acknowledged for block in self.blocks]

    def flushed(self, before: list[int]) -> None:
        """The flush came back good."""
        for block, generation in zip(self.blocks, before, strict=True):
            if generation > block.durable:
                block.make_durable(generation)

    def power_lost(self) -> None:
        """The cache of the target is gone: only what is durable is still owed, the rest may be."""
        for block in self.blocks:
            block.acknowledged = block.durable

    def check(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        """Compare whole blocks that were read at `lba`. Raises Violation for the first bad one."""
        view = memoryview(data)
        for number in range(len(view) // BLOCK_BYTES):
            start = number * BLOCK_BYTES
            self._check_block(lba + number, bytes(view[start : start + BLOCK_BYTES]))
        self.verified += len(view) // BLOCK_BYTES

    def _check_block(self, lba: int, data: bytes) -> None:
        block = self.blocks[lba]
        magic, at, generation, writer, seed = _HEADER.unpack_from(data)
        if magic != MAGIC:
            if not any(data) and block.acknowledged == 0:
                return
            if not any(data):
                raise Violation(self._text(lba, "holds zeros"))
            raise Violation(self._text(lba, "holds no stamp: " + data[:32].hex()))
        if (generation, writer) in block.issued and data == stamp(lba, generation, writer, self.seed):
            if generation >= block.acknowledged:
                return
            raise Violation(self._text(lba, f"is stale: generation {generation}"))
        if seed != self.seed or at != lba:
            raise Violation(self._text(lba, f"holds the block of LBA {at}, generation {generation}"))
        if data != stamp(lba, generation, writer, seed):
            raise Violation(self._text(lba, f"is damaged or torn; it says generation {generation}"))
        raise Violation(self._text(lba, f"holds generation {generation}, which is over"))

    def _text(self, lba: int, what: str) -> str:
        block = self.blocks[lba]
        return (
            f"seed {self.seed}: LBA {lba} {what}; acknowledged {block.acknowledged}, "
            f"durable {block.durable}, issued {[generation for generation, _ in block.issued]}"
        )
