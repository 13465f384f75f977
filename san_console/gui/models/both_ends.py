"""A session between this computer and itself is seen by its initiator and by its target: which is which."""

from __future__ import annotations

from san_console.api.initiator_objects import Session
from san_console.api.serving_objects import TargetSession
from san_console.gui.bridge.host import QtHost


def initiator_end(host: QtHost, served: TargetSession) -> Session | None:
    """The session as this console's initiator sees it (RFC 7143 §4.4.3: target and ISID)."""
    if not served.own:
        return None
    for one in host.values("sessions"):
        if isinstance(one, Session) and (one.target, one.isid) == (served.target, served.isid):
            return one
    return None


def target_end(host: QtHost, session: Session) -> TargetSession | None:
    """The session as a target of this engine sees it; None for a target somewhere else."""
    if not session.isid:
        return None
    for one in host.values("target_sessions"):
        if one.own and (one.target, one.isid) == (session.target, session.isid):
            return one if isinstance(one, TargetSession) else None
    return None
