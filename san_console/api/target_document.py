"""Local targets as a YAML document, to keep, to edit and to apply again.

CHAP identities stand in it by name, secrets never. Reading is strict: an unknown or repeated key, a value of
another type, a reference to nothing are errors that tell the line. Nothing in a document is trusted: its
size, its depth and the number of its nodes are bounded, and it has no aliases, tags or objects.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from san_console.api.engine_objects import Identity
from san_console.api.methods import MAX_DOCUMENT_BYTES
from san_console.api.serving_objects import (
    AccessState,
    BackstoreKind,
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
)
from san_console.api.yaml_tree import DocumentError, Tree, read_tree, write_tree

SCHEMA: Final = "san-console/targets/1"

_SIZE = re.compile(r"(\d{1,19}) ?([KMGTPE])(?:iB?|B)?", re.ASCII)
_UNITS: Final = "KMGTPE"
_NO_ID = re.compile(r"[^a-z0-9._-]+")
MAX_MADE_ID_CHARACTERS: Final = 64


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """What is not written has its default."""


class ChapEntry(_Entry, kw_only=True):
    identities: list[str] = []
    mutual: str = ""


class GroupEntry(_Entry, kw_only=True):
    tag: int
    portals: list[str]
    access_state: AccessState = "active/optimized"
    preferred: bool = False
    redirect_to: str = ""
    redirect_permanent: bool = False


class LunEntry(_Entry, kw_only=True):
    id: str = ""
    """Made from the name where it is left out; the same each time."""
    name: str = ""
    kind: BackstoreKind
    path: str = ""
    size: int | str = 0
    """Bytes, or a number with a unit: `64 MiB`."""
    block_bytes: int = 512
    physical_block_bytes: int = 0
    read_only: bool = False
    thin: bool = False
    write_cache: bool = True
    soft_threshold_percent: int = 0
    rotation_rate: int = 1
    vendor: str = "SANCNSL"
    product: str = "VIRTUAL-DISK"
    revision: str = "0001"
    serial: str = ""
    identity_seed: str = ""
    online: bool = True
    create: bool = False


class InitiatorGroupEntry(_Entry, kw_only=True):
    name: str
    members: list[str] = []


class AccessEntry(_Entry, kw_only=True):
    subject: str
    chap: ChapEntry | None = None


class MappingEntry(_Entry, kw_only=True):
    initiator: str
    lun_id: str
    """Also the name of a LUN that is written without an id."""
    lun: int
    read_only: bool = False


class TargetEntry(_Entry, kw_only=True):
    name: str
    alias: str = ""
    enabled: bool = True
    portal_groups: list[GroupEntry]
    luns: list[LunEntry] = []
    initiator_groups: list[InitiatorGroupEntry] = []
    access: list[AccessEntry] = []
    mappings: list[MappingEntry] = []
    chap: ChapEntry | None = None
    limits: dict[str, int | float | bool | str] = {}
    register_with: list[str] = []


class _Document(_Entry, kw_only=True):
    schema: str
    targets_not_listed: Literal["keep", "remove"] = "keep"
    discovery_chap: ChapEntry | None = None
    targets: list[TargetEntry] = []


class TargetsDocument:
    """A document that was read. In its targets the CHAP identities are references, as they were written."""

    def __init__(self, found: _Document, tree: Tree) -> None:
        self.targets: list[LocalTarget] = []
        self.remove_others = found.targets_not_listed == "remove"
        self.discovery: ChapEntry | None = found.discovery_chap
        self.lines: dict[str, int] = {}
        """Where each target begins, by its name as it was written."""
        self.made_ids: dict[str, set[str]] = {}
        """The LUNs of each target that were written without an id."""
        for number, entry in enumerate(found.targets):
            path = f"$.targets[{number}]"
            if entry.name in self.lines:
                raise DocumentError(
                    f"The target {entry.name} stands in line {self.lines[entry.name]} already.",
                    tree.line(path),
                )
            self.lines[entry.name] = tree.line(path)
            self.made_ids[entry.name] = _give_ids(entry, path, tree)
            self.targets.append(_target(entry, path, tree))


def read_document(text: str) -> TargetsDocument:
    """Raises DocumentError."""
    if len(text.encode(errors="replace")) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"The document is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB.")
    tree = read_tree(text)
    if not isinstance(tree.value, dict) or tree.value.get("schema") != SCHEMA:
        raise DocumentError(
            f"This is no document with targets: its first line has to be “schema: {SCHEMA}”.", 1
        )
    return TargetsDocument(tree.converted(_Document), tree)


def write_document(targets: list[LocalTarget], discovery: ChapEntry | None) -> str:
    """The document of `targets`, in whose places for identities references stand."""
    found = _Document(schema=SCHEMA, discovery_chap=discovery, targets=[_entry(one) for one in targets])
    return write_tree(_told(found))


def _told(value: Any) -> Any:
    """Plain data, without what has its default."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    if not isinstance(value, msgspec.Struct):
        return value
    plain = {}
    for field in msgspec.structs.fields(value):
        one = getattr(value, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.required or one != default:
            plain[field.name] = _told(one)
    return plain


def _target(entry: TargetEntry, path: str, tree: Tree) -> LocalTarget:
    for name, members in (
        ("luns", [lun.id for lun in entry.luns]),
        ("portal_groups", [group.tag for group in entry.portal_groups]),
        ("initiator_groups", [group.name for group in entry.initiator_groups]),
        ("access", [row.subject for row in entry.access]),
        ("mappings", [(rule.initiator, rule.lun) for rule in entry.mappings]),
    ):
        _each_once(members, f"{path}.{name}", tree)
    ids = {lun.id for lun in entry.luns}
    for number, rule in enumerate(entry.mappings):
        if rule.lun_id not in ids:
            raise DocumentError(
                f"The mapping names the LUN {rule.lun_id}, which this target does not have.",
                tree.line(f"{path}.mappings[{number}]"),
            )
    chap = entry.chap or ChapEntry()
    return LocalTarget(
        id=entry.name,
        alias=entry.alias,
        enabled=entry.enabled,
        portal_groups=[PortalGroup(**msgspec.structs.asdict(group)) for group in entry.portal_groups],
        luns=[_lun(lun, f"{path}.luns[{number}]", tree) for number, lun in enumerate(entry.luns)],
        initiator_groups=[
            InitiatorGroup(name=group.name, members=group.members) for group in entry.initiator_groups
        ],
        access=[
            InitiatorAccess(
                subject=row.subject,
                identity_ids=row.chap.identities if row.chap else [],
                mutual_identity_id=row.chap.mutual if row.chap else "",
            )
            for row in entry.access
        ],
        mappings=[Mapping(**msgspec.structs.asdict(rule)) for rule in entry.mappings],
        identity_ids=chap.identities,
        mutual_identity_id=chap.mutual,
        limits=_limits(entry, path, tree),
        register_with=entry.register_with,
    )


def _give_ids(entry: TargetEntry, path: str, tree: Tree) -> set[str]:
    """An id for each LUN that is written without one, also where its mappings call it by its name."""
    made: dict[str, str] = {}
    for number, lun in enumerate(entry.luns):
        if lun.id:
            continue
        line = tree.line(f"{path}.luns[{number}]")
        if not lun.name:
            raise DocumentError("A LUN needs a name, or an id.", line)
        if lun.name in made:
            raise DocumentError(f"Two LUNs are called {lun.name}: give both an id.", line)
        lun.id = made[lun.name] = _made_id(lun.name)
    ids = {lun.id for lun in entry.luns}
    for rule in entry.mappings:
        if rule.lun_id not in ids:
            rule.lun_id = made.get(rule.lun_id, rule.lun_id)
    return set(made.values())


def _made_id(name: str) -> str:
    """The same for the same name, and of characters that need no quotes."""
    plain = _NO_ID.sub("-", name.lower()).strip("-")[:MAX_MADE_ID_CHARACTERS]
    return plain or hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8]


def keep_ids(new: LocalTarget, old: LocalTarget, made: set[str]) -> None:
    """LUNs of `new` whose id was `made` are the LUNs of `old` that have their names, whatever their ids."""
    names = Counter(lun.name or lun.id for lun in old.luns)
    known = {lun.name or lun.id: lun.id for lun in old.luns if names[lun.name or lun.id] == 1}
    taken = {lun.id for lun in new.luns}
    for lun in new.luns:
        was = known.get(lun.name)
        if lun.id not in made or was is None or was in taken:
            continue
        new.mappings = [
            msgspec.structs.replace(rule, lun_id=was) if rule.lun_id == lun.id else rule
            for rule in new.mappings
        ]
        lun.id = was
        taken.add(was)


def _each_once(members: list[Any], path: str, tree: Tree) -> None:
    seen: dict[Any, int] = {}
    for number, member in enumerate(members):
        line = tree.line(f"{path}[{number}]")
        if member in seen:
            said = ", ".join(map(str, member)) if isinstance(member, tuple) else member
            raise DocumentError(f"{said} stands in line {seen[member]} already.", line)
        seen[member] = line


def _lun(entry: LunEntry, path: str, tree: Tree) -> LocalLun:
    fields = msgspec.structs.asdict(entry)
    size = fields.pop("size")
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        if match is None:
            raise DocumentError(f"“{size}” is no size; write 64 MiB, or bytes.", tree.line(f"{path}.size"))
        size = int(match[1]) << 10 * (_UNITS.index(match[2]) + 1)
    if not 0 <= size < 2**63:
        raise DocumentError("This size is not possible.", tree.line(f"{path}.size"))
    fields["name"] = entry.name or entry.id
    return LocalLun(size_bytes=size, **fields)


def _limits(entry: TargetEntry, path: str, tree: Tree) -> OperationalLimits:
    known = {field.name: field.type for field in msgspec.structs.fields(OperationalLimits)}
    values: dict[str, Any] = {}
    for name, value in entry.limits.items():
        line = tree.line(f"{path}.limits.{name}")
        if name not in known:
            raise DocumentError(f"There is no limit “{name}”. There are {', '.join(known)}.", line)
        try:
            values[name] = msgspec.convert(value, known[name])
        except msgspec.ValidationError as error:
            raise DocumentError(f"{name}: {error}.", line) from None
    return OperationalLimits(**values)


def _entry(target: LocalTarget) -> TargetEntry:
    defaults = msgspec.structs.asdict(OperationalLimits())
    limits = msgspec.structs.asdict(target.limits)
    return TargetEntry(
        name=target.id,
        alias=target.alias,
        enabled=target.enabled,
        portal_groups=[GroupEntry(**msgspec.structs.asdict(group)) for group in target.portal_groups],
        luns=[_lun_entry(lun) for lun in target.luns],
        initiator_groups=[
            InitiatorGroupEntry(name=group.name, members=group.members) for group in target.initiator_groups
        ],
        access=[
            AccessEntry(subject=row.subject, chap=chap_entry(row.identity_ids, row.mutual_identity_id))
            for row in target.access
        ],
        mappings=[MappingEntry(**msgspec.structs.asdict(rule)) for rule in target.mappings],
        chap=chap_entry(target.identity_ids, target.mutual_identity_id),
        limits={name: value for name, value in limits.items() if value != defaults[name]},
        register_with=target.register_with,
    )


def chap_entry(identities: list[str], mutual: str) -> ChapEntry | None:
    return ChapEntry(identities=identities, mutual=mutual) if identities or mutual else None


def _lun_entry(lun: LocalLun) -> LunEntry:
    fields = {name: getattr(lun, name) for name in LunEntry.__struct_fields__ if name != "size"}
    fields["name"] = "" if lun.name == lun.id else lun.name
    return LunEntry(size=size_words(lun.size_bytes), **fields)


def size_words(size_bytes: int) -> int | str:
    """`64 MiB` where that is the whole of it, else the bytes. Read again it is the same."""
    for power in range(len(_UNITS), 0, -1):
        if size_bytes and size_bytes % (1 << 10 * power) == 0:
            return f"{size_bytes >> 10 * power} {_UNITS[power - 1]}iB"
    return size_bytes


def identity_references(identities: Iterable[Identity]) -> dict[str, str]:
    """How each identity is called in documents, by its id: by its CHAP name, where that is unique."""
    known = list(identities)
    counts = Counter(one.user for one in known)
    return {
        one.id: one.user if counts[one.user] == 1 and not one.user.startswith("id:") else f"id:{one.id}"
        for one in known
    }


def referenced_identity(reference: str, identities: Iterable[Identity]) -> str:
    """The id of the identity that a document means. Raises KeyError when there is none, or not just one."""
    known = list(identities)
    found = [one.id for one in known if reference in (one.user, f"id:{one.id}")]
    if len(found) != 1:
        raise KeyError(reference)
    return found[0]


def with_identities(target: LocalTarget, name: Callable[[str], str]) -> LocalTarget:
    """A copy of `target` with `name` of each identity in its place."""
    return msgspec.structs.replace(
        target,
        identity_ids=[name(one) for one in target.identity_ids],
        mutual_identity_id=name(target.mutual_identity_id) if target.mutual_identity_id else "",
        access=[
            InitiatorAccess(
                subject=row.subject,
                identity_ids=[name(one) for one in row.identity_ids],
                mutual_identity_id=name(row.mutual_identity_id) if row.mutual_identity_id else "",
            )
            for row in target.access
        ],
    )
