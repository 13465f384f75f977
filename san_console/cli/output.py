"""What the commands print: tables, one JSON object, failures.

Whatever came from a peer goes through `visible` here, so that no name can steer the terminal.
"""

import contextlib
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from san_console.names.display import visible

GAP = "  "
NARROWEST_COLUMN = 12
"""Columns are folded down to this many places before a table is allowed to be wider than the terminal."""

MAX_CELL_CHARACTERS = 4096

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Column(NamedTuple):
    """A column of a table. Numbers stand at the right.

    `spare`: where the table is too wide for the terminal, columns are left out, the highest number first,
    before cells are folded; 0 is never left out. A pipe gets all columns.
    """

    title: str
    right: bool = False
    spare: int = 0


def print_table(columns: Sequence[str | Column], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output. Long cells are folded to fit a terminal; in a pipe each row is one line.
    Without rows nothing is printed: what that means is said by the caller.
    """
    if not rows:
        return
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(display_width(text) for text in column)
        for column in zip([head.title for head in heads], *cells, strict=True)
    ]
    tty = sys.stdout.isatty()
    if tty:
        available = shutil.get_terminal_size().columns
        kept = kept_columns([head.spare for head in heads], widths, available)
        heads = [heads[at] for at in kept]
        cells = [[row[at] for at in kept] for row in cells]
        widths = fitted([widths[at] for at in kept], available)
    bold, plain = ("\x1b[1m", "\x1b[0m") if tty and "NO_COLOR" not in os.environ else ("", "")
    for number, row in enumerate([[head.title for head in heads], *cells]):
        folded = [fold(text, width) if tty else [text] for text, width in zip(row, widths, strict=True)]
        for at in range(max(map(len, folded))):
            line = GAP.join(
                _aligned(parts[at] if at < len(parts) else "", width, head.right)
                for parts, width, head in zip(folded, widths, heads, strict=True)
            ).rstrip()
            print(f"{bold}{line}{plain}" if number == 0 else line)


def print_json(schema: str, data: Mapping[str, object]) -> None:
    """One JSON object on standard output, with `schema` first. ASCII, since names may hold anything."""
    print(json.dumps({"schema": schema, **data}, indent=2))


def print_failure(cause: str, side: str, check: str) -> None:
    """A failure on standard error: what happened, which side decided, what to check."""
    print(f"san-console: {visible(cause, MAX_CELL_CHARACTERS)}", file=sys.stderr)
    if side:
        print(f"  decided by: {visible(side, MAX_CELL_CHARACTERS)}", file=sys.stderr)
    if check:
        print(f"  check: {visible(check, MAX_CELL_CHARACTERS)}", file=sys.stderr)


def say(text: str) -> None:
    """A note for the person at the terminal, on standard error: it is no part of the result."""
    print(visible(text, MAX_CELL_CHARACTERS), file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A line of progress on standard error, gone afterwards; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return

    def show(text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{fold(visible(text, MAX_CELL_CHARACTERS), width)[0]}")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def plain_data(value: Any) -> Any:
    """An object of the API as what JSON holds."""
    import msgspec

    return msgspec.to_builtins(value)


def counted(number: int, noun: str) -> str:
    """`1 LUN`, `2 LUNs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_text(size_bytes: float) -> str:
    """`64 MiB`, `1.5 GiB`: at most one decimal, none where it would be zero."""
    value = float(size_bytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    text = f"{value:.1f}".removesuffix(".0")
    return f"{text} {unit}"


def rate_text(bytes_per_s: float) -> str:
    """`0`, `812 kB/s`, `1.24 GB/s`: decimal, as networks are measured."""
    value = float(bytes_per_s)
    if value < 1000:
        return f"{value:.0f} B/s" if value else "0"
    for unit in ("kB/s", "MB/s", "GB/s", "TB/s"):
        value /= 1000
        if value < 999.5 or unit == "TB/s":
            break
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def span_text(seconds: float) -> str:
    """`42 s`, `11 h 40 min`, `4 d 2 h`: the two largest units."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def display_width(text: str) -> int:
    """How many places `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def kept_columns(spare: Sequence[int], widths: Sequence[int], available: int) -> list[int]:
    """Which columns stay so that all fit into `available` places, or at least those that never go."""
    kept = list(range(len(widths)))
    while sum(widths[at] for at in kept) + len(GAP) * (len(kept) - 1) > available:
        worst = max(kept, key=lambda at: spare[at])
        if spare[worst] == 0:
            break
        kept.remove(worst)
    return kept


def fitted(widths: Sequence[int], available: int) -> list[int]:
    """`widths`, the widest ones cut until all fit into `available` places with gaps between them."""
    result = list(widths)
    excess = sum(result) + len(GAP) * (len(result) - 1) - available
    while excess > 0:
        widest = max(range(len(result)), key=lambda at: result[at])
        if result[widest] <= NARROWEST_COLUMN:
            break
        second = max([width for width in result if width < result[widest]], default=NARROWEST_COLUMN)
        cut = min(excess, max(result[widest] - max(second, NARROWEST_COLUMN), 1))
        result[widest] -= cut
        excess -= cut
    return result


def fold(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` places; broken at a space near the end where there is one."""
    lines = []
    while display_width(text) > width:
        end, used = 0, 0
        for char in text:
            used += display_width(char)
            if used > width:
                break
            end += 1
        end = max(end, 1)
        space = text.rfind(" ", end * 2 // 3, end + 1)
        if space > 0:
            lines.append(text[:space])
            text = text[space + 1 :]
        else:
            lines.append(text[:end])
            text = text[end:]
    lines.append(text)
    return lines


def _cell(value: object) -> str:
    return "" if value is None else visible(str(value), MAX_CELL_CHARACTERS)


def _aligned(text: str, width: int, right: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if right else text + space
