"""Objects about the engine itself: who it is, its events, jobs, identities and figures.

Times are seconds since the epoch (float). `id` is unique within a collection.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from san_console.api.problems import Problem

Severity = Literal["info", "warning", "error"]
KeyringState = Literal["unlocked", "locked", "missing", "memory", "unknown"]
JobState = Literal["running", "done", "failed", "cancelled"]
SecretPlace = Literal["keyring", "memory", "missing"]


class Keyring(msgspec.Struct, kw_only=True):
    """Where CHAP secrets are kept, and how to mend it where they cannot be."""

    state: KeyringState = "unknown"
    backend: str = ""
    fix: str = ""


class EngineInfo(msgspec.Struct, kw_only=True):
    """The one object of the collection `engine`; its id is always `engine`."""

    id: str = "engine"
    version: str
    api_version: int
    pid: int
    host_name: str
    started_at: float
    data_dir: str
    initiator_name: str
    keyring: Keyring
    digests_accelerated: bool = True
    state_note: str = ""
    """Said when the engine could not take its state over, e.g. a damaged file that was kept aside."""
    lab: bool = False
    discovery_identity_ids: list[str] = []
    """CHAP identities that discovery sessions with local targets have to log in with; empty: none."""
    discovery_mutual_identity_id: str = ""


class Interface(msgspec.Struct, kw_only=True):
    """A network interface of the engine's host; `id` is its name."""

    id: str
    addresses: list[str]
    mtu: int
    up: bool


class Identity(msgspec.Struct, kw_only=True):
    """A CHAP identity. The secret itself is never part of any answer."""

    id: str
    user: str
    note: str = ""
    place: SecretPlace = "missing"
    used_by: list[str] = []
    """What uses it, in words: `logs in to iqn…`, `proves iqn…`, `accepted by iqn…`."""
    findings: list[str] = []
    """What the rules of RFC 7143 §9.2.1 say of the secret, e.g. shared between peers."""
    created_at: float = 0.0


class Event(msgspec.Struct, kw_only=True):
    """Something that happened. `id` grows by one; events are kept when their object is gone."""

    id: str
    at: float
    severity: Severity
    kind: str
    """login, login_failed, redirected, connection_lost, retry_scheduled, recovered, logout, …"""
    object_kind: str
    """engine, source, target, session, lun, local_target, target_session, isns, identity, job"""
    object_id: str
    text: str
    cause: str = ""
    side: str = ""
    check: str = ""


class Job(msgspec.Struct, kw_only=True):
    """Long work. Ended jobs stay for a while so that their result can be read."""

    id: str
    kind: str
    title: str
    object_id: str = ""
    state: JobState = "running"
    done: float = 0.0
    total: float = 0.0
    """0 where the amount of work is not known."""
    unit: str = ""
    """`bytes`, `targets`, `s`, …: what `done` and `total` count."""
    message: str = ""
    result: dict[str, str] = {}
    problem: Problem | None = None
    started_at: float = 0.0
    ended_at: float | None = None


class Sample(msgspec.Struct, kw_only=True):
    """Figures of one second of a session (either role), or of the engine as a whole (id `engine`)."""

    id: str
    at: float
    read_bytes_per_s: float = 0.0
    write_bytes_per_s: float = 0.0
    read_iops: float = 0.0
    write_iops: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    window_used: int = 0
    window_size: int = 0
    errors: int = 0
    """Since the session began."""
    loop_lag_ms: float = 0.0
    """Only in the sample of the engine: how late its event loop came round."""
