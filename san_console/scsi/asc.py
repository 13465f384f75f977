"""Additional sense codes and qualifiers: what they say (T10's assignments, SPC-4)."""

from functools import cache

from san_console.scsi.asc_table_00_2f import ASC_TABLE_00_2F
from san_console.scsi.asc_table_30_7f import ASC_TABLE_30_7F

#: Codes whose qualifier is a number of its own and not a row of the table.
_NUMBERED: dict[int, str] = {
    0x40: "DIAGNOSTIC FAILURE ON COMPONENT {:02X}h",
    0x4D: "TAGGED OVERLAPPED COMMANDS (TASK TAG {:02X}h)",
    0x70: "DECOMPRESSION EXCEPTION SHORT ALGORITHM ID OF {:02X}h",
}

_FIRST_VENDOR_CODE = 0x80


@cache
def asc_table() -> dict[tuple[int, int], str]:
    """(code, qualifier) → text, for all that T10 assigned and is known here."""
    rows = (ASC_TABLE_00_2F + ASC_TABLE_30_7F).splitlines()
    return {(int(row[:2], 16), int(row[3:5], 16)): row[6:] for row in rows}


def asc_text(asc: int, ascq: int) -> str:
    """What the code says; for one that is not assigned, what can be said about it. Never fails."""
    text = asc_table().get((asc, ascq))
    if text is not None:
        return text
    if asc in _NUMBERED:
        return _NUMBERED[asc].format(ascq)
    if asc >= _FIRST_VENDOR_CODE:
        return f"VENDOR SPECIFIC CODE {asc:02X}h QUALIFIER {ascq:02X}h"
    general = asc_table().get((asc, 0))
    if ascq >= _FIRST_VENDOR_CODE and general is not None:
        return f"{general}, VENDOR SPECIFIC QUALIFIER {ascq:02X}h"
    if general is not None:
        return f"{general}, QUALIFIER {ascq:02X}h"
    return f"UNASSIGNED CODE {asc:02X}h QUALIFIER {ascq:02X}h"
