"""What a target offers at login and bounds, changeable for new sessions."""

from __future__ import annotations

from dataclasses import dataclass

from san_console.target.errors import ConfigError

MAX_CONNECTIONS_PER_SESSION = 8  # the most that the field's targets take; RFC 7143 §13.2 would allow 65535
DIGESTS = ("none", "prefer", "require")
_BYTES = (512, (1 << 24) - 1)  # RFC 7143 §13.12 to §13.14

# Field: (least, most), from RFC 7143 §13 and, for what it leaves open, from what a host can bear.
_RANGES: dict[str, tuple[float, float]] = {
    "max_sessions": (1, 65535),
    "command_window": (1, 4096),
    "max_recv_data_segment_bytes": _BYTES,
    "max_burst_bytes": _BYTES,
    "first_burst_bytes": _BYTES,
    "max_outstanding_r2t": (1, 65535),
    "nop_in_interval_s": (0, 3600),
    "nop_in_timeout_s": (0.05, 3600),
    "max_connections": (1, MAX_CONNECTIONS_PER_SESSION),
    "error_recovery_level": (0, 2),
    "default_time2wait_s": (0, 3600),
    "default_time2retain_s": (0, 3600),
    "login_timeout_s": (0.05, 600),
}


@dataclass(frozen=True, slots=True)
class TargetLimits:
    """What the target offers and bounds; each number is the RFC key or a protection of this machine."""

    max_sessions: int = 544  # as Windows Target Server, the published limit of the field
    command_window: int = 128  # open-iscsi's cmds_max; a held-back command costs one header
    max_recv_data_segment_bytes: int = 262144  # one Data-Out per 256 KiB write
    max_burst_bytes: int = 1 << 20
    first_burst_bytes: int = 262144
    max_outstanding_r2t: int = 8
    initial_r2t: bool = False
    immediate_data: bool = True
    header_digest: str = "none"
    data_digest: str = "none"
    nop_in_interval_s: float = 15.0  # LIO's nopin_timeout
    nop_in_timeout_s: float = 60.0  # single-threaded initiators sleep for a minute (libiscsi's test tool)
    max_connections: int = MAX_CONNECTIONS_PER_SESSION
    error_recovery_level: int = 2
    default_time2wait_s: int = 2
    default_time2retain_s: int = 20
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    login_timeout_s: float = 15.0  # over the whole login; LIO's login_timeout

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(
                    f"{name.replace('_', ' ')} cannot be {value}.", check=f"Choose {least:g} to {most:g}."
                )
        if self.header_digest not in DIGESTS or self.data_digest not in DIGESTS:
            raise ConfigError(
                "A digest is asked for in a way that does not exist.",
                check=f"Choose one of {', '.join(DIGESTS)}.",
            )
        if self.first_burst_bytes > self.max_burst_bytes:
            raise ConfigError(
                "The first burst cannot be larger than a burst (RFC 7143 §13.14).",
                check="Make FirstBurstLength at most MaxBurstLength.",
            )
