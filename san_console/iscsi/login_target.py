"""The target's side of a login (RFC 7143 §6.3, §11.12, §11.13, §12.1), without I/O."""

from __future__ import annotations

import secrets

from san_console.iscsi import login_status, text
from san_console.iscsi.chap import ChallengeLedger, Random
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.login_policy import (
    LoginPolicy,
    SessionDecision,
    SessionRequest,
    SessionType,
    TargetDecision,
    TargetLoginResult,
)
from san_console.iscsi.login_security import SECURITY_KEYS, TargetSecurity
from san_console.iscsi.login_stage import LoginText, check_flags
from san_console.iscsi.negotiation import Negotiation
from san_console.iscsi.opcodes import (
    FULL_FEATURE_PHASE,
    LOGIN_OPERATIONAL_NEGOTIATION,
    RESERVED_TAG,
    SECURITY_NEGOTIATION,
    STAGE_NAMES,
)
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.iscsi.text import Bytes, Pairs, protocol_error
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.wire import serial

__all__ = [
    "LoginPolicy",
    "LoginTarget",
    "SessionDecision",
    "SessionRequest",
    "TargetDecision",
    "TargetLoginResult",
]

# Challenges sent by all logins of this process as target (RFC 7143 §9.2.1).
_LEDGER = ChallengeLedger()

# Commands that an initiator may send at once until the session says otherwise; 128 fills a queue of 4 × 32.
DEFAULT_COMMAND_WINDOW = 128

_DECLARED = frozenset({"InitiatorName", "TargetName", "InitiatorAlias", "SessionType"})
_SESSION_TYPES: dict[str, SessionType] = {"Normal": "Normal", "Discovery": "Discovery"}


class LoginTarget:
    """One login on one connection: feed each Login Request to `receive()` and send what it returns.

    Afterwards either `done` is set, with `result`; or `failed` says why in words for the target's log, the
    last response carries the status (also in `status`), and the connection is to be closed once it is sent.
    """

    def __init__(
        self,
        policy: LoginPolicy,
        *,
        peer_address: str = "",
        stat_sn: int = 1,
        command_window: int = DEFAULT_COMMAND_WINDOW,
        ledger: ChallengeLedger | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        self.result: TargetLoginResult | None = None
        self.failed: str | None = None
        self.status = login_status.SUCCESS
        #: As the initiator named itself, for the log; None before that, and when it gave no legal name.
        self.initiator_name: str | None = None
        self.target_name: str | None = None
        self._policy = policy
        self._peer_address = peer_address
        self._stat_sn = stat_sn
        self._command_window = command_window
        self._ledger = ledger or _LEDGER
        self._random = random
        self._text = LoginText("initiator")
        self._first: LoginRequest | None = None
        self._stage = SECURITY_NEGOTIATION
        self._session_type: SessionType = "Normal"
        self._initiator_alias: str | None = None
        self._decision: TargetDecision | None = None
        self._security: TargetSecurity | None = None
        self._negotiation: Negotiation | None = None

    @property
    def done(self) -> bool:
        return self.result is not None

    def receive(self, request: LoginRequest, data: Bytes) -> list[tuple[LoginResponse, bytes]]:
        """Take one request with its data segment; returns the responses to send (one, in fact)."""
        if self.done or self.failed is not None:
            return self.refuse(request, "the initiator sent a Login Request after the login was over")
        try:
            return self._receive(request, data)
        except RemoteProtocolError as error:
            status = error.login_status or login_status.INITIATOR_ERROR
            return self.refuse(request, str(error), status)

    def refuse(
        self, request: LoginRequest | None, why: str, status: int = login_status.INITIATOR_ERROR
    ) -> list[tuple[LoginResponse, bytes]]:
        """End the login with `status`; also for the caller: a deadline, a limit, a PDU that is no Login
        Request.

        `request` None refers to the last one; before the first there is nothing to answer, and nothing is
        returned.
        """
        self.failed, self.status = why, status
        request = request or self._first
        if request is None:
            return []
        response = self._response(request)
        response.status_class, response.status_detail = status >> 8, status & 0xFF
        redirect = self._decision.redirect if self._decision is not None and status >> 8 == 1 else None
        return [(response, text.encode_pairs([("TargetAddress", redirect)]) if redirect else b"")]

    def _receive(self, request: LoginRequest, data: Bytes) -> list[tuple[LoginResponse, bytes]]:
        self._check_header(request)
        pairs = self._text.receive(data, continued=request.continued)
        if pairs is None:
            return [(self._response(request), b"")]
        if self._text.sending:
            return self._answer(request, transit=False)
        self._text.check_keys(pairs, self._stage)
        if self._decision is None:
            self._text.queue(self._begin(request, dict(pairs)))
        rest = [(name, value) for name, value in pairs if name not in _DECLARED]
        if self._stage == SECURITY_NEGOTIATION:
            return self._security_stage(request, rest)
        return self._operational_stage(request, rest)

    def _check_header(self, request: LoginRequest) -> None:
        first = self._first
        if first is None:
            self._first = first = request
            self._stage = request.csg
            if request.version_min > 0:
                raise protocol_error(
                    f"the initiator speaks version {request.version_min} of iSCSI at least, not 0",
                    login_status.UNSUPPORTED_VERSION,
                )
            if request.itt == RESERVED_TAG:
                raise protocol_error("the initiator uses the reserved Initiator Task Tag")
        else:
            # §11.12: "All Login Requests within the Login Phase MUST carry the same …"
            for name in ("itt", "isid", "cid", "tsih", "version_max", "version_min"):
                if getattr(request, name) != getattr(first, name):
                    raise protocol_error(f"the initiator changed the field {name} in the middle of the login")
        check_flags(
            request.csg, request.nsg, transit=request.transit, continued=request.continued, peer="initiator"
        )
        if request.csg != self._stage:
            raise protocol_error(
                f"the initiator is in {STAGE_NAMES[request.csg]}, the login in {STAGE_NAMES[self._stage]}"
            )

    def _begin(self, request: LoginRequest, keys: dict[str, str]) -> Pairs:
        """The names of the first complete text; returns what the target declares about itself."""
        if "InitiatorName" not in keys:
            raise protocol_error("the initiator did not give its name", login_status.MISSING_PARAMETER)
        session_type = _SESSION_TYPES.get(keys.get("SessionType", "Normal"))
        if session_type is None:
            raise protocol_error(
                f"the initiator asks for a session of type “{visible(keys['SessionType'], 40)}”",
                login_status.SESSION_TYPE_NOT_SUPPORTED,
            )
        self._session_type = session_type
        target_name = keys.get("TargetName")
        if target_name is None and session_type == "Normal":
            raise protocol_error("the initiator did not name a target", login_status.MISSING_PARAMETER)
        self.initiator_name = initiator_name = self._name(
            "InitiatorName", keys["InitiatorName"], login_status.INITIATOR_ERROR
        )
        if target_name is not None:
            self.target_name = self._name("TargetName", target_name, login_status.NOT_FOUND)
        if alias := keys.get("InitiatorAlias"):
            self._initiator_alias = visible(alias, text.MAX_VALUE_BYTES)
        decision = self._policy.find_target(
            initiator_name, self.target_name, session_type, self._peer_address
        )
        self._decision = decision
        if decision.status != login_status.SUCCESS:
            explanation = login_status.explain_status(decision.status >> 8, decision.status & 0xFF)
            raise protocol_error(explanation.cause, decision.status)
        self._security = TargetSecurity(
            decision.chap,
            decision.mutual,
            self._ledger,
            self._random,
            allow_short_secret=decision.allow_short_secret,
        )
        if request.csg == LOGIN_OPERATIONAL_NEGOTIATION and not self._security.over:
            raise protocol_error(
                "the initiator skipped the security stage, but has to authenticate itself here",
                login_status.AUTHENTICATION_FAILURE,
            )
        self._negotiation = Negotiation(
            "target", decision.offer, discovery=session_type == "Discovery", leading=not request.tsih
        )
        # §6.3.1: in the first response that may carry it, for all session types.
        declared = [("TargetPortalGroupTag", str(decision.tpgt))]
        if decision.alias and session_type == "Normal":
            declared.append(("TargetAlias", decision.alias))
        return declared

    @staticmethod
    def _name(key: str, value: str, status: int) -> str:
        try:
            return normalise(value, lenient=True)
        except InvalidName as error:
            raise protocol_error(f"the initiator's {key} is not possible: {error}", status) from None

    def _security_stage(self, request: LoginRequest, pairs: Pairs) -> list[tuple[LoginResponse, bytes]]:
        assert self._security is not None
        keys = {name: value for name, value in pairs if name in SECURITY_KEYS}
        unknown = [(name, text.NOT_UNDERSTOOD) for name, _ in pairs if name not in SECURITY_KEYS]
        answers = self._security.receive(keys, transit=request.transit)
        self._text.queue(unknown + answers)
        return self._answer(request, transit=request.transit and self._security.over)

    def _operational_stage(self, request: LoginRequest, pairs: Pairs) -> list[tuple[LoginResponse, bytes]]:
        assert self._negotiation is not None
        answers = self._negotiation.receive(pairs)
        self._text.queue(answers + self._negotiation.missing())
        # §6.3: no T bit while the initiator owes an answer to a proposal of ours.
        return self._answer(request, transit=request.transit and not self._negotiation.waiting)

    def _answer(self, request: LoginRequest, *, transit: bool) -> list[tuple[LoginResponse, bytes]]:
        segment, continued = self._text.next_segment()
        response = self._response(request)
        response.continued = continued
        if transit and not continued:
            response.transit, response.nsg = True, request.nsg
            if request.nsg == FULL_FEATURE_PHASE:
                self._finish(request, response)
            self._stage = request.nsg
        return [(response, segment)]

    def _finish(self, request: LoginRequest, response: LoginResponse) -> None:
        assert self._negotiation is not None
        assert self._decision is not None
        assert self._security is not None
        assert self.initiator_name is not None
        params = self._negotiation.finish()
        session = SessionRequest(
            self.initiator_name,
            self.target_name,
            self._session_type,
            request.isid,
            request.tsih,
            request.cid,
            self._security.chap_user,
        )
        decided = self._policy.session_for(session)
        if decided.status != login_status.SUCCESS:
            explanation = login_status.explain_status(decided.status >> 8, decided.status & 0xFF)
            raise protocol_error(explanation.cause, decided.status)
        response.tsih = decided.tsih
        if decided.session_parameters is not None:
            params = decided.session_parameters.for_connection(params)
        response.exp_cmd_sn, response.max_cmd_sn = self._window(request, decided)
        self.result = TargetLoginResult(
            session=session,
            decision=self._decision,
            tsih=decided.tsih,
            action=decided.action,
            initiator_alias=self._initiator_alias,
            params=params,
            keys=self._negotiation.records(),
            stat_sn=self._stat_sn,
            exp_cmd_sn=response.exp_cmd_sn,
            max_cmd_sn=response.max_cmd_sn,
            auth=self._security.auth,
        )

    def _window(self, request: LoginRequest, decided: SessionDecision | None) -> tuple[int, int]:
        """ExpCmdSN and MaxCmdSN of a response; `decided` once the session is known."""
        if decided is not None and decided.exp_cmd_sn is not None and decided.max_cmd_sn is not None:
            return decided.exp_cmd_sn, decided.max_cmd_sn
        if request.tsih and decided is None:
            # Commands of the session that this connection is to join may be under way, and nothing is said
            # about them before the login is over. A window so far back is ignored (§4.2.2.1).
            exp_cmd_sn = serial.add(request.cmd_sn, -self._command_window)
            return exp_cmd_sn, serial.add(exp_cmd_sn, -1)
        # MaxCmdSN never goes back (§4.2.2.1): one command until it is known what the session takes.
        decision = self._decision
        window = 1 if decision is None else decision.command_window or self._command_window
        # §11.12.8: the CmdSN of the login is the first one that a new session expects.
        return request.cmd_sn, serial.add(request.cmd_sn, window - 1)

    def _response(self, request: LoginRequest) -> LoginResponse:
        exp_cmd_sn, max_cmd_sn = self._window(request, None)
        response = LoginResponse(
            csg=request.csg,
            isid=request.isid,
            # §11.13.3: the handle of a new session comes with the final response only.
            tsih=request.tsih,
            itt=request.itt,
            stat_sn=self._stat_sn,
            exp_cmd_sn=exp_cmd_sn,
            max_cmd_sn=max_cmd_sn,
        )
        self._stat_sn = serial.add(self._stat_sn, 1)
        return response
