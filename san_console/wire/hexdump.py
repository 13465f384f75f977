"""Hexdumps as people read them: offset, two groups of hex octets, printable ASCII."""

from collections.abc import Iterator

from san_console.wire.crc32c import Buffer

_PRINTABLE = bytes(octet if 0x20 <= octet < 0x7F else 0x2E for octet in range(256))


def hexdump_lines(data: Buffer, offset: int = 0, width: int = 16) -> Iterator[str]:
    """Yield one line for each `width` octets; `offset` is the number shown for the first octet.

    The offset column has eight digits and grows to what the last line needs, so columns stay aligned.
    """
    if width < 1:
        raise ValueError(f"a hexdump line holds at least one octet, not {width}")
    view = memoryview(data).cast("B")
    digits = max(8, len(f"{offset + max(len(view) - 1, 0):x}"))
    half = width // 2
    # Each octet takes three columns; the gap between the groups is one more.
    hex_columns = width * 3 - 1 + (1 if half else 0)
    for start in range(0, len(view), width):
        row = bytes(view[start : start + width])
        left, right = (row[:half], row[half:]) if half else (row, b"")
        text = f"{left.hex(' ')}  {right.hex(' ')}" if right else left.hex(" ")
        ascii_text = row.translate(_PRINTABLE).decode("ascii")
        yield f"{offset + start:0{digits}x}  {text:<{hex_columns}}  |{ascii_text}|"


def hexdump(data: Buffer, offset: int = 0, width: int = 16) -> str:
    """The lines of `hexdump_lines` as one text, without a newline at the end."""
    return "\n".join(hexdump_lines(data, offset, width))
