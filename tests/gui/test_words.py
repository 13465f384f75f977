"""Figures in words."""

import pytest

from san_console.gui import words

pytestmark = pytest.mark.gui


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (512, "512 B"), (64 * 2**30, "64 GiB"), (2 * 2**40, "2.0 TiB"), (512 * 2**30, "512 GiB")],
)
def test_sizes_are_binary(value: float, text: str) -> None:
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B/s"), (435e6, "435 MB/s"), (1.24e9, "1.24 GB/s"), (21.5e6, "21.5 MB/s")]
)
def test_rates_are_decimal(value: float, text: str) -> None:
    assert words.rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5 s"),
        (1320, "22 m"),
        (11 * 3600 + 2400, "11 h 40 m"),
        (4 * 86400 + 7200, "4 d 02 h"),
        (-1, "0 s"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert words.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "–"), (85, "85 µs"), (900, "0.9 ms"), (6_400, "6.4 ms"), (2e6, "2.00 s")]
)
def test_latencies(value: float, text: str) -> None:
    assert words.latency(value) == text


def test_counts_and_names() -> None:
    assert words.counted(1, "target") == "1 target"
    assert words.counted(10_000, "target") == "10,000 targets"
    assert words.ago(125) == "2 min ago"
    assert words.short_name("iqn.2026-11.org.example:prod-db") == "prod-db"
    assert words.short_name("naa.52004567ba64678d") == "naa.52004567ba64678d"


def test_numbers_in_a_row_are_a_range() -> None:
    assert words.ranges([]) == "–"
    assert words.ranges([3]) == "3"
    assert words.ranges([3, 0, 1, 2, 7, 9, 10]) == "0–3, 7, 9–10"
