"""What an initiator brings to a login, and what it takes home."""

from __future__ import annotations

from dataclasses import dataclass, field

from san_console.iscsi.chap import PREFERENCE
from san_console.iscsi.parameters import KeyRecord, Offer, OperationalParameters
from san_console.names.credentials import ChapCredentials


@dataclass(slots=True)
class LoginSettings:
    """One login. `target_name` None asks for a discovery session.

    `isid` is 6 bytes, the same at each login of the same session (RFC 7143 §10.1.1). `chap` is what we
    prove; `mutual_chap` what the target has to prove: its name (empty: any name) and secret. `algorithms`
    is in order of preference, MD5 is added when missing (§12.1.3). `allow_short_secret`: IPsec protects the
    connection. With a `tsih` the connection joins that session, whose parameters are `session_parameters`.
    """

    initiator_name: str
    target_name: str | None
    isid: bytes
    tsih: int = 0
    cid: int = 0
    cmd_sn: int = 1
    itt: int = 1
    initiator_alias: str | None = None
    chap: ChapCredentials | None = None
    mutual_chap: ChapCredentials | None = None
    algorithms: tuple[int, ...] = PREFERENCE
    allow_short_secret: bool = False
    offer: Offer = field(default_factory=Offer)
    session_parameters: OperationalParameters | None = None


@dataclass(slots=True)
class LoginResult:
    """A session at the begin of its full feature phase. `stat_sn` is the last received, `exp_stat_sn` the
    next.

    `tpgt` is None when the target did not name its portal group. `auth` is text like "CHAP SHA-256 mutual".
    """

    params: OperationalParameters
    keys: list[KeyRecord]
    tsih: int
    tpgt: int | None
    target_alias: str | None
    stat_sn: int
    exp_stat_sn: int
    cmd_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    auth: str
