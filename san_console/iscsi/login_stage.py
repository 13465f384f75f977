"""The login stage machine and text continued over PDUs, for both roles (RFC 7143 §6.3, §11.12, §11.13)."""

from __future__ import annotations

from san_console.iscsi import text
from san_console.iscsi.keys import KEYS, Role
from san_console.iscsi.opcodes import (
    DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES,
    FULL_FEATURE_PHASE,
    LOGIN_OPERATIONAL_NEGOTIATION,
    SECURITY_NEGOTIATION,
    STAGE_NAMES,
)
from san_console.iscsi.text import Pairs, TextCollector, protocol_error
from san_console.names.display import visible

# §6.3, the table of stage transitions: (start) is the CSG of the first request.
START_STAGES = frozenset({SECURITY_NEGOTIATION, LOGIN_OPERATIONAL_NEGOTIATION})
TRANSITIONS = frozenset(
    {
        (SECURITY_NEGOTIATION, LOGIN_OPERATIONAL_NEGOTIATION),
        (SECURITY_NEGOTIATION, FULL_FEATURE_PHASE),
        (LOGIN_OPERATIONAL_NEGOTIATION, FULL_FEATURE_PHASE),
    }
)

# Sent more than once on purpose: a redirect may name several addresses (§6.3, §11.13.5).
_REPEATABLE = frozenset({"TargetAddress"})
_UNMEASURED = frozenset({"binary", "list"})  # measured item by item, or in decoded form


def check_flags(csg: int, nsg: int, *, transit: bool, continued: bool, peer: Role) -> None:
    """Refuse stages and flags that §6.3 does not know. Raises RemoteProtocolError."""
    if transit and continued:
        raise protocol_error(f"the {peer} set both T and C (RFC 7143 §11.12.2)")
    if csg not in START_STAGES:
        raise protocol_error(f"the {peer} names the current stage {csg}, which is none of a login")
    if transit and (csg, nsg) not in TRANSITIONS:
        to = STAGE_NAMES.get(nsg, f"reserved stage {nsg}")
        raise protocol_error(f"the {peer} wants to go from {STAGE_NAMES[csg]} to {to} (RFC 7143 §6.3)")


class LoginText:
    """The text of one login: what `peer` sends is joined and checked, what we send is cut into PDUs.

    Everything is bounded: bytes of one text, exchanges in all, each key once.
    """

    def __init__(self, peer: Role) -> None:
        self.peer: Role = peer
        self.exchanges = 0
        self._collector = TextCollector()
        self._seen: set[str] = set()
        self._outgoing = bytearray()
        #: The last segment of ours had the C bit.
        self.sending = False

    def receive(self, data: text.Bytes, *, continued: bool) -> Pairs | None:
        """The pairs when the text is complete, None while it goes on. Raises RemoteProtocolError."""
        self.exchanges += 1
        if self.exchanges > text.MAX_EXCHANGES:
            raise protocol_error(
                f"the {self.peer} does not come to an end within {text.MAX_EXCHANGES} exchanges"
            )
        if len(data) and self.sending:
            # §6.2: a C bit is answered with an empty data segment.
            raise protocol_error(f"the {self.peer} sent text in the middle of ours (RFC 7143 §6.2)")
        whole = self._collector.add(data, continued=continued)
        return None if whole is None else text.decode_pairs(whole)

    @property
    def joining(self) -> bool:
        """The peer's text is not complete: the answer is an empty PDU."""
        return self._collector.pending

    def check_keys(self, pairs: Pairs, stage: int) -> None:
        """Who may send which key in which stage, and once only. Raises RemoteProtocolError."""
        for name, value in pairs:
            key = KEYS.get(name)
            if key is not None:
                if self.peer not in key.senders:
                    raise protocol_error(f"{name} is not for the {self.peer} to send (RFC 7143 §13)")
                if stage not in key.stages:
                    raise protocol_error(f"{name} is not allowed in {STAGE_NAMES[stage]} (RFC 7143 §6.3)")
            if name in self._seen and name not in _REPEATABLE:
                raise protocol_error(f"the {self.peer} sent {visible(name, 63)} twice (RFC 7143 §6.3)")
            self._seen.add(name)
            if (key is None or key.kind not in _UNMEASURED) and len(value.encode()) > text.MAX_VALUE_BYTES:
                raise protocol_error(
                    f"the {self.peer}'s {visible(name, 63)} is longer than {text.MAX_VALUE_BYTES} bytes"
                )

    def queue(self, pairs: Pairs) -> None:
        """Hand over text to send; it leaves with the next PDUs."""
        self._outgoing += text.encode_pairs(pairs)

    def next_segment(self) -> tuple[bytes, bool]:
        """The next data segment, and whether it is to be continued (C bit)."""
        segment = bytes(self._outgoing[:DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES])
        del self._outgoing[: len(segment)]
        self.sending = bool(self._outgoing)
        return segment, self.sending
