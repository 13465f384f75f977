"""A logical unit as data: where its blocks live and what it says of itself; and its specification on the
command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from san_console.names.display import visible
from san_console.target.errors import ConfigError

BackstoreKind = Literal["file", "memory", "block", "null"]
BACKSTORE_KINDS: tuple[BackstoreKind, ...] = ("file", "memory", "block", "null")
BLOCK_SIZES = (512, 4096)
MAX_SIZE_BYTES = 1 << 62  # 4 EiB; an LBA of 512-byte blocks then stays far inside 64 bits and off_t
MAX_ID_CHARACTERS = 255
# SBC-3 §6.6.3, MEDIUM ROTATION RATE: not reported, non-rotating, or revolutions per minute.
ROTATION_NOT_REPORTED, ROTATION_NONE = 0, 1
_SPEEDS_RPM = range(0x0401, 0xFFFF)

_SIZE = re.compile(r"(\d{1,19})([KMGTP]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}


def parse_size(text: str) -> int:
    """`256M`, `1G`, `4096` in bytes; units are powers of 1024. Raises ConfigError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"“{visible(text, 40)}” is not a size.",
            check="Write a number and a unit, such as 256M, 1G or 2T.",
        )
    size = int(match[1]) << _UNITS[match[2].upper()]
    if not 0 < size <= MAX_SIZE_BYTES:
        raise ConfigError(
            f"A size of “{visible(text, 40)}” cannot be served.", check="Choose 512 bytes to 4 EiB."
        )
    return size


@dataclass(frozen=True, slots=True)
class BackstoreSpec:
    """Where the blocks of a LUN live. `size_bytes` 0 means: as large as the file or device is."""

    kind: BackstoreKind
    path: str = ""
    size_bytes: int = 0
    read_only: bool = False
    block_bytes: int = 512
    thin: bool = False
    create: bool = False

    def __post_init__(self) -> None:
        if self.kind not in BACKSTORE_KINDS:
            raise ConfigError(
                f"“{visible(self.kind, 40)}” is not a kind of backstore.",
                check=f"Choose one of {', '.join(BACKSTORE_KINDS)}.",
            )
        if self.block_bytes not in BLOCK_SIZES:
            raise ConfigError(
                f"A block size of {self.block_bytes} bytes is not supported.", check="Choose 512 or 4096."
            )
        if self.kind in ("file", "block") and not self.path:
            raise ConfigError(
                f"A backstore of kind {self.kind} needs a path.", check="Write file:PATH or block:PATH."
            )
        if self.kind in ("memory", "null") and self.size_bytes <= 0:
            raise ConfigError(f"A backstore of kind {self.kind} needs a size.", check="Write memory:256M.")
        if "\0" in self.path:
            raise ConfigError("A path cannot contain a NUL character.", check="Check the path.")
        if self.size_bytes < 0 or self.size_bytes % self.block_bytes:
            raise ConfigError(
                f"{self.size_bytes} bytes are not a whole number of blocks of {self.block_bytes} bytes.",
                check="Choose a size that is a multiple of the block size.",
            )


def _check_inquiry_text(field_name: str, text: str, length: int) -> None:
    # SPC-4 §4.4.1: these fields hold ASCII graphic codes only.
    if len(text) > length or not all(0x20 <= ord(c) <= 0x7E for c in text):
        raise ConfigError(
            f"“{visible(text, 40)}” cannot be a {field_name}.",
            check=f"Use at most {length} printable ASCII characters.",
        )


@dataclass(frozen=True, slots=True)
class LunConfig:
    """A logical unit. `id` is unique in the target and stable; serial and NAA identity follow from
    `naa_seed`.

    `rotation_rate` is 0 (not reported), 1 (non-rotating) or revolutions per minute. `physical_block_bytes` 0
    means: as the logical ones; 4096 with logical blocks of 512 is what drives call 512e. `write_cache` off:
    each write is on the medium when it is answered. `soft_threshold_percent` 0 is off. An `online` of False
    keeps the mapping, and the LUN is not ready.
    """

    id: str
    name: str
    backstore: BackstoreSpec
    vendor: str = "SANCNSL"
    product: str = "VIRTUAL-DISK"
    revision: str = "0001"
    serial: str = ""
    naa_seed: bytes = b""
    rotation_rate: int = ROTATION_NONE
    physical_block_bytes: int = 0
    write_cache: bool = True
    soft_threshold_percent: int = 0
    online: bool = True

    def __post_init__(self) -> None:
        _check_inquiry_text("vendor", self.vendor, 8)
        _check_inquiry_text("product", self.product, 16)
        _check_inquiry_text("revision", self.revision, 4)
        _check_inquiry_text("serial number", self.serial, 36)
        if not self.id or len(self.id) > MAX_ID_CHARACTERS:
            raise ConfigError(
                f"A LUN's id has 1 to {MAX_ID_CHARACTERS} characters.", check="Choose another id."
            )
        if self.rotation_rate not in _SPEEDS_RPM and self.rotation_rate not in (
            ROTATION_NOT_REPORTED,
            ROTATION_NONE,
        ):
            raise ConfigError(
                f"A rotation rate of {self.rotation_rate} does not exist.",
                check="Choose 0 (not reported), 1 (no rotation) or 1025 to 65534 per minute.",
            )
        if self.physical_block_bytes not in (0, *BLOCK_SIZES) or (
            0 < self.physical_block_bytes < self.backstore.block_bytes
        ):
            raise ConfigError(
                f"Physical blocks of {self.physical_block_bytes} bytes are not possible here.",
                check="Choose 512 or 4096, and not below the logical block size.",
            )
        if not 0 <= self.soft_threshold_percent < 100:
            raise ConfigError(
                f"A threshold of {self.soft_threshold_percent} % is none.", check="Choose 0 (off) to 99."
            )
        if self.soft_threshold_percent and not self.backstore.thin:
            raise ConfigError(
                "A threshold tells when a thin LUN fills up, and this one is not thin.",
                check="Make it thin, or leave the threshold out.",
            )


@dataclass(frozen=True, slots=True)
class _Options:
    """What stands behind the place in a specification."""

    size_bytes: int = 0
    block_bytes: int = 512
    read_only: bool = False
    thin: bool = False
    physical_block_bytes: int = 0
    write_cache: bool = True
    soft_threshold_percent: int = 0


_FLAGS: dict[str, tuple[str, bool]] = {
    "ro": ("read_only", True),
    "thin": ("thin", True),
    "wce=on": ("write_cache", True),
    "wce=off": ("write_cache", False),
}
_NUMBERS = {
    "block": "block_bytes",
    "physical": "physical_block_bytes",
    "threshold": "soft_threshold_percent",
}


def _split(rest: str) -> tuple[str, _Options]:
    """The place, and the options that follow it; read from the right, since a path may contain commas."""
    parts = rest.split(",")
    found: dict[str, Any] = {}  # by the fields of _Options
    while len(parts) > 1:
        name, _, value = parts[-1].partition("=")
        if parts[-1] in _FLAGS:
            field_name, flag = _FLAGS[parts[-1]]
            found[field_name] = flag
        elif name == "size" and value:
            found["size_bytes"] = parse_size(value)
        elif name in _NUMBERS and value.isascii() and value.isdigit() and len(value) < 8:
            found[_NUMBERS[name]] = int(value)
        else:
            break
        parts.pop()
    return ",".join(parts), _Options(**found)


def _backstore(kind: BackstoreKind, place: str, options: _Options) -> BackstoreSpec:
    if kind in ("memory", "null"):
        if options.size_bytes:
            raise ConfigError(f"The size of {kind} is given twice.", check=f"Write {kind}:256M.")
        return BackstoreSpec(
            kind=kind,
            size_bytes=parse_size(place),
            read_only=options.read_only,
            block_bytes=options.block_bytes,
            thin=options.thin,
        )
    return BackstoreSpec(
        kind=kind,
        path=place,
        size_bytes=options.size_bytes,
        read_only=options.read_only,
        block_bytes=options.block_bytes,
        thin=options.thin,
        create=kind == "file" and bool(options.size_bytes) and not options.read_only,
    )


def _read_spec(text: str) -> tuple[BackstoreSpec, _Options]:
    rest = text.partition(":")[2]
    known = next((one for one in BACKSTORE_KINDS if text.startswith(f"{one}:")), None)
    if known is None:
        raise ConfigError(
            f"“{visible(text, 80)}” does not say what the LUN is made of.",
            check="Write file:PATH, memory:SIZE, block:DEVICE or null:SIZE.",
        )
    place, options = _split(rest)
    return _backstore(known, place, options), options


def parse_spec(text: str) -> BackstoreSpec:
    """`file:PATH[,size=1G][,ro][,block=4096][,thin]`, `memory:256M`, `block:/dev/x`, `null:1G`.

    A size given for a file creates the file when it is missing. Raises ConfigError.
    """
    return _read_spec(text)[0]


def parse_lun(text: str, id_: str, name: str = "") -> LunConfig:
    """A LUN by its specification: as for `parse_spec`, and `physical=4096`, `wce=off`, `threshold=80`.

    Raises ConfigError.
    """
    backstore, options = _read_spec(text)
    return LunConfig(
        id=id_,
        name=name or id_,
        backstore=backstore,
        physical_block_bytes=options.physical_block_bytes,
        write_cache=options.write_cache,
        soft_threshold_percent=options.soft_threshold_percent,
    )
