"""How a session is to be made and kept up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from san_console.iscsi.parameters import Offer, digest_offer
from san_console.names.credentials import ChapCredentials
from san_console.names.portal import Portal

Digest = Literal["none", "prefer", "require"]

# The published values of open-iscsi, which its users know (login 15 s, NOP 5/5 s).
LOGIN_TIMEOUT_S = 15.0
NOP_INTERVAL_S = 5.0
NOP_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
#: After an outage of this length the callers of commands want to know; as open-iscsi's replacement_timeout.
RECOVERY_TIMEOUT_S = 120.0


@dataclass(slots=True)
class RetryPolicy:
    """When to log in again: after `first_s`, then `factor` times longer each time, at most `max_s`.

    `attempts` of None means for ever (until `stop_retrying`).
    """

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 30.0
    attempts: int | None = None

    def delay_s(self, attempt: int) -> float:
        """How long to wait before attempt number `attempt` (from 1)."""
        # Bounded exponent: factor ** 10000 would overflow long before anybody stops.
        return min(self.first_s * self.factor ** min(attempt - 1, 64), self.max_s)


@dataclass(slots=True)
class SessionSettings:
    """One session to one target through one portal.

    `chap` is what we prove to the target, `mutual_chap` what the target must prove to us. `isid` of None
    makes a random one, which stays the same for the life of the `Session` object (RFC 7143 §10.1.1: by it the
    target recognises the session). `offer` replaces the wishes for negotiation; the digest settings win over
    it.
    """

    initiator_name: str
    target_name: str
    portal: Portal
    chap: ChapCredentials | None = None
    mutual_chap: ChapCredentials | None = None
    header_digest: Digest = "none"
    data_digest: Digest = "none"
    source_address: str | None = None
    isid: bytes | None = None
    offer: Offer | None = None
    initiator_alias: str | None = None
    login_timeout_s: float = LOGIN_TIMEOUT_S
    nop_interval_s: float = NOP_INTERVAL_S
    nop_timeout_s: float = NOP_TIMEOUT_S
    command_timeout_s: float = COMMAND_TIMEOUT_S
    recovery_timeout_s: float = RECOVERY_TIMEOUT_S
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def effective_offer(self) -> Offer:
        """The wishes with the digest settings applied."""
        offer = self.offer or Offer()
        offer.header_digest = _digests(self.header_digest)
        offer.data_digest = _digests(self.data_digest)
        return offer


def _digests(wish: Digest) -> tuple[str, ...]:
    # Who says none gets none: CRC32C in the list, even behind None, would let the target decide otherwise.
    return ("None",) if wish == "none" else digest_offer(wish)


def random_isid(random_bytes: bytes) -> bytes:
    """An ISID of the random format (RFC 7143 §11.12.5, type 10b) from 5 random bytes."""
    if len(random_bytes) != 5:
        raise ValueError(f"an ISID of the random format has 5 random bytes, not {len(random_bytes)}")
    return b"\x80" + random_bytes
