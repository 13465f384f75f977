"""What a session has done, cheap enough to count on each command."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Eight steps per power of two: a percentile is off by an eighth at most. 256 of them reach to 2**33 µs.
_STEPS_BITS = 3
BUCKETS = 256


def bucket(latency_us: int) -> int:
    """The histogram bucket of a latency in microseconds."""
    if latency_us < 16:
        return latency_us if latency_us > 0 else 0
    exponent = latency_us.bit_length() - 1 - _STEPS_BITS
    return min((exponent << _STEPS_BITS) + (latency_us >> exponent), BUCKETS - 1)


def bucket_floor_us(index: int) -> int:
    """The smallest latency that falls into a bucket."""
    if index < 16:
        return index
    exponent = (index >> _STEPS_BITS) - 1
    return ((index & 7) + 8) << exponent


def percentile_us(histogram: list[int], fraction: float) -> int:
    """The latency in microseconds that `fraction` of the commands stayed within; 0 without commands."""
    total = sum(histogram)
    if not total:
        return 0
    wanted, seen = fraction * total, 0
    for index, count in enumerate(histogram):
        seen += count
        if count and seen >= wanted:
            # The middle of the bucket: its ends would be wrong in one direction always.
            return (bucket_floor_us(index) + max(bucket_floor_us(index + 1) - 1, 0)) // 2
    return bucket_floor_us(BUCKETS - 1)


@dataclass(slots=True)
class SessionCounters:
    """Totals since the session object was made; they survive reconnects."""

    reads: int = 0
    writes: int = 0
    others: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    errors: int = 0
    digest_errors: int = 0
    timeouts: int = 0
    reconnects: int = 0
    reissued: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def snapshot(self) -> SessionCounters:
        """A copy that later counts do not change."""
        return SessionCounters(
            self.reads,
            self.writes,
            self.others,
            self.read_bytes,
            self.write_bytes,
            self.errors,
            self.digest_errors,
            self.timeouts,
            self.reconnects,
            self.reissued,
            self.histogram.copy(),
        )

    def interval_percentiles_us(self, earlier: SessionCounters) -> dict[str, int]:
        """p50 and p99 in microseconds of the commands that ended since `earlier`, a snapshot."""
        difference = [now - then for now, then in zip(self.histogram, earlier.histogram, strict=True)]
        return {"p50": percentile_us(difference, 0.5), "p99": percentile_us(difference, 0.99)}
