"""The lives of logical units: opened, offline, online, lost, found, grown."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from san_console.names.portal import Portal
from san_console.scsi.sense import CAPACITY_DATA_CHANGED, MODE_PARAMETERS_CHANGED, Condition
from san_console.target.backstore_memory import OfflineBackstore
from san_console.target.config import BackstoreSpec, LunConfig, PortalGroup, TargetConfig
from san_console.target.errors import BackstoreError
from san_console.target.logical_unit import LogicalUnit
from san_console.target.unit_watch import SOFT_THRESHOLD_REACHED, UnitNews, UnitWatch
from san_console.target.units import (
    MEDIUM_MAY_HAVE_CHANGED,
    TAKEN_OFFLINE,
    close_units,
    grow_unit,
    open_units,
    rename_unit,
    retry_offline,
    set_online,
    set_write_cache,
)

SIZE = 1 << 20


class FakeNexus:
    """What a unit tells a session."""

    def __init__(self) -> None:
        self.attentions: list[Condition] = []
        self.refreshed = 0

    def add_attention(self, condition: Condition) -> None:
        self.attentions.append(condition)

    def refresh(self) -> None:
        self.refreshed += 1

    def take(self) -> list[Condition]:
        taken, self.attentions = self.attentions, []
        return taken


class Bench:
    """Opens units, listens to one."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.errors: list[str] = []
        self.news: list[UnitNews] = []
        self.nexus = FakeNexus()
        self.units: dict[str, LogicalUnit] = {}
        self.watch = UnitWatch(lambda: self.units.values(), pool, self.news.append)

    async def open(self, spec: BackstoreSpec, *, strict: bool = True, **fields: Any) -> LogicalUnit:
        lun = LunConfig("a", "disk", spec, **fields)
        config = TargetConfig(
            "iqn.2026-11.org.example:t", [PortalGroup(1, [Portal("127.0.0.1", 0)])], luns=[lun]
        )
        self.units = await open_units(
            config, [lun], self.pool, lambda _, text: self.errors.append(text), strict=strict
        )
        self.units["a"].nexuses.add(self.nexus)  # type: ignore[arg-type]  # what a unit uses of a nexus
        return self.units["a"]

    def kinds(self) -> list[str]:
        return [one.kind for one in self.news]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(2) as pool:
        yield Bench(pool)


def disk(path: Path, **fields: Any) -> BackstoreSpec:
    return BackstoreSpec("file", str(path), SIZE, create=True, **fields)


async def test_a_lun_without_its_file_is_offline_and_comes_back(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path), strict=False)
    assert "does not exist" in unit.offline
    assert "is offline" in bench.errors[0]
    assert not path.exists(), "a file that is missing was replaced by an empty one"
    assert unit.blocks == SIZE // 512
    identity = unit.naa
    for attempt in (unit.backstore.read(0, 512), unit.backstore.write(0, b"x"), unit.backstore.flush()):
        with pytest.raises(OSError, match="does not exist"):
            await attempt
    await bench.watch.look()
    assert unit.offline
    assert bench.kinds() == []

    path.write_bytes(b"d" * SIZE)
    await bench.watch.look()
    assert (unit.offline, bench.kinds(), unit.naa) == ("", ["lun_online"], identity)
    assert bench.nexus.refreshed
    assert MEDIUM_MAY_HAVE_CHANGED in bench.nexus.take()
    assert bytes(await unit.backstore.read(0, 512)) == b"d" * 512
    await close_units([unit])


async def test_a_lun_of_unknown_size_gets_it_from_its_file(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(BackstoreSpec("file", str(path)), strict=False)
    assert unit.blocks == 0
    path.write_bytes(bytes(SIZE))
    await retry_offline(unit, bench.pool)
    assert unit.blocks == SIZE // 512
    assert CAPACITY_DATA_CHANGED not in bench.nexus.take()
    await close_units([unit])


async def test_what_an_operator_adds_now_has_to_be_there(tmp_path: Path, bench: Bench) -> None:
    with pytest.raises(BackstoreError, match="does not exist"):
        await bench.open(BackstoreSpec("file", str(tmp_path / "typo")))


async def test_one_that_fails_lets_go_of_the_others(tmp_path: Path, bench: Bench) -> None:
    good = LunConfig("a", "a", disk(tmp_path / "a"))
    bad = LunConfig("b", "b", BackstoreSpec("file", str(tmp_path / "b")))
    groups = [PortalGroup(1, [Portal("127.0.0.1", 0)])]
    config = TargetConfig("iqn.2026-11.org.example:t", groups, luns=[good, bad])
    with pytest.raises(BackstoreError, match="does not exist"):
        await open_units(config, config.luns, bench.pool, lambda *_: None)
    unit = await bench.open(disk(tmp_path / "a"))  # its lock is free
    await close_units([unit])


@pytest.mark.parametrize("how", ["moved", "replaced", "cut short"])
async def test_a_file_that_is_lost_while_it_is_served(tmp_path: Path, bench: Bench, how: str) -> None:
    path, aside = tmp_path / "disk", tmp_path / "aside"
    unit = await bench.open(disk(path))
    await unit.backstore.write(0, b"old!" * 128)
    await bench.watch.look()
    assert unit.offline == ""
    if how == "cut short":
        os.truncate(path, 4096)
    else:
        path.rename(aside)
        if how == "replaced":
            path.write_bytes(b"new!" * (SIZE // 4))
    await bench.watch.look()
    assert {"moved": "moved away", "replaced": "another file", "cut short": "cut short"}[how] in unit.offline
    assert bench.kinds() == ["lun_offline"]
    assert unit.config.name in bench.news[0].text
    await bench.watch.look()
    assert bench.kinds() == ["lun_offline"], "it was told twice"

    if how == "cut short":
        os.truncate(path, SIZE)
        await bench.watch.look()
        assert unit.offline, "a file with zeros at its end came online by itself"
        with pytest.raises(OSError, match="cut short"):
            await unit.backstore.write(0, b"x" * 512)
        await retry_offline(unit, bench.pool)
        assert await unit.backstore.read(SIZE - 512, 512) == bytes(512)
    elif how == "replaced":
        await bench.watch.look()
        assert unit.offline, "another file came online by itself"
        await retry_offline(unit, bench.pool)
        assert bytes(await unit.backstore.read(0, 512)) == b"new!" * 128
    else:
        aside.rename(path)
        await bench.watch.look()
        assert bench.kinds() == ["lun_offline", "lun_online"]
        assert bytes(await unit.backstore.read(0, 512)) == b"old!" * 128
    assert unit.offline == ""
    assert bench.nexus.take() == [MEDIUM_MAY_HAVE_CHANGED]
    await unit.backstore.write(0, b"x" * 512, fua=True)
    assert path.read_bytes()[:512] == b"x" * 512
    await close_units([unit])


async def test_what_a_deleted_file_held_can_be_saved(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path))
    await unit.backstore.write(0, b"save" * 128)
    path.unlink()
    await bench.watch.look()
    place = unit.offline.rpartition(" ")[2]
    assert place.startswith("/proc/")
    await asyncio.to_thread(shutil.copy, place, path)
    await bench.watch.look()
    assert "another file" in unit.offline, "a copy came online by itself"
    await retry_offline(unit, bench.pool)
    assert bytes(await unit.backstore.read(0, 512)) == b"save" * 128
    await close_units([unit])


async def test_a_unit_that_is_removed_meanwhile_is_left_alone(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path))
    looking = asyncio.create_task(bench.watch.look())
    await asyncio.sleep(0)
    bench.units.clear()
    path.unlink()
    await close_units([unit])
    await looking
    assert bench.kinds() == []
    assert unit.backstore.examine() == ""


async def test_a_shorter_file_is_not_taken_instead(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path))
    path.unlink()
    path.write_bytes(bytes(4096))
    await bench.watch.look()
    with pytest.raises(BackstoreError, match="too small"):
        await retry_offline(unit, bench.pool)
    assert "too small" in unit.offline
    await close_units([unit])


async def test_offline_lets_go_of_the_file(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path), write_cache=False)
    await unit.backstore.write(0, b"old!" * 128)
    await set_online(unit, False, bench.pool)
    assert (unit.offline, unit.config.online) == (TAKEN_OFFLINE, False)
    assert isinstance(unit.backstore, OfflineBackstore)
    await bench.watch.look()
    assert unit.offline == TAKEN_OFFLINE, "the watch overruled the operator"
    with pytest.raises(BackstoreError, match="by hand"):
        await retry_offline(unit, bench.pool)

    path.write_bytes(b"new!" * (SIZE // 2))  # another one may be put in its place, a larger one too
    await set_online(unit, True, bench.pool)
    assert (unit.offline, unit.blocks) == ("", SIZE // 512)
    assert not unit.backstore.write_cache
    assert bytes(await unit.backstore.read(0, 512)) == b"new!" * 128
    assert bench.nexus.take() == [MEDIUM_MAY_HAVE_CHANGED]
    await set_online(unit, True, bench.pool)
    assert bench.nexus.take() == []

    await set_online(unit, False, bench.pool)
    path.unlink()
    with pytest.raises(BackstoreError, match="does not exist"):
        await set_online(unit, True, bench.pool)
    assert "does not exist" in unit.offline
    path.write_bytes(bytes(SIZE))
    await bench.watch.look()
    assert unit.offline == ""
    await close_units([unit])


async def test_memory_keeps_its_data_while_it_is_offline(bench: Bench) -> None:
    unit = await bench.open(BackstoreSpec("memory", size_bytes=SIZE))
    await unit.backstore.write(0, b"keep" * 128)
    await set_online(unit, False, bench.pool)
    await set_online(unit, True, bench.pool)
    assert bytes(await unit.backstore.read(0, 512)) == b"keep" * 128
    assert bench.nexus.take() == []
    await close_units([unit])


async def test_a_lun_that_was_offline_stays_so_at_the_start(tmp_path: Path, bench: Bench) -> None:
    unit = await bench.open(disk(tmp_path / "disk"), strict=False, online=False)
    assert unit.offline == TAKEN_OFFLINE
    assert bench.errors == []
    await close_units([unit])


@pytest.mark.parametrize("kind", ["file", "memory", "null"])
async def test_growing_is_told(tmp_path: Path, bench: Bench, kind: str) -> None:
    spec = disk(tmp_path / "disk") if kind == "file" else BackstoreSpec(kind, size_bytes=SIZE)  # type: ignore[arg-type]
    unit = await bench.open(spec)
    assert await grow_unit(unit, 2 * SIZE) == 2 * SIZE
    assert (unit.blocks, unit.config.backstore.size_bytes) == (2 * SIZE // 512, 2 * SIZE)
    assert bench.nexus.take() == [CAPACITY_DATA_CHANGED]
    assert bench.nexus.refreshed
    assert not any(await unit.backstore.read(SIZE, SIZE))
    with pytest.raises(BackstoreError, match="cannot become smaller"):
        await grow_unit(unit, SIZE)
    assert unit.blocks == 2 * SIZE // 512
    assert bench.nexus.take() == []
    await set_online(unit, False, bench.pool)
    with pytest.raises(BackstoreError, match="is offline"):
        await grow_unit(unit, 4 * SIZE)
    await close_units([unit])


async def test_a_file_that_grew_outside(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    unit = await bench.open(BackstoreSpec("file", str(path)))
    assert await grow_unit(unit) == SIZE
    assert bench.nexus.take() == []
    os.truncate(path, 3 * SIZE + 100)
    assert await grow_unit(unit) == 3 * SIZE
    assert bench.nexus.take() == [CAPACITY_DATA_CHANGED]
    assert unit.config.backstore.size_bytes == 0
    await close_units([unit])


async def test_the_soft_threshold_is_told_once(tmp_path: Path, bench: Bench) -> None:
    unit = await bench.open(disk(tmp_path / "disk", thin=True), soft_threshold_percent=50)

    async def use(percent: int) -> list[Condition]:
        await unit.backstore.unmap([(0, SIZE)])
        await unit.backstore.write(0, b"x" * (SIZE * percent // 100 // 4096 * 4096))
        await unit.backstore.flush()
        await bench.watch.look()
        return bench.nexus.take()

    assert await use(30) == []
    assert await use(60) == [SOFT_THRESHOLD_REACHED]
    assert await use(70) == []
    assert await use(48) == []
    assert await use(60) == [], "the use had not fallen far enough"
    assert await use(20) == []
    assert await use(90) == [SOFT_THRESHOLD_REACHED]
    assert bench.kinds() == ["threshold_reached"] * 2
    assert "60 %" in bench.news[0].text or "59 %" in bench.news[0].text
    await close_units([unit])


async def test_what_a_lun_says_of_itself_can_be_changed(tmp_path: Path, bench: Bench) -> None:
    unit = await bench.open(disk(tmp_path / "disk"))
    serial, naa = unit.serial, unit.naa
    rename_unit(unit, replace(unit.config, name="new name", serial="S1"))
    assert (unit.config.name, unit.serial, unit.naa) == ("new name", "S1", naa)
    rename_unit(unit, replace(unit.config, serial="", naa_seed=b"another"))
    assert unit.serial != serial
    assert unit.naa != naa
    await close_units([unit])


async def test_the_write_cache_can_be_turned_off(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = await bench.open(disk(tmp_path / "disk"))
    await set_write_cache(unit, True)
    assert bench.nexus.take() == []
    await set_write_cache(unit, False)
    assert not unit.backstore.write_cache
    assert bench.nexus.take() == [MODE_PARAMETERS_CHANGED]
    await set_write_cache(unit, True)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(BackstoreError, match="may be lost"):
        await set_write_cache(unit, False)
    assert not unit.backstore.write_cache
    assert bench.errors
    await close_units([unit])


async def test_the_watch_runs_until_it_is_stopped(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "disk"
    unit = await bench.open(disk(path))
    watch = UnitWatch(lambda: [unit], bench.pool, bench.news.append, interval_s=0.001)
    watch.start()
    watch.start()
    path.unlink()
    async with asyncio.timeout(10):
        while not unit.offline:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)
    await watch.stop()
    await watch.stop()
    assert "deleted" in unit.offline
    await close_units([unit])


async def test_the_watch_goes_on_whatever_one_medium_does(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    faults: list[Exception] = [OSError(9, "Bad file descriptor")]
    one, two = await bench.open(disk(tmp_path / "a")), await bench.open(disk(tmp_path / "b"))

    def broken() -> str:
        raise faults[-1]

    monkeypatch.setattr(one.backstore, "examine", broken)
    watch = UnitWatch(lambda: [one, two], bench.pool, bench.news.append, interval_s=0.001)
    (tmp_path / "b").unlink()
    await watch.look()
    assert (bool(one.offline), bool(two.offline)) == (False, True)
    faults.append(ValueError("ours"))
    watch.start()
    async with asyncio.timeout(10):
        while len(heard) < 2:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)
    await watch.stop()
    assert set(heard) == {faults[-1]}
    await close_units([one, two])
