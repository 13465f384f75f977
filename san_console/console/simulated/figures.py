"""Figures of simulated sessions: smooth, never the same twice, always the same for one seed and second."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Final

from san_console.api.engine_objects import Sample

HISTORY_S: Final = 300
"""As much as `statistics.history` gives."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a session does on average. Rates per second, latencies in microseconds."""

    read_bytes: float
    write_bytes: float
    read_iops: float
    write_iops: float
    p50_us: float
    p99_us: float
    window: int = 128
    window_share: float = 0.2


IDLE: Final = Load(0, 0, 0, 0, 0, 0, window=64, window_share=0)

LIGHT: Final = Load(2.1e6, 0.6e6, 240, 60, 180, 640, window=64, window_share=0.05)
"""What a session does that was logged in during the simulation."""


def wave(name: str, second: int) -> float:
    """A factor around 1, between about 0.6 and 1.4, that changes slowly with some jitter."""
    phase = (zlib.crc32(name.encode()) % 6283) / 1000
    jitter = (zlib.crc32(f"{name} {second}".encode()) % 1000) / 1000 - 0.5
    return 1 + 0.17 * math.sin(second / 7 + phase) + 0.11 * math.sin(second / 2.3 + phase * 2) + 0.2 * jitter


def sample(object_id: str, load: Load, second: int, *, lost: bool = False, errors: int = 0) -> Sample:
    """The figures of one second; `lost`: nothing moved, since no connection was up."""
    if lost or load is IDLE:
        return Sample(id=object_id, at=float(second), window_size=load.window, errors=errors)
    reads = wave(f"{object_id} r", second)
    writes = wave(f"{object_id} w", second)
    slow = wave(f"{object_id} l", second)
    return Sample(
        id=object_id,
        at=float(second),
        read_bytes_per_s=load.read_bytes * reads,
        write_bytes_per_s=load.write_bytes * writes,
        read_iops=load.read_iops * reads,
        write_iops=load.write_iops * writes,
        p50_us=load.p50_us * (0.8 + 0.2 * slow),
        p99_us=load.p99_us * slow * wave(f"{object_id} t", second),
        window_used=min(round(load.window * load.window_share * wave(f"{object_id} q", second)), load.window),
        window_size=load.window,
        errors=errors,
    )


def engine_sample(sessions: list[Sample], second: int) -> Sample:
    """The sum over all sessions, and how late the engine's loop came round."""
    return Sample(
        id="engine",
        at=float(second),
        read_bytes_per_s=sum(one.read_bytes_per_s for one in sessions),
        write_bytes_per_s=sum(one.write_bytes_per_s for one in sessions),
        read_iops=sum(one.read_iops for one in sessions),
        write_iops=sum(one.write_iops for one in sessions),
        p50_us=max((one.p50_us for one in sessions), default=0.0),
        p99_us=max((one.p99_us for one in sessions), default=0.0),
        errors=sum(one.errors for one in sessions),
        loop_lag_ms=0.4 * wave("engine lag", second),
    )
