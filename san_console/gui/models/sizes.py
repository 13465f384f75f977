"""Sizes as a person types them."""

from __future__ import annotations

import re
from typing import Final

from san_console.gui.translation import translate

_SIZE: Final = re.compile(r"(\d{1,19}(?:\.\d{1,6})?)\s*([KMGTP]?)(?:i?B?)?", re.IGNORECASE)
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
MAX_SIZE_BYTES: Final = 1 << 62
"""4 EiB: an address of 512-byte blocks then stays far inside 64 bits."""


def parse_size(text: str) -> int:
    """`4096`, `256M`, `1.5 GiB`, `0x200` in bytes, in powers of 1024. Raises ValueError with a sentence."""
    plain = text.strip()
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}", plain):
        return int(plain, 16)
    match = _SIZE.fullmatch(plain)
    if match is None:
        raise ValueError(translate("sizes", "Write a number and a unit, such as 256M, 1.5G or 2T."))
    unit = match[2].upper()
    if "." in match[1] and not unit:
        raise ValueError(translate("sizes", "There are no parts of a byte: add a unit, such as G."))
    size_bytes = (
        int(float(match[1]) * (1 << _SHIFTS[unit])) if "." in match[1] else int(match[1]) << _SHIFTS[unit]
    )
    if size_bytes > MAX_SIZE_BYTES:
        raise ValueError(translate("sizes", "That is more than 4 EiB."))
    return size_bytes
