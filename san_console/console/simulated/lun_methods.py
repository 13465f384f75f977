"""Simulated answers of the methods about LUNs: what is on them, their VPD pages, copies, a measurement."""

from __future__ import annotations

import random
import struct

from san_console.api import methods as api
from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Lun, LunData, VpdPage
from san_console.api.problems import ApiProblem
from san_console.console.simulated.world import World

BLOCK_BYTES = 512
COPY_BYTES_PER_S = 400_000_000
LONGEST_COPY_S = 20.0
"""So that a copy of a simulated 10 TiB LUN has an end that can be waited for."""


def _ready(world: World, lun_id: str) -> Lun:
    lun: Lun = world.get("luns", lun_id)
    if lun.state != "ready":
        problem = lun.problem
        if problem is not None:
            raise ApiProblem.from_problem(problem)
        raise ApiProblem("in-use", "The LUN is still being read.", side="engine", check="wait a moment")
    return lun


def _check_range(lun: Lun, offset_bytes: int, length_bytes: int) -> None:
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > lun.size_bytes:
        raise ApiProblem(
            "bad-request",
            f"The LUN ends at byte {lun.size_bytes}.",
            side="this computer",
            check="choose an offset and a length within it",
        )


def _gpt_entries(lun: Lun) -> bytes:
    """Partition entries (UEFI 2.10 §5.3.3): an EFI system partition where there are two, then the data."""
    efi_type = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
    linux_type = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
    blocks = lun.size_bytes // 512
    two = "2 partitions" in lun.content
    rows = [(efi_type, 2048, 2048 + 2**20 - 1, "EFI system")] if two else []
    start = rows[0][2] + 1 if two else 2048
    rows.append((linux_type, start, blocks * 88 // 100, "backup-pool" if two else "archive"))
    return b"".join(
        struct.pack("<16s16sQQQ72s", kind, bytes([number] * 16), first, last, 0, name.encode("utf-16-le"))
        for number, (kind, first, last, name) in enumerate(rows, 1)
    ).ljust(256, b"\0")


def content_block(lun: Lun, block: int) -> bytes:
    """One made-up block of 512 bytes that looks like what `lun.content` says."""
    kind = lun.content.split()[0].rstrip(",") if lun.content else "unknown"
    data = bytearray(BLOCK_BYTES)
    if block == 0 and kind in ("GPT", "MBR"):
        data[446:462] = struct.pack(
            "<8B2I", 0, 0, 2, 0, 0xEE if kind == "GPT" else 0x83, 255, 255, 255, 1, 2**21
        )
        data[510:] = b"\x55\xaa"
    elif block == 1 and kind == "GPT":
        last = lun.size_bytes // 512 - 1
        data[:92] = struct.pack(
            "<8s4I4Q16sQ3I",
            b"EFI PART",
            0x10000,
            92,
            0x84F23B79,
            0,
            1,
            last,
            34,
            last - 33,
            b"",
            2,
            128,
            128,
            0,
        )
    elif block == 2 and kind == "GPT":
        data[:256] = _gpt_entries(lun)
    elif block == 0 and kind == "xfs":
        data[:8] = b"XFSB" + struct.pack(">I", 4096)
    elif block == 2 and kind == "ext4":
        data[56:58] = b"\x53\xef"
        data[120:136] = lun.content.partition("“")[2].rstrip("”").encode()[:16].ljust(16, b"\0")
    elif kind not in ("empty", "GPT", "MBR") and block % 3:
        return random.Random(f"{lun.identity} {lun.id} {block}").randbytes(BLOCK_BYTES)
    return bytes(data)


def read(world: World, params: api.ReadLun) -> LunData:
    lun = _ready(world, params.id)
    if params.length_bytes > api.MAX_LUN_READ_BYTES:
        raise ApiProblem(
            "too-large", "At most 1 MiB is read at once.", side="engine", check="read less, or copy to a file"
        )
    _check_range(lun, params.offset_bytes, params.length_bytes)
    first = params.offset_bytes // BLOCK_BYTES
    end = params.offset_bytes + params.length_bytes
    blocks = b"".join(content_block(lun, block) for block in range(first, -(-end // BLOCK_BYTES)))
    skip = params.offset_bytes - first * BLOCK_BYTES
    return LunData(offset_bytes=params.offset_bytes, data=blocks[skip : skip + params.length_bytes])


def vpd(world: World, params: api.ById) -> list[VpdPage]:
    lun = _ready(world, params.id)
    serial = lun.serial.encode("utf-8", "replace")[:64]
    designator = lun.identity.encode("utf-8", "replace")[:64]
    limits = struct.pack(">BBHII", 0, 1, 8, 65_528, 65_528).ljust(60, b"\0")
    pages = (
        (
            0x00,
            "Supported VPD pages",
            bytes((0, 0x80, 0x83, 0xB0, 0xB1, 0xB2)),
            [("Pages", "00 80 83 b0 b1 b2")],
        ),
        (0x80, "Unit serial number", serial, [("Serial number", lun.serial)]),
        (
            0x83,
            "Device identification",
            bytes((3, 8, 0, len(designator))) + designator,
            [("Designator", text) for text in lun.designators] or [("Designator", "none")],
        ),
        (
            0xB0,
            "Block limits",
            limits,
            [
                ("Optimal transfer length granularity", "8 blocks"),
                ("Maximum transfer length", "65,528 blocks"),
            ],
        ),
        (
            0xB1,
            "Block device characteristics",
            bytes((0, 1)).ljust(60, b"\0"),
            [("Rotation", "not rotating")],
        ),
        (
            0xB2,
            "Logical block provisioning",
            bytes((0, 0xE0, 2 if lun.thin else 1, 0)),
            [("Type", "thin" if lun.thin else "full"), ("UNMAP", "yes" if lun.thin else "no")],
        ),
    )
    return [
        VpdPage(code=code, name=name, fields=fields, raw=struct.pack(">BBH", 0, code, len(body)) + body)
        for code, name, body, fields in pages
    ]


def _copy_job(world: World, lun: Lun, kind: str, title: str, length: int, result: dict[str, str]) -> Job:
    return world.job(
        kind,
        title,
        object_id=lun.id,
        total=length,
        unit="bytes",
        takes_s=min(length / COPY_BYTES_PER_S, LONGEST_COPY_S),
        finish=lambda: result,
    )


def to_file(world: World, params: api.LunToFile) -> Job:
    lun = _ready(world, params.id)
    length = lun.size_bytes - params.offset_bytes if params.length_bytes is None else params.length_bytes
    _check_range(lun, params.offset_bytes, length)
    result = {"bytes": str(length), "path": params.path}
    return _copy_job(world, lun, "lun_to_file", f"Copy LUN {lun.lun} to {params.path}", length, result)


def from_file(world: World, params: api.FileToLun) -> Job:
    lun = _ready(world, params.id)
    if params.confirm_identity != (lun.identity or lun.id):
        raise ApiProblem(
            "bad-request",
            "Another LUN stands here than the one that was confirmed.",
            side="this computer",
            check="look at the LUN's identity again",
        )
    if lun.read_only:
        raise ApiProblem(
            "storage", "The LUN is read-only (07/27/00).", side="target", check="see its mapping there"
        )
    length = min(256 * 2**20, lun.size_bytes - params.offset_bytes)
    _check_range(lun, params.offset_bytes, length)
    title = f"Write {params.path} to LUN {lun.lun}"
    return _copy_job(world, lun, "lun_from_file", title, length, {"bytes": str(length)})


def bench(world: World, params: api.BenchLun) -> Job:
    lun = _ready(world, params.id)
    iops = 30_000 * params.queue_depth // 32
    result = {
        "iops": str(iops),
        "bytes_per_s": str(iops * params.block_bytes),
        "p50_us": "210",
        "p90_us": "480",
        "p99_us": "900",
        "p999_us": "2100",
        "max_us": "5400",
        "pattern": params.pattern,
        "block_bytes": str(params.block_bytes),
        "queue_depth": str(params.queue_depth),
    }
    return world.job(
        "lun_bench",
        f"Measure LUN {lun.lun}",
        object_id=lun.id,
        total=params.seconds,
        unit="s",
        takes_s=params.seconds,
        finish=lambda: result,
    )
