"""Reservations in the state: durable when `save` returns, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from san_console.api.problems import ApiProblem
from san_console.engine.reservation_store import StateReservations
from san_console.engine.state import StateStore, open_state

LAB = "iqn.2026-11.org.example:lab"
NAME = "iqn.2026-11.org.example:disks"


def kept(name: str) -> bool:
    return name != LAB


async def reopened(state: StateStore, folder: Path) -> tuple[StateStore, StateReservations]:
    await state.close()
    state = open_state(folder, now=0)
    return state, StateReservations(state, kept)


async def test_what_was_saved_is_there_again_and_what_was_forgotten_is_not(tmp_path: Path) -> None:
    state = open_state(tmp_path, now=0)
    store = StateReservations(state, kept)
    for lun_id in ("a", "b", "c"):
        await store.save(NAME, lun_id, lun_id.encode() * 3)
    await store.save(LAB, "a", b"lab")
    await store.save(NAME, "c", None)
    assert store.load(LAB, "a") == b"lab"
    state, store = await reopened(state, tmp_path)
    assert [store.load(NAME, one) for one in "abc"] == [b"aaa", b"bbb", None]
    assert store.load(LAB, "a") is None
    store.forget(NAME, {"a"})
    await state.settled()
    state, store = await reopened(state, tmp_path)
    assert [store.load(NAME, one) for one in "ab"] == [None, b"bbb"]
    store.forget(NAME)
    await state.settled()
    state, store = await reopened(state, tmp_path)
    assert store.load(NAME, "b") is None
    await state.close()


async def test_save_returns_after_the_commit(tmp_path: Path) -> None:
    state = open_state(tmp_path, now=0)
    await StateReservations(state, kept).save(NAME, "a", b"x")
    # A second reader of the very file, as after a kill of this process at this moment.
    other = open_state(tmp_path, now=0)
    assert StateReservations(other, kept).load(NAME, "a") == b"x"
    await other.close()
    await state.close()


async def test_what_could_not_be_kept_is_not_kept_later_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = open_state(tmp_path, now=0)
    store = StateReservations(state, kept)
    await store.save(NAME, "a", b"before")

    async def full(*, check: bool = True) -> None:
        raise ApiProblem("storage", "The state cannot be written: disk full.")

    with monkeypatch.context() as patch:
        patch.setattr(state, "settled", full)
        with pytest.raises(OSError, match="disk full"):
            await store.save(NAME, "a", b"after")
        with pytest.raises(OSError, match="disk full"):
            await store.save(NAME, "b", b"new")
    assert (store.load(NAME, "a"), store.load(NAME, "b")) == (b"before", None)
    await state.settled()
    state, store = await reopened(state, tmp_path)
    assert (store.load(NAME, "a"), store.load(NAME, "b")) == (b"before", None)
    await state.close()
