"""What a login asks of its target: who may log in, how it must prove itself, into which session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from san_console.iscsi import login_status
from san_console.iscsi.parameters import KeyRecord, Offer, OperationalParameters
from san_console.names.credentials import ChapCredentials

SessionType = Literal["Normal", "Discovery"]
SessionAction = Literal["new", "session reinstatement", "new connection", "connection reinstatement"]


@dataclass(slots=True)
class TargetDecision:
    """The answer to "may this initiator go on?", given before it has proved anything.

    `status` is (class << 8 | detail); a redirect needs `redirect`, the address without a tag (RFC 7143
    §13.8). `chap` None asks for no authentication; else the initiator must prove one of these identities.
    `mutual` is what the target proves when asked to.
    """

    status: int = login_status.SUCCESS
    redirect: str | None = None
    chap: Sequence[ChapCredentials] | None = None
    mutual: ChapCredentials | None = None
    allow_short_secret: bool = False
    tpgt: int = 1
    alias: str | None = None
    offer: Offer = field(default_factory=Offer)
    command_window: int | None = None
    """How many commands the session will take at a time; None: what the login was made with."""


@dataclass(slots=True)
class SessionDecision:
    """Which session the connection belongs to (RFC 7143 §6.3.1). `tsih` is non-zero when `status` is
    success.

    A connection that joins a session, or is reinstated in it, has that session's parameters and command
    window: then the last three are set.
    """

    status: int = login_status.SUCCESS
    tsih: int = 0
    action: SessionAction = "new"
    session_parameters: OperationalParameters | None = None
    exp_cmd_sn: int | None = None
    max_cmd_sn: int | None = None


@dataclass(slots=True)
class SessionRequest:
    """Who wants which session. Names are normalised; `chap_user` is the identity that was proved, None
    without CHAP.
    """

    initiator_name: str
    target_name: str | None
    session_type: SessionType
    isid: bytes
    tsih: int
    cid: int
    chap_user: str | None


class LoginPolicy(Protocol):
    """The target behind a portal."""

    def find_target(
        self, initiator_name: str, target_name: str | None, session_type: SessionType, peer_address: str
    ) -> TargetDecision:
        """Called once, before authentication: must have no effect on any session (an attacker may ask)."""
        ...

    def session_for(self, request: SessionRequest) -> SessionDecision:
        """Called once, after authentication and negotiation, for the last response. Reinstatement is
        carried out by the caller when the login is `done`.
        """
        ...


@dataclass(slots=True)
class TargetLoginResult:
    """A session at the begin of its full feature phase. `stat_sn` is the next to send."""

    session: SessionRequest
    decision: TargetDecision
    tsih: int
    action: SessionAction
    initiator_alias: str | None
    params: OperationalParameters
    keys: list[KeyRecord]
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    auth: str
