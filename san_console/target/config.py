"""What a target is made of, as data; and the backstore specification of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from san_console.names.credentials import MIN_SECRET_BYTES, ChapCredentials
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.names.lun import MAX_FLAT_LUN
from san_console.names.portal import Portal
from san_console.target.errors import ConfigError

BackstoreKind = Literal["file", "memory", "block", "null"]
BACKSTORE_KINDS: tuple[BackstoreKind, ...] = ("file", "memory", "block", "null")
BLOCK_SIZES = (512, 4096)
# REPORT LUNS of all of them stays below 4 KiB; SCST and Windows have limits of the same order.
MAX_LUNS_PER_TARGET = 256
MAX_SIZE_BYTES = 1 << 62  # 4 EiB; an LBA of 512-byte blocks then stays far inside 64 bits and off_t
MAX_PORTAL_GROUP_TAG = 65535  # RFC 7143 §13.9
ANYONE = "*"

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


def parse_spec(text: str) -> BackstoreSpec:
    """`file:PATH[,size=1G][,ro][,block=4096][,thin]`, `memory:256M`, `block:/dev/x`, `null:1G`.

    Options are read from the right, so that a path may contain commas. A size given for a file creates the
    file when it is missing. Raises ConfigError.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in BACKSTORE_KINDS:
        raise ConfigError(
            f"“{visible(text, 80)}” does not say what the LUN is made of.",
            check="Write file:PATH, memory:SIZE, block:DEVICE or null:SIZE.",
        )
    parts = rest.split(",")
    size_bytes, block_bytes, read_only, thin = 0, 512, False, False
    while len(parts) > 1:
        option, _, value = parts[-1].partition("=")
        if option == "size" and value:
            size_bytes = parse_size(value)
        elif option == "block" and value.isascii() and value.isdigit() and len(value) < 8:
            block_bytes = int(value)
        elif parts[-1] == "ro":
            read_only = True
        elif parts[-1] == "thin":
            thin = True
        else:
            break
        parts.pop()
    place = ",".join(parts)
    if kind in ("memory", "null"):
        if size_bytes:
            raise ConfigError(f"The size of {kind} is given twice.", check=f"Write {kind}:256M.")
        return BackstoreSpec(
            kind="memory" if kind == "memory" else "null",
            size_bytes=parse_size(place),
            read_only=read_only,
            block_bytes=block_bytes,
            thin=thin,
        )
    return BackstoreSpec(
        kind="file" if kind == "file" else "block",
        path=place,
        size_bytes=size_bytes,
        read_only=read_only,
        block_bytes=block_bytes,
        thin=thin,
        create=kind == "file" and bool(size_bytes) and not read_only,
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
    """

    id: str
    name: str
    backstore: BackstoreSpec
    vendor: str = "SANCNSL"
    product: str = "VIRTUAL-DISK"
    revision: str = "0001"
    serial: str = ""
    naa_seed: bytes = b""

    def __post_init__(self) -> None:
        _check_inquiry_text("vendor", self.vendor, 8)
        _check_inquiry_text("product", self.product, 16)
        _check_inquiry_text("revision", self.revision, 4)
        _check_inquiry_text("serial number", self.serial, 36)


@dataclass(frozen=True, slots=True)
class MappingRule:
    """One initiator (its name, a pattern with `*`, or `*` for anyone) sees LUN `lun_id` as number `lun`."""

    initiator: str
    lun_id: str
    lun: int
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ChapConfig:
    """Who may log in (any of `accepted`), and how the target proves itself when the initiator asks."""

    accepted: list[ChapCredentials]
    mutual: ChapCredentials | None = None

    def __post_init__(self) -> None:
        if not self.accepted:
            raise ConfigError(
                "CHAP without an identity lets nobody in.", check="Add a CHAP identity, or turn CHAP off."
            )
        for one in (*self.accepted, *([self.mutual] if self.mutual else [])):
            if len(one.secret) < MIN_SECRET_BYTES:
                raise ConfigError(
                    f"The CHAP secret of “{visible(one.user, 64)}” is shorter than {MIN_SECRET_BYTES} bytes.",
                    check="Choose a longer secret (RFC 7143 §9.2.1).",
                )
        if self.mutual and any(one.secret == self.mutual.secret for one in self.accepted):
            raise ConfigError(
                "The secret is the same in both directions.",
                check="The target needs a secret of its own (RFC 7143 §9.2.1).",
            )


@dataclass(frozen=True, slots=True)
class TargetLimits:
    """What the target offers and bounds; each number is the RFC key or a protection of this machine."""

    max_sessions: int = 544  # as Windows Target Server, the published limit of the field
    command_window: int = 128  # open-iscsi's cmds_max; a held-back command costs one header
    max_recv_data_segment_bytes: int = 262144  # one Data-Out per 256 KiB write
    max_burst_bytes: int = 1 << 20
    first_burst_bytes: int = 262144
    max_outstanding_r2t: int = 8
    initial_r2t: bool = False
    immediate_data: bool = True
    header_digest: str = "none"
    data_digest: str = "none"
    nop_in_interval_s: float = 15.0  # LIO's nopin_timeout
    nop_in_timeout_s: float = 30.0  # SCST's NopInTimeout


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """A target. `anyone` lets every initiator name log in; with no mapping rule at all it sees all LUNs,
    in order.
    """

    name: str
    portals: list[Portal]
    alias: str = ""
    tpgt: int = 1
    luns: list[LunConfig] = field(default_factory=list)
    mappings: list[MappingRule] = field(default_factory=list)
    chap: ChapConfig | None = None
    anyone: bool = False
    limits: TargetLimits = field(default_factory=TargetLimits)

    def __post_init__(self) -> None:
        try:
            name = normalise(self.name)
        except InvalidName as error:
            raise ConfigError(
                str(error), check="Write a name such as iqn.2026-11.org.example:disks."
            ) from error
        object.__setattr__(self, "name", name)
        if not 0 <= self.tpgt <= MAX_PORTAL_GROUP_TAG:
            raise ConfigError(
                f"A portal group tag of {self.tpgt} does not exist.", check="Choose 0 to 65535."
            )
        if not self.portals:
            raise ConfigError("A target needs at least one portal.", check="Give an address and a port.")
        if len(self.luns) > MAX_LUNS_PER_TARGET:
            raise ConfigError(
                f"A target has at most {MAX_LUNS_PER_TARGET} LUNs.",
                check="Spread the LUNs over several targets.",
            )
        ids = [lun.id for lun in self.luns]
        if len(set(ids)) != len(ids):
            raise ConfigError("Two LUNs of the target have the same id.", check="Give each LUN its own id.")
        self._check_mappings(set(ids))

    def _check_mappings(self, ids: set[str]) -> None:
        seen: set[tuple[str, int]] = set()
        for rule in self.mappings:
            if rule.lun_id not in ids:
                raise ConfigError(
                    f"A mapping names the LUN “{visible(rule.lun_id, 60)}”, which the target does not have.",
                    check="Remove the mapping or add the LUN.",
                )
            if not 0 <= rule.lun <= MAX_FLAT_LUN:
                raise ConfigError(
                    f"LUN number {rule.lun} cannot be addressed.", check=f"Choose 0 to {MAX_FLAT_LUN}."
                )
            if (rule.initiator, rule.lun) in seen:
                raise ConfigError(
                    f"LUN number {rule.lun} is mapped twice for “{visible(rule.initiator, 80)}”.",
                    check="Give each LUN that an initiator sees its own number.",
                )
            seen.add((rule.initiator, rule.lun))


def without_luns(config: TargetConfig, there: set[str]) -> TargetConfig:
    """`config` with those LUNs only whose id is in `there`, and the mappings of them."""
    return replace(
        config,
        luns=[lun for lun in config.luns if lun.id in there],
        mappings=[rule for rule in config.mappings if rule.lun_id in there],
    )
