"""The security stage of a login, seen from either role: AuthMethod and CHAP (RFC 7143 §6.3.2, §12.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from san_console.iscsi import chap, text
from san_console.iscsi.chap import ChallengeLedger, Challenger, Random
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.login_settings import LoginSettings
from san_console.iscsi.login_status import (
    AUTHENTICATION_FAILURE,
    INITIATOR_ERROR,
    MISSING_PARAMETER,
    LoginExplanation,
)
from san_console.iscsi.text import Pairs, protocol_error
from san_console.names.credentials import MIN_SECRET_BYTES, ChapCredentials
from san_console.names.display import visible

SECURITY_KEYS = frozenset({"AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"})
_CHAP = "CHAP"

Keys = Mapping[str, str]


def _only(keys: Keys, allowed: frozenset[str], peer: str) -> None:
    extra = sorted(keys.keys() - allowed)
    if extra:
        raise protocol_error(f"the {peer} sent {', '.join(extra)} out of order (RFC 7143 §12.1.3)")


class InitiatorSecurity:
    """What the initiator says and takes in the security stage.

    With CHAP configured, AuthMethod=None is never offered and never accepted: a target, or somebody who poses
    as it, cannot talk us out of it. Steps: method → algorithm → proof → over.
    """

    def __init__(self, settings: LoginSettings, ledger: ChallengeLedger, random: Random) -> None:
        self._chap = settings.chap
        self._mutual = settings.mutual_chap
        self._algorithms = settings.algorithms
        if chap.MD5 not in self._algorithms:
            self._algorithms = (*self._algorithms, chap.MD5)
        self._ledger = ledger
        self._random = random
        self._algorithm: int | None = None
        self._challenger: Challenger | None = None
        self._steps: dict[str, Callable[[Keys], Pairs]] = {
            "method": self._method_chosen,
            "algorithm": self._challenged,
            "proof": self._proof_received,
            "over": self._nothing_more,
        }
        self._step = "method"
        # True once the next request may ask for the operational stage.
        self.ready = self._chap is None

    def start(self) -> Pairs:
        return [("AuthMethod", text.NONE if self._chap is None else _CHAP)]

    @property
    def auth(self) -> str:
        return chap.auth_text(self._algorithm, mutual=self._mutual is not None)

    def receive(self, keys: Keys, *, transit: bool) -> Pairs:
        """Take the target's security keys; returns ours. Raises LoginFailed or RemoteProtocolError."""
        if not keys and not transit:
            # Nothing said, nothing to say: the next request asks for the transition again (§6.3.3).
            return []
        return self._steps[self._step](keys)

    def refused(self) -> LoginFailed:
        """What status 0201 means at this point of the exchange."""
        if self._chap is None:
            return LoginFailed(
                2,
                1,
                LoginExplanation(
                    "The target demands authentication, and no CHAP secret is set for it. (status 0201)",
                    "target",
                    "Set the CHAP user and secret that the target expects of this initiator.",
                ),
            )
        if self._step in ("method", "algorithm"):
            return self._failed(
                "The target takes no CHAP from this initiator, or none of the algorithms. (status 0201)",
                None,
            )
        also = ""
        if self._mutual is not None:
            also = " If both are right, look whether the target is set up to prove itself (mutual CHAP)."
        return self._failed(
            f"The target refused the CHAP user “{visible(self._chap.user, 64)}” or its secret. (status 0201)",
            "initiator",
            f"Compare the CHAP user and the secret of this initiator with those on the target.{also}",
        )

    def _method_chosen(self, keys: Keys) -> Pairs:
        chosen = keys.get("AuthMethod")
        if chosen is None:
            _only(keys, frozenset(), "target")
            return []
        _only(keys, frozenset({"AuthMethod"}), "target")
        if self._chap is None:
            if chosen == text.NONE:
                self._step = "over"
                return []
            if chosen in (_CHAP, text.REJECT) or _CHAP in chosen.split(","):
                raise self.refused()
            raise protocol_error(
                f"the target chose AuthMethod “{visible(chosen, 64)}”, which was not offered"
            )
        if chosen == _CHAP:
            self._step = "algorithm"
            return [("CHAP_A", ",".join(map(str, self._algorithms)))]
        if chosen in (text.NONE, text.REJECT, text.IRRELEVANT):
            raise self._failed(
                f"The target answered AuthMethod={chosen} where CHAP was the only method offered.",
                None,
                "Set up CHAP for this initiator on the target; or remove the CHAP secret here, if wanted so.",
            )
        raise protocol_error(f"the target chose AuthMethod “{visible(chosen, 64)}”, which was not offered")

    def _challenged(self, keys: Keys) -> Pairs:
        assert self._chap is not None
        _only(keys, frozenset({"CHAP_A", "CHAP_I", "CHAP_C"}), "target")
        if keys.get("CHAP_A") == text.REJECT:
            raise self.refused()
        missing = {"CHAP_A", "CHAP_I", "CHAP_C"} - keys.keys()
        if missing:
            raise protocol_error(f"the target left out {', '.join(sorted(missing))} of CHAP")
        algorithm = chap.choose_algorithm(keys["CHAP_A"], self._algorithms)
        if algorithm is None or "," in keys["CHAP_A"]:
            raise protocol_error(
                f"the target chose the CHAP algorithm “{visible(keys['CHAP_A'], 20)}”, which was not offered"
            )
        identifier = chap.decode_identifier(keys["CHAP_I"])
        challenge = chap.decode_octets("CHAP_C", keys["CHAP_C"])
        self._algorithm = algorithm
        pairs = chap.respond(algorithm, identifier, challenge, self._chap, self._ledger)
        if self._mutual is not None:
            self._challenger = Challenger.issue(algorithm, self._ledger, self._random, avoid=challenge)
            pairs += self._challenger.pairs()
        self._step = "proof"
        self.ready = True
        return pairs

    def _proof_received(self, keys: Keys) -> Pairs:
        if self._mutual is None or self._challenger is None:
            _only(keys, frozenset(), "target")
            self._step = "over"
            return []
        _only(keys, frozenset({"CHAP_N", "CHAP_R"}), "target")
        if keys.keys() != {"CHAP_N", "CHAP_R"}:
            raise self._target_unproved("The target did not prove itself, though mutual CHAP is required.")
        response = chap.decode_octets("CHAP_R", keys["CHAP_R"])
        ours = self._chap.secret if self._chap is not None else None
        good = self._challenger.verify(response, self._mutual.secret, ours)
        if not good:
            raise self._target_unproved("The target failed to prove itself: its CHAP response is wrong.")
        if self._mutual.user and keys["CHAP_N"] != self._mutual.user:
            raise self._target_unproved(
                f"The target proved itself as “{visible(keys['CHAP_N'], 64)}”, "
                f"not as “{visible(self._mutual.user, 64)}”."
            )
        self._step = "over"
        return []

    def _nothing_more(self, keys: Keys) -> Pairs:
        _only(keys, frozenset(), "target")
        return []

    @staticmethod
    def _failed(cause: str, direction: str | None, check: str = "") -> LoginFailed:
        check = check or "Check whether the target has CHAP turned on for this initiator, and its algorithms."
        return LoginFailed(2, 1, LoginExplanation(cause, "target", check), direction=direction)

    @staticmethod
    def _target_unproved(cause: str) -> LoginFailed:
        return LoginFailed(
            2,
            1,
            LoginExplanation(
                cause,
                "initiator",
                "Compare the mutual CHAP user and secret with those on the target. If they agree, "
                "somebody else may answer at this address.",
            ),
            direction="target",
        )


class TargetSecurity:
    """What the target says and takes in the security stage. Steps: method → algorithm → response → over.

    `accepted` are the identities of which the initiator must prove one; None: no authentication is asked for.
    `mutual` is what we prove when the initiator wants it, only after it has proved itself (RFC 3723 §2.4.1).
    """

    def __init__(
        self,
        accepted: Sequence[ChapCredentials] | None,
        mutual: ChapCredentials | None,
        ledger: ChallengeLedger,
        random: Random,
        *,
        allow_short_secret: bool = False,
    ) -> None:
        self._accepted = accepted
        self._mutual = mutual
        self._ledger = ledger
        self._random = random
        self._allow_short_secret = allow_short_secret
        self._algorithm: int | None = None
        self._challenger: Challenger | None = None
        self._proved_ourselves = False
        self.chap_user: str | None = None
        self._steps: dict[str, Callable[[Keys], Pairs]] = {
            "method": self._method_offered,
            "algorithm": self._algorithms_offered,
            "response": self._response_received,
            "over": self._nothing_more,
        }
        self._step = "method"

    @property
    def over(self) -> bool:
        """The initiator may leave the stage."""
        return self._step == "over" or (self._accepted is None and self._step == "method")

    @property
    def auth(self) -> str:
        return chap.auth_text(self._algorithm, mutual=self._proved_ourselves)

    def receive(self, keys: Keys, *, transit: bool) -> Pairs:
        """Take the initiator's keys; returns ours. Raises RemoteProtocolError with the status to send."""
        if keys:
            return self._steps[self._step](keys)
        if self.over or (self._step == "method" and not transit):
            return []
        if transit:
            raise protocol_error("the initiator tried to skip the authentication", AUTHENTICATION_FAILURE)
        raise protocol_error("the initiator left out a step of CHAP", MISSING_PARAMETER)

    def _method_offered(self, keys: Keys) -> Pairs:
        if "AuthMethod" not in keys:
            raise protocol_error(
                "the initiator sent CHAP keys before a method was agreed on", INITIATOR_ERROR
            )
        _only(keys, frozenset({"AuthMethod"}), "initiator")
        methods = keys["AuthMethod"].split(",")
        wanted = text.NONE if self._accepted is None else _CHAP
        if wanted not in methods:
            why = (
                "the initiator offers no CHAP, which is required here"
                if self._accepted is not None
                else "the initiator insists on CHAP, which is not set up here"
            )
            raise protocol_error(why, AUTHENTICATION_FAILURE)
        self._step = "over" if self._accepted is None else "algorithm"
        return [("AuthMethod", wanted)]

    def _algorithms_offered(self, keys: Keys) -> Pairs:
        if "CHAP_A" not in keys:
            raise protocol_error("the initiator left out CHAP_A", MISSING_PARAMETER)
        _only(keys, frozenset({"CHAP_A"}), "initiator")
        self._algorithm = chap.choose_algorithm(keys["CHAP_A"])
        if self._algorithm is None:
            raise protocol_error(
                "the initiator offers no CHAP algorithm that is known", AUTHENTICATION_FAILURE
            )
        self._challenger = Challenger.issue(self._algorithm, self._ledger, self._random)
        self._step = "response"
        return [("CHAP_A", str(self._algorithm)), *self._challenger.pairs()]

    def _response_received(self, keys: Keys) -> Pairs:
        assert self._challenger is not None
        assert self._accepted is not None
        _only(keys, frozenset({"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}), "initiator")
        asks_back = "CHAP_C" in keys
        if not {"CHAP_N", "CHAP_R"} <= keys.keys() or asks_back != ("CHAP_I" in keys):
            raise protocol_error("the initiator left out a key of its CHAP response", MISSING_PARAMETER)
        response = chap.decode_octets("CHAP_R", keys["CHAP_R"])
        # Everything is decoded before the answer is judged: a malformed value is told from a wrong secret.
        identifier = chap.decode_identifier(keys["CHAP_I"]) if asks_back else 0
        challenge = chap.decode_octets("CHAP_C", keys["CHAP_C"]) if asks_back else b""
        user = keys["CHAP_N"]
        known = next((one for one in self._accepted if one.user == user), None)
        ours = self._mutual.secret if self._mutual is not None else None
        if not self._challenger.verify(response, known.secret if known else None, ours) or known is None:
            # One text and one code for a wrong secret and an unknown user.
            raise protocol_error(
                f"the initiator's CHAP user “{visible(user, 64)}” or its secret is wrong",
                AUTHENTICATION_FAILURE,
            )
        self.chap_user = user
        self._step = "over"
        return self._prove(identifier, challenge, known) if asks_back else []

    def _prove(self, identifier: int, challenge: bytes, known: ChapCredentials) -> Pairs:
        assert self._algorithm is not None
        mutual = self._mutual
        if mutual is None:
            raise protocol_error(
                "the initiator wants this target to prove itself, but no mutual CHAP secret is set here",
                AUTHENTICATION_FAILURE,
            )
        if mutual.secret == known.secret or (
            len(mutual.secret) < MIN_SECRET_BYTES and not self._allow_short_secret
        ):
            raise protocol_error(
                "the mutual CHAP secret of this target is too short, or the same as the initiator's (§9.2.1)",
                AUTHENTICATION_FAILURE,
            )
        pairs = chap.respond(self._algorithm, identifier, challenge, mutual, self._ledger)
        self._proved_ourselves = True
        return pairs

    @staticmethod
    def _nothing_more(keys: Keys) -> Pairs:
        raise protocol_error(
            f"the initiator sent {', '.join(sorted(keys))} after the authentication was over"
        )
