"""Two roles of a login back to back in memory, and a peer whose every PDU the test writes itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from san_console.iscsi import text
from san_console.iscsi.chap import ChallengeLedger
from san_console.iscsi.login_initiator import LoginInitiator
from san_console.iscsi.login_settings import LoginResult, LoginSettings
from san_console.iscsi.login_target import (
    LoginTarget,
    SessionDecision,
    SessionRequest,
    TargetDecision,
    TargetLoginResult,
)
from san_console.iscsi.pdu import LoginRequest, LoginResponse

INITIATOR = "iqn.2026-11.org.example:host"
TARGET = "iqn.2026-11.org.example:disk"
ISID = bytes.fromhex("80abcdef0001")


class CountingRandom:
    """Never the same bytes twice, and the same in every run."""

    def __init__(self, seed: int) -> None:
        self.state = seed << 64

    def __call__(self, n: int) -> bytes:
        self.state += 1
        return (self.state.to_bytes(16, "big") * (n // 16 + 1))[-n:]


@dataclass
class Policy:
    decision: TargetDecision = field(default_factory=TargetDecision)
    session: SessionDecision = field(default_factory=lambda: SessionDecision(tsih=0x4321))
    asked: list[tuple[str, str | None, str, str]] = field(default_factory=list)
    sessions: list[SessionRequest] = field(default_factory=list)

    def find_target(
        self, initiator_name: str, target_name: str | None, session_type: str, peer_address: str
    ) -> TargetDecision:
        self.asked.append((initiator_name, target_name, session_type, peer_address))
        return self.decision

    def session_for(self, request: SessionRequest) -> SessionDecision:
        self.sessions.append(request)
        return self.session


@dataclass
class Login:
    """A finished conversation."""

    initiator: LoginInitiator
    target: LoginTarget
    transcript: list[LoginRequest | LoginResponse]
    texts: list[list[tuple[str, str]]]

    @property
    def result(self) -> LoginResult:
        assert self.initiator.result is not None
        return self.initiator.result

    @property
    def target_result(self) -> TargetLoginResult:
        assert self.target.result is not None
        return self.target.result


class _Joined:
    def __init__(self) -> None:
        self.collector = text.TextCollector()

    def pairs(self, data: bytes, continued: bool) -> list[tuple[str, str]]:
        whole = self.collector.add(data, continued=continued)
        return [] if whole is None else text.decode_pairs(whole)


Tamper = Callable[[LoginResponse, bytes], tuple[LoginResponse, bytes]]


def run_login(
    decision: TargetDecision | None = None,
    *,
    policy: Policy | None = None,
    tamper: Tamper | None = None,
    **settings: Any,
) -> Login:
    """Log in; `tamper` sees each response on its way. What the initiator raises comes through."""
    policy = policy or Policy(decision or TargetDecision())
    wishes = {"initiator_name": INITIATOR, "target_name": TARGET, "isid": ISID, **settings}
    initiator = LoginInitiator(LoginSettings(**wishes), ledger=ChallengeLedger(), random=CountingRandom(1))
    target = LoginTarget(policy, peer_address="127.0.0.1", ledger=ChallengeLedger(), random=CountingRandom(2))
    login = Login(initiator, target, [], [])
    sent, answered = _Joined(), _Joined()
    requests = [initiator.start()]
    while requests:
        [(request, data)] = requests
        login.transcript.append(request)
        login.texts.append(sent.pairs(data, request.continued))
        # Through the codec: what is not on the wire must not matter.
        [(response, answer)] = target.receive(LoginRequest.parse(request.pack(len(data))), data)
        login.transcript.append(replace(response))
        login.texts.append(answered.pairs(answer, response.continued))
        if tamper is not None:
            response, answer = tamper(response, answer)
        requests = initiator.receive(LoginResponse.parse(response.pack(len(answer))), answer)
    return login


class RawInitiator:
    """An initiator whose PDUs the test writes: sends to a real LoginTarget."""

    def __init__(
        self, decision: TargetDecision | None = None, policy: Policy | None = None, **target: Any
    ) -> None:
        self.policy = policy or Policy(decision or TargetDecision())
        target.setdefault("ledger", ChallengeLedger())
        target.setdefault("random", CountingRandom(3))
        self.target = LoginTarget(self.policy, peer_address="127.0.0.1", **target)
        self.last = LoginResponse()
        self._joined = _Joined()

    def send(self, pairs: str | bytes = "", **fields: Any) -> dict[str, str]:
        """`pairs` is "Key=value Key=value", or raw bytes. Returns the keys of the answer."""
        data = pairs if isinstance(pairs, bytes) else b"".join(p.encode() + b"\0" for p in pairs.split())
        request = LoginRequest(**{"isid": ISID, "itt": 5, "cmd_sn": 9, **fields})
        [(response, answer)] = self.target.receive(LoginRequest.parse(request.pack(len(data))), data)
        self.last = response
        if response.status_class:
            self._joined = _Joined()
        return dict(self._joined.pairs(answer, response.continued))

    def granted(self) -> bool:
        """The last response has the T bit."""
        return self.last.transit

    @property
    def status(self) -> int:
        return self.last.status_class << 8 | self.last.status_detail

    def begin(self, more: str = "", **fields: Any) -> dict[str, str]:
        return self.send(f"InitiatorName={INITIATOR} TargetName={TARGET} {more}", **fields)


class RawTarget:
    """A target whose PDUs the test writes: answers a real LoginInitiator."""

    def __init__(self, **settings: Any) -> None:
        wishes = {"initiator_name": INITIATOR, "target_name": TARGET, "isid": ISID, **settings}
        self.initiator = LoginInitiator(
            LoginSettings(**wishes), ledger=ChallengeLedger(), random=CountingRandom(4)
        )
        self._joined = _Joined()
        self.request, data = self.initiator.start()
        self.keys = dict(text.decode_pairs(data))
        self.stat_sn = 100

    def answer(self, pairs: str | bytes = "", **fields: Any) -> dict[str, str]:
        """Answer the pending request in its stage; returns the keys of the next one."""
        data = pairs if isinstance(pairs, bytes) else b"".join(p.encode() + b"\0" for p in pairs.split())
        response = LoginResponse(
            **{"csg": self.request.csg, "itt": 1, "isid": ISID, "stat_sn": self.stat_sn, **fields}
        )
        self.stat_sn += 1
        following = self.initiator.receive(LoginResponse.parse(response.pack(len(data))), data)
        if not following:
            return {}
        [(self.request, data)] = following
        self.keys = dict(self._joined.pairs(data, self.request.continued))
        return self.keys

    def continues(self) -> bool:
        """The pending request has the C bit."""
        return self.request.continued
