"""Ask a portal which targets there are (SendTargets), or only whether anybody is there."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from san_console.initiator import tcp
from san_console.initiator.connection import Connection
from san_console.initiator.counters import SessionCounters
from san_console.initiator.errors import InitiatorError, LoginRefused, ProtocolViolation, SessionLost
from san_console.initiator.login import LoggedIn, OnRedirect, log_in
from san_console.initiator.settings import LOGIN_TIMEOUT_S, SessionSettings, random_isid
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import COMPLETED
from san_console.iscsi.send_targets import (
    MAX_LIST_BYTES,
    DiscoveredTargetRecord,
    build_request,
    parse_response,
)
from san_console.names.credentials import ChapCredentials
from san_console.names.portal import Portal

#: Each part costs a round trip; a target that trickles its list is not telling us anything.
MAX_ANSWER_PARTS = 4096
_LOGOUT_TIMEOUT_S = 2.0


@dataclass(slots=True)
class DiscoveryResult:
    """`truncated`: the answer went beyond the caps. `skipped`: records that were no targets or addresses."""

    targets: list[DiscoveredTargetRecord]
    truncated: bool
    skipped: int
    took_s: float
    portal: Portal
    auth: str


async def send_targets(
    portal: Portal,
    *,
    initiator_name: str,
    chap: ChapCredentials | None = None,
    mutual_chap: ChapCredentials | None = None,
    timeout_s: float = LOGIN_TIMEOUT_S,
    source_address: str | None = None,
    on_redirect: OnRedirect | None = None,
) -> DiscoveryResult:
    """All targets that the portal shows to this initiator (RFC 7143 §13.3, appendix C).

    Nothing in the answer is connected to. `timeout_s` holds for the login and again for the answer. Raises
    InitiatorError.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    settings = SessionSettings(
        initiator_name,
        "",
        portal,
        chap=chap,
        mutual_chap=mutual_chap,
        source_address=source_address,
        login_timeout_s=timeout_s,
    )
    isid = random_isid(os.urandom(5))
    logged_in = await log_in(settings, isid=isid, discovery=True, on_redirect=on_redirect)
    text, cut = await _ask(logged_in, timeout_s)
    found = parse_response(text, truncated=cut)
    return DiscoveryResult(
        found.targets,
        found.truncated,
        found.skipped,
        loop.time() - started,
        logged_in.portal,
        logged_in.result.auth,
    )


async def _ask(logged_in: LoggedIn, timeout_s: float) -> tuple[bytes, bool]:
    loop = asyncio.get_running_loop()
    result = logged_in.result
    session = InitiatorSession(
        logged_in.framer,
        result.params,
        cmd_sn=result.cmd_sn,
        exp_stat_sn=result.exp_stat_sn,
        exp_cmd_sn=result.exp_cmd_sn,
        max_cmd_sn=result.max_cmd_sn,
    )
    lost: asyncio.Future[BaseException | None] = loop.create_future()
    connection = Connection(
        logged_in.sock,
        logged_in.framer,
        session,
        counters=SessionCounters(),
        on_closed=lambda error: None if lost.done() else lost.set_result(error),
        on_protocol_event=lambda event: None,
        nop_interval_s=0,
        nop_timeout_s=timeout_s,
        command_timeout_s=timeout_s,
    )
    try:
        async with asyncio.timeout(timeout_s):
            request = await connection.request(
                lambda now, on_done: session.text(
                    build_request(),
                    now,
                    max_bytes=MAX_LIST_BYTES,
                    max_parts=MAX_ANSWER_PARTS,
                    on_done=on_done,
                )
            )
        if request.outcome != COMPLETED:
            why = "it rejected the request"
            if lost.done():
                why = tcp.describe_loss(lost.result())
            raise SessionLost(
                f"{logged_in.portal} did not tell its targets: {why}", "target", "Look at the target's log."
            )
        if not request.text_truncated:
            await connection.logout(_LOGOUT_TIMEOUT_S)
        return bytes(request.text), request.text_truncated
    except TimeoutError:
        raise ProtocolViolation(
            f"{logged_in.portal} did not finish its list of targets within {timeout_s:g} s",
            "target",
            "Look at the target's log, and try again with a longer time-out.",
        ) from None
    finally:
        connection.close()


@dataclass(slots=True)
class ProbeResult:
    """`detail` is for the user. `asks_for_chap` is None where that could not be learnt."""

    reachable: bool
    detail: str
    round_trip_ms: float | None
    asks_for_chap: bool | None
    is_iscsi: bool
    failure: InitiatorError | None = None


async def probe(
    portal: Portal,
    timeout_s: float = 5.0,
    *,
    initiator_name: str = "iqn.2026-11.org.san-console:probe",
    source_address: str | None = None,
) -> ProbeResult:
    """Whether an iSCSI target answers at `portal`, how fast, and whether discovery asks for CHAP there.

    It never raises InitiatorError: what failed is the result.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        sock = await tcp.connect(portal, timeout_s=timeout_s, source_address=source_address)
    except InitiatorError as error:
        return ProbeResult(False, error.cause, None, None, False, error)
    # The time of a TCP handshake is one round trip; name resolution counts in, where there is a name.
    round_trip_ms = (loop.time() - started) * 1000
    sock.close()
    settings = SessionSettings(
        initiator_name, "", portal, source_address=source_address, login_timeout_s=timeout_s
    )
    try:
        logged_in = await log_in(settings, isid=random_isid(os.urandom(5)), discovery=True)
    except LoginRefused as error:
        asks = error.status == 0x0201 or None
        return ProbeResult(True, error.cause, round_trip_ms, asks, True, None if asks else error)
    except InitiatorError as error:
        return ProbeResult(True, error.cause, round_trip_ms, None, False, error)
    logged_in.sock.close()
    return ProbeResult(True, "an iSCSI target answers", round_trip_ms, False, True)
