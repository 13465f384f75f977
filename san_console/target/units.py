"""Opening and closing the logical units of a target: backstore, serial number, identity."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial

from san_console.scsi.designators import naa_from_seed
from san_console.target.backstores import open_backstore
from san_console.target.config import LunConfig, TargetConfig
from san_console.target.logical_unit import LogicalUnit

SERIAL_CHARACTERS = 16


def identity_seed(target: str, lun: LunConfig) -> bytes:
    """What the identity of a LUN follows from: its seed, else target and LUN id, which never change."""
    return lun.naa_seed or f"{target}\0{lun.id}".encode()


async def open_units(
    config: TargetConfig, luns: list[LunConfig], pool: Executor, on_error: Callable[[str, str], None]
) -> dict[str, LogicalUnit]:
    """Open the backstores of `luns`, by LUN id. Raises BackstoreError; then none of them is open."""
    loop = asyncio.get_running_loop()
    units: dict[str, LogicalUnit] = {}
    try:
        for lun in luns:
            # In a thread: opening waits for the file system, and a new file may have to be allocated.
            backstore = await loop.run_in_executor(pool, open_backstore, lun.backstore, pool)
            seed = identity_seed(config.name, lun)
            units[lun.id] = LogicalUnit(
                lun,
                backstore,
                target_name=config.name,
                tpgt=config.groups[0].tag,
                serial=lun.serial or hashlib.sha256(b"serial\0" + seed).hexdigest()[:SERIAL_CHARACTERS],
                naa=naa_from_seed(seed),
                on_error=partial(on_error, config.name),
            )
    except BaseException:
        await close_units(units.values())
        raise
    return units


async def close_units(units: Iterable[LogicalUnit]) -> None:
    """Flush and close them all."""
    for unit in units:
        await unit.close()
