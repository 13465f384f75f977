"""What clients see of a session of our initiator, made from what the library shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from san_console.api.engine_objects import Sample
from san_console.api.initiator_objects import Connection, NegotiatedKey, SessionState
from san_console.api.initiator_objects import Session as SessionObject
from san_console.engine.problems import problem_of
from san_console.initiator.counters import SessionCounters
from san_console.initiator.session import Session
from san_console.iscsi.parameters import KeyRecord
from san_console.names.display import visible

_STATES: frozenset[str] = frozenset(get_args(SessionState))


def negotiated_keys(records: Iterable[KeyRecord]) -> list[NegotiatedKey]:
    return [
        NegotiatedKey(
            name=record.key,
            default=record.default,
            offered=record.offered or "",
            answered=record.answered or "",
            effective=record.effective,
            rule=record.rule,
            note=record.note,
        )
        for record in records
    ]


def describe_session(shown: SessionObject, session: Session) -> SessionObject:
    """`shown` brought up to date from `session`; a new object, so that the two can be compared."""
    assert session.state in _STATES
    state: SessionState = session.state  # type: ignore[assignment]  # one of its states, as asserted
    result = session.result
    described = SessionObject(
        id=shown.id,
        target=shown.target,
        portal=shown.portal,
        state=state,
        isid=session.isid.hex(),
        login=shown.login,
        attempt=session.attempt,
        next_retry_at=session.next_retry_at,
        problem=None,
        created_at=shown.created_at,
        logged_in_at=session.logged_in_at,
        window_size=session.window[1] or shown.window_size,
        lun_count=shown.lun_count,
        reconnects=session.counters.reconnects,
        digest_errors=session.counters.digest_errors,
        command_errors=session.counters.errors,
    )
    if result is not None:
        described.alias = visible(result.target_alias or "")
        described.tpgt = result.tpgt
        described.tsih = result.tsih
        described.auth = result.auth
        # The records of one login are converted once: they are the largest part of the object.
        same = shown.keys and shown.tsih == result.tsih and shown.logged_in_at == session.logged_in_at
        described.keys = shown.keys if same else negotiated_keys(result.keys)
    if state != "logged_in" and session.last_error is not None:
        described.problem = problem_of(session.last_error)
    header = result.params.header_digest if result is not None else "None"
    data = result.params.data_digest if result is not None else "None"
    described.connections = [
        Connection(
            cid=record["cid"],
            local=record["local_address"],
            remote=record["peer_address"],
            state="logged in",
            header_digest=header,
            data_digest=data,
            connected_at=session.logged_in_at,
        )
        for record in session.connections
    ]
    return described


def session_sample(
    session_id: str, session: Session, before: SessionCounters, at: float, interval_s: float
) -> Sample:
    """The figures since `before`, which was taken `interval_s` ago."""
    now = session.counters
    percentiles = now.interval_percentiles_us(before)
    used, size = session.window
    return Sample(
        id=session_id,
        at=at,
        read_bytes_per_s=(now.read_bytes - before.read_bytes) / interval_s,
        write_bytes_per_s=(now.write_bytes - before.write_bytes) / interval_s,
        read_iops=(now.reads - before.reads) / interval_s,
        write_iops=(now.writes - before.writes) / interval_s,
        p50_us=percentiles["p50"],
        p99_us=percentiles["p99"],
        window_used=used,
        window_size=size,
        errors=now.errors,
    )
