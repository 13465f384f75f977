"""The initiator's side of a login (RFC 7143 §6.3, §11.12, §12.1), without I/O."""

from __future__ import annotations

import secrets

from san_console.iscsi import login_status, text
from san_console.iscsi.chap import ChallengeLedger, Random, check_credentials
from san_console.iscsi.errors import LocalProtocolError, LoginFailed, Redirected
from san_console.iscsi.keys import OPERATIONAL_KEYS
from san_console.iscsi.login_security import SECURITY_KEYS, InitiatorSecurity
from san_console.iscsi.login_settings import LoginResult, LoginSettings
from san_console.iscsi.login_stage import LoginText, check_flags
from san_console.iscsi.login_status import explain_status
from san_console.iscsi.negotiation import Negotiation
from san_console.iscsi.opcodes import (
    FULL_FEATURE_PHASE,
    LOGIN_OPERATIONAL_NEGOTIATION,
    SECURITY_NEGOTIATION,
    STAGE_NAMES,
)
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.iscsi.text import Bytes, Pairs, protocol_error
from san_console.names.display import visible
from san_console.wire import serial

__all__ = ["LoginInitiator", "LoginResult", "LoginSettings"]

# Challenges sent by all logins of this process as initiator (RFC 7143 §9.2.1 b, c).
_LEDGER = ChallengeLedger()

_NEXT_STAGE = {
    SECURITY_NEGOTIATION: LOGIN_OPERATIONAL_NEGOTIATION,
    LOGIN_OPERATIONAL_NEGOTIATION: FULL_FEATURE_PHASE,
}


class LoginInitiator:
    """One login: send what `start()` gives, feed each Login Response to `receive()`, until `done`.

    `receive` raises LoginFailed (a status, or the target's failure to prove itself), Redirected, or
    RemoteProtocolError (the target broke a rule); the connection is to be closed after any of them. Digests
    and the negotiated lengths hold from `done` on.
    """

    def __init__(
        self,
        settings: LoginSettings,
        *,
        ledger: ChallengeLedger | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        check_credentials(settings.chap, settings.mutual_chap, allow_short_secret=settings.allow_short_secret)
        if len(settings.isid) != 6:
            raise LocalProtocolError(f"an ISID has 6 bytes, not {len(settings.isid)}")
        self.settings = settings
        self.result: LoginResult | None = None
        self._discovery = settings.target_name is None
        self._negotiation = Negotiation(
            "initiator", settings.offer, discovery=self._discovery, leading=not settings.tsih
        )
        self._security = InitiatorSecurity(settings, ledger or _LEDGER, random)
        self._text = LoginText("target")
        self._stage = SECURITY_NEGOTIATION
        self._exp_stat_sn = 0
        self._asked_transit = False
        self._tpgt: int | None = None
        self._target_alias: str | None = None

    @property
    def done(self) -> bool:
        return self.result is not None

    def start(self) -> tuple[LoginRequest, bytes]:
        """The first request, with the names, the type of session and the authentication methods."""
        settings = self.settings
        pairs = [("InitiatorName", settings.initiator_name)]
        if settings.initiator_alias:
            pairs.append(("InitiatorAlias", settings.initiator_alias))
        if settings.target_name is None:
            pairs.append(("SessionType", "Discovery"))
        else:
            pairs += [("TargetName", settings.target_name), ("SessionType", "Normal")]
        for name, value in pairs:
            if len(value.encode()) > text.MAX_VALUE_BYTES or "\0" in value:
                raise LocalProtocolError(f"{name} is too long, or holds a NUL character")
        self._text.queue(pairs + self._security.start())
        return self._request()

    def receive(self, response: LoginResponse, data: Bytes) -> list[tuple[LoginRequest, bytes]]:
        """Take one response with its data segment; returns the next request, or nothing when done."""
        if self.done:
            raise protocol_error("the target sent a Login Response after the login was over")
        if response.itt != self.settings.itt:
            raise protocol_error("the target answered the login with another Initiator Task Tag")
        if response.status_class:
            self._refused(response, data)
        if response.version_active:
            raise protocol_error(
                f"the target wants version {response.version_active} of iSCSI, 0 is the only one"
            )
        check_flags(
            response.csg, response.nsg, transit=response.transit, continued=response.continued, peer="target"
        )
        if response.csg != self._stage:
            raise protocol_error(
                f"the target is in {STAGE_NAMES[response.csg]}, the login in {STAGE_NAMES[self._stage]}"
            )
        if response.transit and (not self._asked_transit or response.nsg != _NEXT_STAGE[self._stage]):
            raise protocol_error("the target moves to a stage that it was not asked for (RFC 7143 §6.3)")
        self._exp_stat_sn = serial.add(response.stat_sn, 1)
        pairs = self._text.receive(data, continued=response.continued)
        if pairs is None or self._text.sending:
            return [self._request()]
        self._text.check_keys(pairs, self._stage)
        answers = self._sort(pairs, transit=response.transit)
        if response.transit:
            return self._transit(response, answers)
        self._text.queue(answers)
        return [self._request()]

    # What a response holds

    def _sort(self, pairs: Pairs, *, transit: bool) -> Pairs:
        """Hand each key to its owner; returns our answers."""
        security: dict[str, str] = {}
        operational: Pairs = []
        answers: Pairs = []
        for name, value in pairs:
            if name in SECURITY_KEYS:
                security[name] = value
            elif name == "TargetPortalGroupTag":
                self._tpgt = self._portal_group_tag(value)
            elif name == "TargetAlias":
                self._target_alias = visible(value, text.MAX_VALUE_BYTES)
            elif name in OPERATIONAL_KEYS or self._stage == LOGIN_OPERATIONAL_NEGOTIATION:
                if name != "TargetAddress":
                    operational.append((name, value))
            elif name != "TargetAddress" and value not in text.ANSWERS_ONLY:
                answers.append((name, text.NOT_UNDERSTOOD))
        if self._stage == SECURITY_NEGOTIATION:
            return answers + self._security.receive(security, transit=transit)
        return self._negotiation.receive(operational)

    @staticmethod
    def _portal_group_tag(value: str) -> int:
        try:
            return text.decode_number(value, 0, 65535)
        except text.MalformedValue as error:
            raise protocol_error(f"the target's TargetPortalGroupTag is wrong: {error}") from None

    def _transit(self, response: LoginResponse, answers: Pairs) -> list[tuple[LoginRequest, bytes]]:
        if self._stage == SECURITY_NEGOTIATION:
            self._stage = LOGIN_OPERATIONAL_NEGOTIATION
            self._text.queue(self._negotiation.propose())
            return [self._request()]
        offered = self._negotiation.from_peer
        if any(offered[name] != answer for name, answer in answers if answer != text.NOT_UNDERSTOOD):
            # An answer like the offer itself may be left out; any other would need one more request (§6.3).
            raise protocol_error(
                "the target ends the login with an offer that needs an answer (RFC 7143 §6.3)"
            )
        params = self._negotiation.finish()
        if self.settings.session_parameters is not None:
            params = self.settings.session_parameters.for_connection(params)
        if not response.tsih and not self._discovery:
            raise protocol_error(
                "the target ended the login without a session handle (TSIH, RFC 7143 §11.13.3)"
            )
        if self.settings.tsih and response.tsih != self.settings.tsih:
            raise protocol_error("the target put the connection into another session than asked for")
        self.result = LoginResult(
            params=params,
            keys=self._negotiation.records(),
            tsih=response.tsih,
            tpgt=self._tpgt,
            target_alias=self._target_alias,
            stat_sn=response.stat_sn,
            exp_stat_sn=self._exp_stat_sn,
            cmd_sn=self.settings.cmd_sn,
            exp_cmd_sn=response.exp_cmd_sn,
            max_cmd_sn=response.max_cmd_sn,
            auth=self._security.auth,
        )
        return []

    def _refused(self, response: LoginResponse, data: Bytes) -> None:
        status = response.status_class << 8 | response.status_detail
        if response.status_class == 1:
            addresses = [value for name, value in text.decode_pairs(data) if name == "TargetAddress"]
            if not addresses:
                raise protocol_error("the target redirects, but does not say where to (RFC 7143 §11.13.5)")
            raise Redirected(addresses[0], permanent=status == login_status.TARGET_MOVED_PERMANENTLY)
        if status == login_status.AUTHENTICATION_FAILURE:
            raise self._security.refused()
        raise LoginFailed(
            response.status_class,
            response.status_detail,
            explain_status(response.status_class, response.status_detail),
        )

    # What we send

    def _request(self) -> tuple[LoginRequest, bytes]:
        settings = self.settings
        segment, continued = self._text.next_segment()
        # §6.3: one transition at a time, when all is said; an empty PDU answers a C bit (§6.2).
        transit = (
            not continued
            and not self._text.joining
            and (self._stage == LOGIN_OPERATIONAL_NEGOTIATION or self._security.ready)
        )
        self._asked_transit = transit
        request = LoginRequest(
            transit=transit,
            continued=continued,
            csg=self._stage,
            nsg=_NEXT_STAGE[self._stage] if transit else 0,
            isid=settings.isid,
            tsih=settings.tsih,
            itt=settings.itt,
            cid=settings.cid,
            cmd_sn=settings.cmd_sn,
            exp_stat_sn=self._exp_stat_sn,
        )
        return request, segment
