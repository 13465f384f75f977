"""The logical units of a target in the course of their lives: opened, taken offline and online again, lost
and found, grown, closed.

A LUN whose medium cannot be had stays what it is (number, identity, mappings, reservations), and is offline
with the reason; `OfflineBackstore` stands for the medium meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from weakref import WeakKeyDictionary

from san_console.names.display import visible
from san_console.scsi.designators import naa_from_seed
from san_console.scsi.sense import (
    CAPACITY_DATA_CHANGED,
    MODE_PARAMETERS_CHANGED,
    UNIT_ATTENTION,
    Condition,
)
from san_console.target.backstore import Backstore, refuse_shrink
from san_console.target.backstore_memory import OfflineBackstore
from san_console.target.backstores import open_backstore
from san_console.target.config import BackstoreSpec, LunConfig, TargetConfig
from san_console.target.errors import BackstoreError
from san_console.target.logical_unit import LogicalUnit

SERIAL_CHARACTERS = 16
TAKEN_OFFLINE = "it was taken offline"

MEDIUM_MAY_HAVE_CHANGED = Condition(UNIT_ATTENTION, 0x28, 0x00)
"""NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED: caches of the initiator are worth nothing any more."""


def identity_seed(target: str, lun: LunConfig) -> bytes:
    """What the identity of a LUN follows from: its seed, else target and LUN id, which never change."""
    return lun.naa_seed or f"{target}\0{lun.id}".encode()


async def open_units(
    config: TargetConfig,
    luns: list[LunConfig],
    pool: Executor,
    on_error: Callable[[str, str], None],
    *,
    strict: bool = True,
) -> dict[str, LogicalUnit]:
    """Open the backstores of `luns`, by LUN id.

    With `strict`, for what an operator adds now: raises BackstoreError, and none of them is open. Else, for
    what was configured before: a LUN that cannot be opened is offline, and `on_error` hears why; and no file
    is created, since an empty one in the place of one that is missing would pass for its content.
    """
    loop = asyncio.get_running_loop()
    units: dict[str, LogicalUnit] = {}
    try:
        # In a thread: opening waits for the file system, and a new file may have to be allocated.
        stores = await loop.run_in_executor(pool, _open_all, luns, pool, strict)
        for lun, store in zip(luns, stores, strict=True):
            units[lun.id] = unit = _unit(config, lun, store, partial(on_error, config.name))
            if not lun.online:
                unit.offline = TAKEN_OFFLINE
            elif store.failed:
                unit.offline = store.failed
                on_error(config.name, f"LUN {lun.name} is offline: {store.failed}")
    except BaseException:
        await close_units(units.values())
        raise
    return units


def _open_all(luns: list[LunConfig], pool: Executor, strict: bool) -> list[Backstore]:
    stores: list[Backstore] = []
    try:
        for lun in luns:
            stores.append(_open(lun, pool, strict))
    except BaseException:
        for store in stores:
            store.close()
        raise
    return stores


def _open(lun: LunConfig, pool: Executor, strict: bool) -> Backstore:
    spec = lun.backstore
    store: Backstore
    if not lun.online and spec.kind in ("file", "block"):
        store = OfflineBackstore(spec, TAKEN_OFFLINE)
    else:
        try:
            store = open_backstore(spec if strict else replace(spec, create=False), pool)
        except BackstoreError as error:
            if strict:
                raise
            store = OfflineBackstore(spec, error.cause)
    # One that has no cache stays as it is: there is nothing to turn on.
    store.write_cache = store.write_cache and lun.write_cache
    return store


def _unit(
    config: TargetConfig, lun: LunConfig, store: Backstore, on_error: Callable[[str], None]
) -> LogicalUnit:
    serial, naa = _identity(config.name, lun)
    return LogicalUnit(
        lun,
        store,
        target_name=config.name,
        tpgt=config.groups[0].tag,
        serial=serial,
        naa=naa,
        on_error=on_error,
    )


def _identity(target: str, lun: LunConfig) -> tuple[str, bytes]:
    seed = identity_seed(target, lun)
    serial = lun.serial or hashlib.sha256(b"serial\0" + seed).hexdigest()[:SERIAL_CHARACTERS]
    return serial, naa_from_seed(seed)


def rename_unit(unit: LogicalUnit, lun: LunConfig) -> None:
    """Let a unit say of itself what `lun` says: names, serial number, identity, geometry, threshold."""
    unit.config = lun
    unit.serial, unit.naa = _identity(unit.target_name, lun)


async def set_write_cache(unit: LogicalUnit, on: bool) -> None:
    """The operator turns the write cache on or off; initiators are told. A store that has none stays so.

    Raises BackstoreError when what was in the cache could not be made durable; it is off then all the same.
    """
    unit.config = replace(unit.config, write_cache=on)
    store = unit.backstore
    if store.volatile:
        return
    unit.device.default_mode.write_cache = on
    if store.write_cache == on:
        return  # an initiator has chosen the same meanwhile
    store.write_cache = unit.device.mode.write_cache = on
    unit.attention(MODE_PARAMETERS_CHANGED)
    if not on and not (unit.offline or store.read_only):
        try:
            await store.flush()
        except OSError as error:
            unit.report_error(error, writing=True)
            raise BackstoreError(
                f"What the cache of LUN {visible(unit.config.name)} held may be lost: {error.strerror}.",
                check="Check the medium.",
            ) from error


async def close_units(units: Iterable[LogicalUnit]) -> None:
    """Flush and close them all, at once: the media work side by side."""
    await asyncio.gather(*(unit.close() for unit in units))


_changes: WeakKeyDictionary[LogicalUnit, asyncio.Lock] = WeakKeyDictionary()


def changing(unit: LogicalUnit) -> asyncio.Lock:
    """Held while the medium of a unit is exchanged: the operator and the watch may both want to."""
    return _changes.setdefault(unit, asyncio.Lock())


def _refresh(unit: LogicalUnit) -> None:
    for nexus in unit.nexuses:
        nexus.refresh()


def go_offline(unit: LogicalUnit, reason: str) -> None:
    """From now on no command reaches the medium; those that are with it end as they may."""
    unit.offline = reason
    _refresh(unit)


def go_online(unit: LogicalUnit, store: Backstore) -> None:
    """`store` is the medium from now on. Initiators are told what may be different."""
    unit.backstore = store
    unit.offline = ""
    _take_size(unit)
    if not store.volatile:  # anybody may have written to it meanwhile
        unit.attention(MEDIUM_MAY_HAVE_CHANGED)


def _take_size(unit: LogicalUnit) -> None:
    blocks = unit.backstore.size_bytes // unit.backstore.block_bytes
    # 0: it was offline from the start, and no initiator has been told a size.
    grown = unit.blocks not in (0, blocks)
    unit.blocks = blocks
    _refresh(unit)
    if grown:
        unit.attention(CAPACITY_DATA_CHANGED)


async def set_online(unit: LogicalUnit, online: bool, pool: Executor) -> None:
    """The operator takes a unit offline, or brings it back. Offline, its file or device is let go of: it may
    be copied, moved, or replaced.

    Raises BackstoreError when the medium cannot be had; the unit is then offline for that reason, and comes
    online by itself once it can.
    """
    async with changing(unit):
        unit.config = replace(unit.config, online=online)
        if not online:
            go_offline(unit, TAKEN_OFFLINE)
            await unit.settle()
            if not unit.backstore.volatile:
                await _let_go(unit)
        elif unit.offline:
            await _retry(unit, pool)


async def _let_go(unit: LogicalUnit) -> None:
    store = unit.backstore
    unit.backstore = OfflineBackstore(_spec_of(unit), TAKEN_OFFLINE)
    unit.backstore.write_cache = store.write_cache
    _refresh(unit)
    try:
        if not store.read_only and not store.failed:
            await store.flush()
    except OSError as error:
        unit.report_error(error, writing=True)
    finally:
        store.close()


def _spec_of(unit: LogicalUnit) -> BackstoreSpec:
    """What to open again: never to be created, and no smaller than what initiators have seen."""
    spec = unit.config.backstore
    seen_bytes = unit.blocks * unit.block_bytes
    return replace(spec, create=False, size_bytes=spec.size_bytes and max(spec.size_bytes, seen_bytes))


async def retry_offline(unit: LogicalUnit, pool: Executor) -> None:
    """The medium should be there again: look, and go online. Forgives what went wrong before, a failed flush
    too. Raises BackstoreError with what is still wrong; an offline unit stays so.
    """
    async with changing(unit):
        await _retry(unit, pool)


async def _retry(unit: LogicalUnit, pool: Executor) -> None:
    if not unit.config.online:
        raise BackstoreError(
            f"LUN {visible(unit.config.name)} was taken offline by hand.", check="Bring it online."
        )
    store = unit.backstore
    try:
        if isinstance(store, OfflineBackstore):
            store = await asyncio.get_running_loop().run_in_executor(pool, _open_again, unit, pool)
        else:
            await store.reopen()
    except BackstoreError as error:
        if unit.offline:
            go_offline(unit, error.cause)
        raise
    go_online(unit, store)


def _open_again(unit: LogicalUnit, pool: Executor) -> Backstore:
    store = open_backstore(_spec_of(unit), pool)
    try:
        refuse_shrink(unit.blocks * unit.block_bytes, store.size_bytes)
    except BackstoreError:
        store.close()
        raise
    store.write_cache = unit.backstore.write_cache  # what an initiator may have chosen stays
    return store


async def grow_unit(unit: LogicalUnit, size_bytes: int = 0) -> int:
    """Make a unit larger, to `size_bytes`, or with 0 to what its file or device has by now. Its initiators
    are told by a unit attention. Returns the size. Raises BackstoreError; then nothing has changed.
    """
    async with changing(unit):
        if unit.offline:
            raise BackstoreError(
                f"LUN {visible(unit.config.name)} is offline: {unit.offline}.", check="Bring it online first."
            )
        await unit.backstore.resize(size_bytes)
        _take_size(unit)
        spec = unit.config.backstore
        if spec.size_bytes:  # 0 means all there is, and goes on to do so
            spec = replace(spec, size_bytes=unit.backstore.size_bytes)
            unit.config = replace(unit.config, backstore=spec)
        return unit.backstore.size_bytes
