"""Endpoints that fail authentication are left alone for longer and longer (B48)."""

import pytest

from san_console.isns import negative_cache
from san_console.isns.negative_cache import FIRST_BLOCK_S, FREE_FAILURES, MAX_BLOCK_S, NegativeCache

PORTAL, TARGET = "10.0.0.1:3260", "iqn.2026-11.test:t1"


def test_repeated_failures_block_and_success_clears() -> None:
    cache = NegativeCache()
    for _ in range(FREE_FAILURES - 1):
        assert cache.failed(PORTAL, TARGET, 10.0) == 10.0
        assert cache.blocked_for(PORTAL, TARGET, 10.0) == 0.0
    assert cache.failed(PORTAL, TARGET, 10.0) == 10.0 + FIRST_BLOCK_S
    assert cache.blocked_for(PORTAL, TARGET, 20.0) == FIRST_BLOCK_S - 10
    assert cache.failed(PORTAL, TARGET, 100.0) == 100.0 + 2 * FIRST_BLOCK_S
    assert cache.blocked_for(PORTAL, "another", 100.0) == 0.0
    for _ in range(5000):
        assert cache.failed(PORTAL, TARGET, 0.0) <= MAX_BLOCK_S
    cache.succeeded(PORTAL, TARGET)
    cache.succeeded(PORTAL, TARGET)
    assert cache.blocked_for(PORTAL, TARGET, 100.0) == 0.0
    assert len(cache) == 0


def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negative_cache, "MAX_ENTRIES", 10)
    cache = NegativeCache()
    for number in range(100):
        cache.failed(PORTAL, f"iqn.2026-11.test:{number}", float(number))
    assert len(cache) == 10
