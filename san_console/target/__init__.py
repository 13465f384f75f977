"""iSCSI target: listeners, sessions, device servers, backstores, access control."""

from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    LunConfig,
    MappingRule,
    TargetConfig,
    TargetLimits,
    parse_spec,
)
from san_console.target.errors import TargetError

__all__ = [
    "BackstoreSpec",
    "ChapConfig",
    "LunConfig",
    "MappingRule",
    "TargetConfig",
    "TargetError",
    "TargetLimits",
    "parse_spec",
]
