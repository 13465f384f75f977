"""What is told of logins, sessions and connections as they come and go."""

from __future__ import annotations

from san_console.iscsi import login_status
from san_console.names.display import visible
from san_console.target.events import Reporter, TargetEventKind
from san_console.target.login import LoginOutcome
from san_console.target.session import ServedConnection, ServedSession


class SessionNews:
    """Makes the events of a reception."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def refused(self, outcome: LoginOutcome, address: str) -> None:
        """A login has failed, or was sent elsewhere."""
        who = visible(outcome.initiator_name) if outcome.initiator_name else address
        explanation = login_status.explain_status(outcome.status >> 8, outcome.status & 0xFF)
        moved = outcome.status >> 8 == login_status.TARGET_MOVED_TEMPORARILY >> 8
        self._reporter.tell(
            "target_login_failed",
            "info" if moved else "warning",
            f"A login of {who} was {'redirected' if moved else 'refused'}.",
            cause=outcome.failed,
            side="target",
            check=explanation.check if outcome.status else "",
            target=outcome.target_name,
            initiator=outcome.initiator_name,
            address=address,
            status=f"{outcome.status:04x}",
        )

    def logged_in(self, session: ServedSession, connection: ServedConnection, what: str) -> None:
        """A connection has become part of a session; `what` follows the initiator's name."""
        request = connection.result.session
        self._reporter.tell(
            "target_login",
            "info",
            f"{visible(request.initiator_name)} {what}.",
            target=session.target,
            initiator=request.initiator_name,
            address=connection.address,
            portal=str(connection.portal),
            auth=connection.result.auth,
            session=session.id,
            action=connection.result.action,
            cid=str(connection.cid),
        )

    def session_ended(self, session: ServedSession, reason: str, error: bool) -> None:
        """A session is over. Those of discovery come and go by the minute: no news."""
        if session.protocol.discovery:
            return
        request = session.result.session
        kind: TargetEventKind = (
            "session_lost" if error else "target_logout" if reason == "logout" else "session_closed"
        )
        self._reporter.tell(
            kind,
            "warning" if error else "info",
            f"The session of {visible(request.initiator_name)} ended.",
            cause=reason,
            side="initiator" if error or reason == "logout" else "target",
            target=session.target,
            initiator=request.initiator_name,
            address=session.address,
            session=session.id,
        )

    def connection_ended(
        self, session: ServedSession, connection: ServedConnection, reason: str, error: bool
    ) -> None:
        """A connection is gone, and its session goes on."""
        request = session.result.session
        left = len(session.connections)
        rest = f"{left} left" if left else "the session waits for its initiator"
        self._reporter.tell(
            "connection_lost" if error else "connection_closed",
            "warning" if error else "info",
            f"Connection {connection.cid} of {visible(request.initiator_name)} ended, {rest}.",
            cause=reason,
            side="initiator" if error or reason == "logout" else "target",
            target=session.target,
            initiator=request.initiator_name,
            address=connection.address,
            session=session.id,
            cid=str(connection.cid),
        )
