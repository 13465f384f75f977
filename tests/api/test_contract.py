"""The tables of the contract are whole, and its written form tells of each method, message and collection."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import msgspec
import pytest

import san_console.api
from san_console.api.messages import API_VERSION, COLLECTIONS, OLDEST_API_VERSION, Message, decode_message
from san_console.api.methods import METHODS, ByAddress
from san_console.api.problems import PROBLEM_CODES, ApiProblem, Problem

PROTOCOL = (Path(san_console.api.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")


def written_methods() -> set[str]:
    found: set[str] = set()
    section = PROTOCOL[PROTOCOL.index("## Methods") :]
    for row in re.findall(r"^\| (`.*?) \|", section, re.M):
        prefix = ""
        for name in re.findall(r"`([a-z_.]+)`", row):
            if name.startswith("."):
                found.add(prefix + name)
            else:
                prefix = name.split(".", maxsplit=1)[0]
                found.add(name)
    return found


def test_the_written_protocol_lists_exactly_the_methods() -> None:
    assert written_methods() == set(METHODS)


def test_the_written_protocol_lists_every_message_and_collection() -> None:
    for kind in typing.get_args(Message):
        assert f"| `{kind.__struct_config__.tag}` |" in PROTOCOL
    for collection in COLLECTIONS:
        assert f"`{collection}`" in PROTOCOL


@pytest.mark.parametrize("method", METHODS)
def test_parameters_with_only_defaults_come_from_an_empty_object(method: str) -> None:
    params = METHODS[method].params
    fields = msgspec.structs.fields(params)
    if all(not field.required for field in fields):
        assert msgspec.json.decode(b"{}", type=params) == params()
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(b"{}", type=params)


@pytest.mark.parametrize("method", METHODS)
def test_every_result_type_can_be_decoded(method: str) -> None:
    msgspec.json.Decoder(METHODS[method].result)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_every_object_has_an_id_and_survives_the_wire(collection: str) -> None:
    kind = COLLECTIONS[collection]
    assert "id" in kind.__struct_fields__
    schema = msgspec.json.schema(kind)
    assert schema


def test_no_answer_has_a_place_for_a_secret() -> None:
    for name, method in METHODS.items():
        if method.result is not None:
            text = msgspec.json.encode(msgspec.json.schema(method.result)).decode()
            assert '"secret"' not in text, name
    for kind in COLLECTIONS.values():
        assert '"secret"' not in msgspec.json.encode(msgspec.json.schema(kind)).decode()


def test_problems_are_a_closed_list() -> None:
    with pytest.raises(ValueError, match="no problem code"):
        ApiProblem("made-up", "x")
    assert ApiProblem.from_problem(Problem(code="of-a-later-version", message="x")).code == "internal"
    problem = ApiProblem("in-use", "m", side="s", check="c", details={"a": "b"})
    assert ApiProblem.from_problem(problem.problem).problem == problem.problem
    assert (problem.code, problem.message, str(problem)) == ("in-use", "m", "m")
    assert all(re.fullmatch(r"[a-z-]+", code) for code in PROBLEM_CODES)


def test_versions_are_in_order() -> None:
    assert 1 <= OLDEST_API_VERSION <= API_VERSION


def test_structs_do_not_share_their_default_lists() -> None:
    source = COLLECTIONS["targets"]
    first, second = source(id="a"), source(id="b")
    first.portals.append("x")  # type: ignore[attr-defined]  # the table knows only Struct
    assert second.portals == []  # type: ignore[attr-defined]  # the table knows only Struct


def test_a_message_of_no_known_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_message(b'{"type":"other"}')
    assert ByAddress(address="x").address == "x"
