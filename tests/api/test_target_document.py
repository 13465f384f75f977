"""Targets written as a document and read again; identities by name."""

from __future__ import annotations

import random
import string

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.api.engine_objects import Identity
from san_console.api.methods import MAX_DOCUMENT_BYTES
from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
)
from san_console.api.target_document import (
    SCHEMA,
    ChapEntry,
    identity_references,
    keep_ids,
    read_document,
    referenced_identity,
    size_words,
    with_identities,
    write_document,
)
from san_console.api.yaml_tree import DocumentError

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
luns = st.builds(
    LocalLun,
    id=names,
    name=names,
    kind=st.sampled_from(["file", "memory", "block", "null"]),
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    size_bytes=st.integers(0, 2**62),
    block_bytes=st.sampled_from([512, 4096]),
    read_only=st.booleans(),
    thin=st.booleans(),
    write_cache=st.booleans(),
    rotation_rate=st.integers(0, 65534),
    serial=names,
    online=st.booleans(),
)


@st.composite
def targets(draw: st.DrawFn) -> LocalTarget:
    chosen = draw(st.lists(luns, max_size=4, unique_by=lambda lun: lun.id))
    subjects = draw(st.lists(names, max_size=4, unique=True))
    return LocalTarget(
        id=draw(names),
        alias=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        enabled=draw(st.booleans()),
        portal_groups=[
            PortalGroup(tag=tag, portals=draw(st.lists(names, max_size=3)), preferred=draw(st.booleans()))
            for tag in draw(st.lists(st.integers(0, 65535), max_size=3, unique=True))
        ],
        luns=chosen,
        initiator_groups=[
            InitiatorGroup(name=name, members=draw(st.lists(names, max_size=3)))
            for name in draw(st.lists(names, max_size=3, unique=True))
        ],
        access=[
            InitiatorAccess(subject=subject, identity_ids=draw(st.lists(names, max_size=2)))
            for subject in subjects
        ],
        mappings=[
            Mapping(initiator=subject, lun_id=lun.id, lun=number, read_only=draw(st.booleans()))
            for subject in subjects
            for number, lun in enumerate(chosen)
        ],
        limits=OperationalLimits(max_sessions=draw(st.integers(1, 99)), initial_r2t=draw(st.booleans())),
        register_with=draw(st.lists(names, max_size=2)),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(targets(), max_size=3, unique_by=lambda target: target.id))
def test_every_target_survives_the_document(wanted: list[LocalTarget]) -> None:
    text = write_document(wanted, None)
    found = read_document(text)
    assert found.targets == wanted
    assert write_document(found.targets, None) == text
    assert yaml.safe_load(text)["schema"] == SCHEMA


def test_only_what_differs_from_the_default_is_written() -> None:
    target = LocalTarget(id="iqn.x:y", portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])])
    assert write_document([target], ChapEntry(identities=["asker"])).splitlines() == [
        "schema: san-console/targets/1",
        "discovery_chap:",
        "  identities:",
        "    - asker",
        "targets:",
        "  - name: iqn.x:y",
        "    portal_groups:",
        "      - tag: 1",
        "        portals:",
        "          - 127.0.0.1:3260",
    ]


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [("64 MiB", 64 << 20), ("64M", 64 << 20), ("1 TiB", 1 << 40), ("512", 512), ("3 GB", 3 << 30)],
)
def test_sizes_are_read_as_they_are_written_everywhere(size: str, size_bytes: int) -> None:
    text = write_document([LocalTarget(id="x", luns=[LocalLun(id="a", name="a", kind="memory")])], None)
    quoted = size if size.isdigit() else f'"{size}"'
    read = read_document(text.replace("kind: memory", f"kind: memory\n        size: {quoted}"))
    assert read.targets[0].luns[0].size_bytes == size_bytes


@given(st.integers(0, 2**62))
def test_a_size_in_words_is_that_size(size_bytes: int) -> None:
    lun = LocalLun(id="a", name="a", kind="memory", size_bytes=size_bytes)
    text = write_document([LocalTarget(id="x", luns=[lun])], None)
    assert read_document(text).targets[0].luns[0].size_bytes == size_bytes
    assert isinstance(size_words(size_bytes), str) == bool(size_bytes and size_bytes % 1024 == 0)


def test_a_document_over_the_limit_is_not_even_read() -> None:
    with pytest.raises(DocumentError, match="larger"):
        read_document("#" * (MAX_DOCUMENT_BYTES + 1))


def test_documents_cut_and_changed_at_random_are_read_or_refused() -> None:
    chance = random.Random(7)
    target = LocalTarget(
        id="iqn.x:y",
        portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
        luns=[LocalLun(id="a", name="a", kind="memory", size_bytes=1024)],
        mappings=[Mapping(initiator="*", lun_id="a", lun=0)],
    )
    text = write_document([target], None)
    refused, lines = 0, set()
    for _ in range(1500):
        at = chance.randrange(len(text))
        damaged = text[:at] + chance.choice(string.printable) * chance.randrange(3) + text[at + 1 :]
        try:
            read_document(damaged)
        except DocumentError as error:
            refused += 1
            lines.add(error.line)
    assert refused > 500
    assert max(lines) <= text.count("\n") + 2


def test_identities_are_called_by_their_user_where_that_is_enough() -> None:
    known = [Identity(id="1", user="one"), Identity(id="2", user="twin"), Identity(id="3", user="twin")]
    references = identity_references(known)
    assert references == {"1": "one", "2": "id:2", "3": "id:3"}
    for identity in known:
        assert referenced_identity(references[identity.id], known) == identity.id
    for wrong in ("twin", "none", "id:9", ""):
        with pytest.raises(KeyError):
            referenced_identity(wrong, known)
    target = LocalTarget(
        id="x",
        identity_ids=["1"],
        mutual_identity_id="2",
        access=[InitiatorAccess(subject="*", identity_ids=["3"])],
    )
    there = with_identities(target, references.__getitem__)
    assert (there.identity_ids, there.mutual_identity_id, there.access[0].identity_ids) == (
        ["one"],
        "id:2",
        ["id:3"],
    )
    assert with_identities(there, lambda one: referenced_identity(one, known)) == target
    assert target.identities_in_use() == ["1", "2", "3"]


def test_a_limit_has_the_type_of_its_field() -> None:
    text = write_document([LocalTarget(id="x")], None)
    (target,) = read_document(text + "    limits: {nop_in_interval_s: 15, max_sessions: 7}\n").targets
    assert target.limits == OperationalLimits(max_sessions=7)
    assert isinstance(target.limits.nop_in_interval_s, float)
    for wrong in ("max_sessions: true", "max_sessions: 1.5", "initial_r2t: 1", "header_digest: crc32c"):
        with pytest.raises(DocumentError, match="Line 5"):
            read_document(text + f"    limits: {{{wrong}}}\n")


SHORT = f"""schema: {SCHEMA}
targets:
- name: iqn.2026-11.org.example:t
  portal_groups: [{{tag: 1, portals: ["127.0.0.1:3260"]}}]
  luns:
  - {{name: My Data, kind: memory, size: 8 MiB}}
  - {{id: b, name: other, kind: memory, size: 8 MiB}}
  - {{name: "\u65e5", kind: memory, size: 8 MiB}}
  mappings:
  - {{initiator: "*", lun_id: My Data, lun: 0}}
  - {{initiator: "*", lun_id: b, lun: 1}}
"""


def test_a_lun_without_an_id_gets_one_from_its_name() -> None:
    document = read_document(SHORT)
    [target] = document.targets
    ids = [lun.id for lun in target.luns]
    assert ids[:2] == ["my-data", "b"]
    assert ids == [lun.id for lun in read_document(SHORT).targets[0].luns]
    assert [rule.lun_id for rule in target.mappings] == ["my-data", "b"]
    assert document.made_ids[target.id] == {"my-data", ids[2]}
    # A LUN of that name that is there already is meant, whatever its id.
    there = LocalTarget(id=target.id, luns=[LocalLun(id="77aa", name="My Data", kind="memory")])
    keep_ids(target, there, document.made_ids[target.id])
    assert [lun.id for lun in target.luns] == ["77aa", "b", ids[2]]
    assert [rule.lun_id for rule in target.mappings] == ["77aa", "b"]
    # Not where the document has another LUN of that id, or the name is not unique.
    for luns in (
        [LocalLun(id="b", name="My Data", kind="memory")],
        [LocalLun(id=one, name="My Data", kind="memory") for one in ("1", "2")],
    ):
        again = read_document(SHORT).targets[0]
        keep_ids(again, LocalTarget(id=target.id, luns=luns), {"my-data"})
        assert [lun.id for lun in again.luns] == ids


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{kind: memory, size: 1 MiB}", "needs a name, or an id"),
        ("{name: My Data, kind: memory, size: 1 MiB}", "Two LUNs are called My Data"),
        ("{name: my data, kind: memory, size: 1 MiB}", "my-data stands in line 6 already"),
    ],
)
def test_luns_that_cannot_be_told_apart(wrong: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as error:
        read_document(SHORT.replace("{id: b, name: other, kind: memory, size: 8 MiB}", wrong))
    assert error.value.line == 7
