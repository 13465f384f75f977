"""The LUNs of the demo host, by session."""

from __future__ import annotations

from typing import Final, NamedTuple

from san_console.api.initiator_objects import Lun
from san_console.api.problems import Problem

MIB: Final = 1024**2
GIB: Final = 1024**3
TIB: Final = 1024**4


class _Lun(NamedTuple):
    lun: int
    identity: str
    size_bytes: int
    vendor: str
    product: str
    serial: str
    content: str
    thin: bool = False
    read_only: bool = False
    physical: int = 4096


_DB_LUNS = (
    _Lun(
        0,
        "naa.6001405a1f3c0d2e8b7146d0a1c2e3f4",
        512 * GIB,
        "LIO-ORG",
        "db-data",
        "a1f3c0d2",
        "ext4 “pgdata”",
    ),
    _Lun(
        1, "naa.6001405b77aa1190c04f4e1d9d1be7c2", 64 * GIB, "LIO-ORG", "db-log", "b77aa119", "ext4 “pgwal”"
    ),
    _Lun(
        2, "naa.6001405c0a3b9d7715e84b6fa3d20e11", 256 * GIB, "LIO-ORG", "db-spare", "c0a3b9d7", "empty", True
    ),
    _Lun(
        3,
        "naa.6001405d2b6e1f0043a94c88be91f7d5",
        40 * GIB,
        "LIO-ORG",
        "iso",
        "d2b6e1f0",
        "ISO 9660",
        False,
        True,
    ),
)

LUNS: Final[dict[str, tuple[_Lun, ...]]] = {
    "s1": _DB_LUNS,
    "s2": _DB_LUNS,
    "s3": (
        _Lun(
            0,
            "naa.60014057c2d94b01a6ef4d3c9a70b582",
            2 * TIB,
            "LIO-ORG",
            "vm-store",
            "7c2d94b0",
            "VMFS 6",
            True,
        ),
        _Lun(
            1,
            "naa.60014058e1a75c33b1d84f0291cc6a07",
            2 * TIB,
            "LIO-ORG",
            "vm-store-b",
            "8e1a75c3",
            "VMFS 6",
            True,
        ),
        _Lun(
            2,
            "naa.60014059ffb2046ad2c74eb7b03e1855",
            128 * GIB,
            "LIO-ORG",
            "vm-swap",
            "9ffb2046",
            "LVM2 member",
        ),
        _Lun(
            3, "naa.6001405a0c9d1e2f3a4b4c5d8e6f7081", 16 * GIB, "LIO-ORG", "heartbeat", "a0c9d1e2", "unknown"
        ),
    ),
    "s4": (
        _Lun(
            0,
            "naa.600a098038314f6e5a2b4e7a4c6d3551",
            10 * TIB,
            "NETAPP",
            "LUN C-Mode",
            "81O6nZ+N",
            "GPT, 2 partitions",
            True,
        ),
        _Lun(
            1,
            "naa.600a098038314f6e5a2b4e7a4c6d3552",
            4 * TIB,
            "NETAPP",
            "LUN C-Mode",
            "81O6nZ+O",
            "xfs “weekly”",
            True,
        ),
        _Lun(
            2,
            "naa.600a098038314f6e5a2b4e7a4c6d3553",
            4 * TIB,
            "NETAPP",
            "LUN C-Mode",
            "81O6nZ+P",
            "xfs “daily”",
            True,
        ),
    ),
    "s5": (
        _Lun(
            0,
            "naa.600140500a4c7e19b27d4f61a8835d90",
            8 * TIB,
            "IET",
            "VIRTUAL-DISK",
            "beaf11",
            "GPT, 1 partition",
        ),
        _Lun(
            1,
            "naa.600140500a4c7e19b27d4f61a8835d91",
            8 * TIB,
            "IET",
            "VIRTUAL-DISK",
            "beaf12",
            "GPT, 1 partition",
        ),
    ),
    "s6": (
        _Lun(0, "naa.3000c0ffee00d1a0", 1 * GIB, "SANCON", "memory", "lab-0", "empty", True, False, 512),
        _Lun(
            1,
            "naa.3000c0ffee00d1a1",
            1 * GIB,
            "SANCON",
            "file",
            "lab-1",
            "MBR, 1 partition",
            True,
            False,
            512,
        ),
        _Lun(2, "eui.0025385b71b0d1a2", 512 * MIB, "SANCON", "null", "lab-2", "empty", False, False, 512),
        _Lun(3, "", 64 * MIB, "SANCON", "plain", "", "unknown", False, True, 512),
    ),
}


def demo_luns(session_id: str, target: str) -> list[Lun]:
    """The LUNs behind a session of the demo."""
    return [_lun(session_id, target, lun) for lun in LUNS[session_id]]


def _lun(session_id: str, target: str, lun: _Lun) -> Lun:
    down = session_id == "s5"
    return Lun(
        id=f"{session_id}/{lun.lun}",
        session_id=session_id,
        target=target,
        lun=lun.lun,
        state="failed" if down else "ready",
        problem=Problem(
            code="disconnected",
            message="The session is not logged in at the moment.",
            side="this computer",
            check="Wait for the next try, or try now on the page Sessions.",
        )
        if down
        else None,
        identity=lun.identity,
        identity_changed_from="naa.3000c0ffee00beef" if session_id == "s6" and lun.lun == 1 else "",
        vendor=lun.vendor,
        product=lun.product,
        revision="4.0" if lun.vendor == "LIO-ORG" else "9141" if lun.vendor == "NETAPP" else "0001",
        serial=lun.serial,
        size_bytes=lun.size_bytes,
        physical_block_bytes=lun.physical,
        read_only=lun.read_only,
        thin=lun.thin,
        write_cache=None if down else lun.vendor != "NETAPP",
        content=lun.content,
        designators=[text for text in (lun.identity, f"t10.{lun.vendor} {lun.product} {lun.serial}") if text],
    )
