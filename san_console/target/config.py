"""What a target is made of, as data: portal groups, LUNs, mappings, who may log in, and limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from san_console.names.credentials import MIN_SECRET_BYTES, ChapCredentials
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.names.lun import MAX_FLAT_LUN
from san_console.names.portal import Portal
from san_console.target.errors import ConfigError
from san_console.target.limits import TargetLimits
from san_console.target.lun_config import (
    BACKSTORE_KINDS,
    BLOCK_SIZES,
    MAX_SIZE_BYTES,
    BackstoreKind,
    BackstoreSpec,
    LunConfig,
    parse_lun,
    parse_size,
    parse_spec,
)
from san_console.target.subjects import ANYONE, SubjectIndex, check_group_name, parse_subject

__all__ = [
    "ANYONE",
    "BACKSTORE_KINDS",
    "BLOCK_SIZES",
    "MAX_LUNS_PER_TARGET",
    "MAX_PORTAL_GROUP_TAG",
    "MAX_SIZE_BYTES",
    "AccessState",
    "BackstoreKind",
    "BackstoreSpec",
    "ChapConfig",
    "InitiatorAccess",
    "InitiatorGroup",
    "LunConfig",
    "MappingRule",
    "PortalGroup",
    "Redirect",
    "TargetConfig",
    "TargetLimits",
    "parse_lun",
    "parse_size",
    "parse_spec",
    "without_luns",
]

AccessState = Literal[
    "active/optimized", "active/non-optimized", "standby", "unavailable", "offline", "transitioning"
]
ACCESS_STATES: tuple[AccessState, ...] = get_args(AccessState)
# REPORT LUNS of all of them stays below 4 KiB; SCST and Windows have limits of the same order.
MAX_LUNS_PER_TARGET = 256
# RFC 7143 §13.9. The tag is also the ALUA target port group and the relative target port; 0 is reserved
# there (SPC-4 §7.8.6.2.3).
MAX_PORTAL_GROUP_TAG = 65535
MAX_PORTALS_PER_TARGET = 64  # a SendTargets answer for one of them stays in one PDU
MAX_GROUPS_PER_TARGET = 32  # SCST's limit of ALUA target port groups is of the same order
MAX_ALIAS_BYTES = 255  # RFC 7143 §6.1; a NUL in it would begin another key of the login
MAX_INITIATOR_GROUPS = 1024
MAX_GROUP_MEMBERS = 1024
# Addresses that mean every interface cannot be told to an initiator that is sent there.
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, nothing is bound to it


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where logins through a portal group are sent: for this time, or for good (RFC 7143 §11.13.5)."""

    portal: Portal
    permanent: bool = False

    def __post_init__(self) -> None:
        if not self.portal.port or self.portal.host in _ANY_ADDRESS:
            raise ConfigError(
                f"Nobody can be redirected to {self.portal}.", check="Give one address and its port."
            )


@dataclass(frozen=True, slots=True)
class PortalGroup:
    """Portals whose sessions have one view of the target. `tag` is the portal group tag (RFC 7143 §4.4.1),
    the ALUA target port group and the relative target port; `access_state` and `preferred` are ALUA's.
    """

    tag: int
    portals: list[Portal]
    access_state: AccessState = "active/optimized"
    preferred: bool = False
    redirect: Redirect | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.tag <= MAX_PORTAL_GROUP_TAG:
            raise ConfigError(
                f"A portal group tag of {self.tag} does not exist.",
                check=f"Choose 1 to {MAX_PORTAL_GROUP_TAG}.",
            )
        if self.access_state not in ACCESS_STATES:
            raise ConfigError(
                f"“{visible(self.access_state, 40)}” is no access state.",
                check=f"Choose one of {', '.join(ACCESS_STATES)}.",
            )


@dataclass(frozen=True, slots=True)
class MappingRule:
    """Whom `initiator` means (a subject, see subjects.py) sees LUN `lun_id` as number `lun`."""

    initiator: str
    lun_id: str
    lun: int
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ChapConfig:
    """Who may log in (any of `accepted`), and how the target proves itself when the initiator asks."""

    accepted: list[ChapCredentials]
    mutual: ChapCredentials | None = None

    def __post_init__(self) -> None:
        if not self.accepted:
            raise ConfigError(
                "CHAP without an identity lets nobody in.", check="Add a CHAP identity, or turn CHAP off."
            )
        for one in (*self.accepted, *([self.mutual] if self.mutual else [])):
            if len(one.secret) < MIN_SECRET_BYTES:
                raise ConfigError(
                    f"The CHAP secret of “{visible(one.user, 64)}” is shorter than {MIN_SECRET_BYTES} bytes.",
                    check="Choose a longer secret (RFC 7143 §9.2.1).",
                )
        if self.mutual and any(one.secret == self.mutual.secret for one in self.accepted):
            raise ConfigError(
                "The secret is the same in both directions.",
                check="The target needs a secret of its own (RFC 7143 §9.2.1).",
            )
        users = [one.user for one in self.accepted]
        if len(set(users)) != len(users):
            raise ConfigError(
                "Two of the CHAP identities have the same name.",
                check="Each name that may log in to a target has one secret.",
            )


@dataclass(frozen=True, slots=True)
class InitiatorGroup:
    """Initiators under one name. `members` are subjects (see subjects.py), no groups."""

    name: str
    members: list[str]


@dataclass(frozen=True, slots=True)
class InitiatorAccess:
    """Whom `subject` means may log in, mapped or not; `chap` None: with the identities of the target."""

    subject: str
    chap: ChapConfig | None = None


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """A target. `chap` is asked of initiators that have no identities of their own. `anyone` lets every
    initiator log in; with no mapping at all it sees all LUNs, in order.
    """

    name: str
    groups: list[PortalGroup]
    alias: str = ""
    luns: list[LunConfig] = field(default_factory=list)
    mappings: list[MappingRule] = field(default_factory=list)
    initiators: list[InitiatorAccess] = field(default_factory=list)
    initiator_groups: list[InitiatorGroup] = field(default_factory=list)
    chap: ChapConfig | None = None
    anyone: bool = False
    limits: TargetLimits = field(default_factory=TargetLimits)
    mapping_index: SubjectIndex[MappingRule] = field(init=False, repr=False, compare=False)
    access_index: SubjectIndex[InitiatorAccess] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            name = normalise(self.name)
        except InvalidName as error:
            raise ConfigError(
                str(error), check="Write a name such as iqn.2026-11.org.example:disks."
            ) from error
        object.__setattr__(self, "name", name)
        if len(self.alias.encode(errors="replace")) > MAX_ALIAS_BYTES or "\0" in self.alias:
            raise ConfigError(
                f"“{visible(self.alias, 80)}” cannot be the alias of a target.",
                check=f"Use at most {MAX_ALIAS_BYTES} bytes, and no NUL.",
            )
        self._check_groups()
        if len(self.luns) > MAX_LUNS_PER_TARGET:
            raise ConfigError(
                f"A target has at most {MAX_LUNS_PER_TARGET} LUNs.",
                check="Spread the LUNs over several targets.",
            )
        ids = [lun.id for lun in self.luns]
        if len(set(ids)) != len(ids):
            raise ConfigError("Two LUNs of the target have the same id.", check="Give each LUN its own id.")
        self._check_initiator_groups()
        self._check_mappings(set(ids))
        self._check_secrets()
        groups = [(group.name, group.members) for group in self.initiator_groups]
        object.__setattr__(
            self, "mapping_index", SubjectIndex(((rule.initiator, rule) for rule in self.mappings), groups)
        )
        object.__setattr__(
            self, "access_index", SubjectIndex(((one.subject, one) for one in self.initiators), groups)
        )

    @property
    def portals(self) -> list[Portal]:
        """The portals of all groups."""
        return [portal for group in self.groups for portal in group.portals]

    def group_at(self, portal: Portal) -> PortalGroup | None:
        """The group that a portal is in."""
        return next((group for group in self.groups if portal in group.portals), None)

    def group_of_tag(self, tag: int) -> PortalGroup | None:
        """The group with this tag."""
        return next((group for group in self.groups if group.tag == tag), None)

    def _check_groups(self) -> None:
        portals = self.portals
        if not portals:
            raise ConfigError("A target needs at least one portal.", check="Give an address and a port.")
        if len(portals) > MAX_PORTALS_PER_TARGET or len(self.groups) > MAX_GROUPS_PER_TARGET:
            raise ConfigError(
                f"A target has at most {MAX_PORTALS_PER_TARGET} portals in {MAX_GROUPS_PER_TARGET} groups.",
                check="Serve several targets.",
            )
        tags = [group.tag for group in self.groups]
        if len(set(tags)) != len(tags):
            raise ConfigError("Two portal groups have the same tag.", check="Give each group its own tag.")
        if len(set(portals)) != len(portals):
            raise ConfigError(
                "A portal is given twice.", check="A portal is in one group of a target, and once."
            )

    def _check_initiator_groups(self) -> None:
        names = [check_group_name(group.name) for group in self.initiator_groups]
        if len(set(names)) != len(names):
            raise ConfigError(
                "Two groups of initiators have the same name.", check="Give each group its own name."
            )
        if len(names) > MAX_INITIATOR_GROUPS or any(
            len(group.members) > MAX_GROUP_MEMBERS for group in self.initiator_groups
        ):
            raise ConfigError(
                f"A target has at most {MAX_INITIATOR_GROUPS} groups of {MAX_GROUP_MEMBERS} initiators.",
                check="Use patterns or networks.",
            )
        if len({parse_subject(one.subject).text for one in self.initiators}) != len(self.initiators):
            raise ConfigError(
                "The access list names an initiator twice.", check="Keep one entry for each of them."
            )

    def _check_mappings(self, ids: set[str]) -> None:
        seen: set[tuple[str, int]] = set()
        for rule in self.mappings:
            if rule.lun_id not in ids:
                raise ConfigError(
                    f"A mapping names the LUN “{visible(rule.lun_id, 60)}”, which the target does not have.",
                    check="Remove the mapping or add the LUN.",
                )
            if not 0 <= rule.lun <= MAX_FLAT_LUN:
                raise ConfigError(
                    f"LUN number {rule.lun} cannot be addressed.", check=f"Choose 0 to {MAX_FLAT_LUN}."
                )
            subject = parse_subject(rule.initiator).text
            if (subject, rule.lun) in seen:
                raise ConfigError(
                    f"LUN number {rule.lun} is mapped twice for “{visible(rule.initiator, 80)}”.",
                    check="Give each LUN that an initiator sees its own number.",
                )
            seen.add((subject, rule.lun))

    def _check_secrets(self) -> None:
        """A secret that the target proves itself with must be nobody's way in (RFC 7143 §9.2.1): also not
        that of an initiator with identities of its own.
        """
        configs = {id(chap): chap for chap in (self.chap, *(one.chap for one in self.initiators)) if chap}
        ours = {
            id(chap.mutual.secret): chap.mutual.secret for chap in configs.values() if chap.mutual is not None
        }
        theirs = {id(one.secret): one.secret for chap in configs.values() for one in chap.accepted}
        if {secret.reveal() for secret in ours.values()} & {secret.reveal() for secret in theirs.values()}:
            raise ConfigError(
                "The target proves itself with a secret that also lets an initiator in.",
                check="The target needs a secret of its own (RFC 7143 §9.2.1).",
            )


def without_luns(config: TargetConfig, there: set[str]) -> TargetConfig:
    """`config` with those LUNs only whose id is in `there`, and the mappings of them."""
    return replace(
        config,
        luns=[lun for lun in config.luns if lun.id in there],
        mappings=[rule for rule in config.mappings if rule.lun_id in there],
    )
