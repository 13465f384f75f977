"""How sessions and connections are ended by the target: asked first, then closed, then waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from san_console.target.session import ServedConnection, ServedSession

LOGOUT_GRACE_S = 1.0  # time to answer an Asynchronous Message that asks for a logout
QUIET_TIMEOUT_S = 30.0  # a backstore that hangs for longer is waited for by the next login, not by this one


async def quiet(done: Awaitable[None]) -> bool:
    """Wait until nothing of an ended session is under way. False when its backstore hangs; the tasks keep
    their buffers and end when it comes back.
    """
    try:
        async with asyncio.timeout(QUIET_TIMEOUT_S):
            await done
    except TimeoutError:
        return False
    return True


async def end_sessions(sessions: list[ServedSession], reason: str) -> None:
    """Ask for logouts, close what is left, and wait until the backstores are done with it."""
    asked = [one for session in sessions if not session.protocol.discovery for one in _members(session)]
    await _ask(asked)
    for session in sessions:
        session.close(reason)
    for session in sessions:
        await quiet(session.quiet())


async def end_connections(wanted: list[tuple[ServedSession, ServedConnection]], reason: str) -> None:
    """The same for single connections; their sessions go on with the others, if there are any."""
    await _ask([one for session, one in wanted if not session.protocol.discovery])
    for session, one in wanted:
        session.close_connection(one, reason)
    for session, one in wanted:
        await quiet(session.connection_quiet(one.protocol))


def _members(session: ServedSession) -> list[ServedConnection]:
    return list(session.connections.values())


async def _ask(connections: list[ServedConnection]) -> None:
    for one in connections:
        one.ask_for_logout(int(LOGOUT_GRACE_S))
    if connections:
        await asyncio.wait([one.ended for one in connections], timeout=LOGOUT_GRACE_S)
