"""CRC32C (RFC 7143 §13.1), the one seam where `wire` leaves the standard library.

On the wire the digest is the little-endian form of the value returned here: 32 zero bytes give
0x8a9136aa, sent as `aa 36 91 8a` (RFC 7143 A.4).
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

# 0x1edc6f41 bit-reversed: the table runs least significant bit first, as iSCSI sends it.
_POLYNOMIAL = 0x82F63B78
_MASK = 0xFFFFFFFF


def _table() -> Iterator[int]:
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ _POLYNOMIAL if value & 1 else value >> 1
        yield value


_TABLE = tuple(_table())


def crc32c_pure(data: Buffer, value: int = 0) -> int:
    """CRC32C of `data`, continuing from `value`; about 16 MB/s, so only for machines without the wheel."""
    table = _TABLE
    crc = value ^ _MASK
    for octet in memoryview(data).cast("B"):
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ _MASK


def _accelerated() -> Callable[[Buffer, int], int] | None:
    try:
        from crc32c import crc32c as compiled
    except ImportError:
        return None
    return compiled


_compiled = _accelerated()

#: False when the compiled library is missing; the console then warns, since digests become the bottleneck.
ACCELERATED: bool = _compiled is not None

#: `crc32c(data, value=0) -> int`: the CRC32C of `data`, continuing from an earlier result `value`.
crc32c: Callable[..., int] = _compiled or crc32c_pure
