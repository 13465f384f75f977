"""The latency histogram: cheap, and right within an eighth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from san_console.initiator.counters import BUCKETS, SessionCounters, bucket, bucket_floor_us, percentile_us


@given(st.integers(0, 1 << 40))
def test_a_latency_lies_in_its_bucket(latency_us: int) -> None:
    index = bucket(latency_us)
    assert bucket_floor_us(index) <= latency_us
    if index < BUCKETS - 1:
        assert latency_us < bucket_floor_us(index + 1)
        assert bucket_floor_us(index + 1) - bucket_floor_us(index) <= max(bucket_floor_us(index) / 8, 1)


def test_time_that_runs_backwards_is_no_index_error() -> None:
    assert bucket(-5) == 0


def test_percentiles_of_a_known_distribution() -> None:
    histogram = [0] * BUCKETS
    for latency_us in range(1, 1001):
        histogram[bucket(latency_us)] += 1
    for fraction in (0.5, 0.9, 0.99):
        assert abs(percentile_us(histogram, fraction) - fraction * 1000) <= fraction * 1000 / 8
    assert percentile_us([0] * BUCKETS, 0.5) == 0
    last = [0] * BUCKETS
    last[-1] = 1
    assert percentile_us(last, 1.0) >= bucket_floor_us(BUCKETS - 1)


def test_an_interval_forgets_what_was_before() -> None:
    counters = SessionCounters()
    counters.histogram[bucket(10_000)] += 100
    before = counters.snapshot()
    counters.histogram[bucket(100)] += 1
    counters.reads += 1
    assert before.reads == 0
    assert abs(counters.interval_percentiles_us(before)["p99"] - 100) <= 13
    assert counters.interval_percentiles_us(counters) == {"p50": 0, "p99": 0}
