"""YAML that nobody trusts: what is taken, with its lines, and what is refused, with its line."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.api.yaml_tree import MAX_DEPTH, MAX_NODES, DocumentError, read_tree, write_tree

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = st.one_of(texts, st.integers(-(10**15), 10**15), st.booleans(), st.none())
keys = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(keys, trees, min_size=1, max_size=4))
def test_what_is_written_is_read_again_by_us_and_by_others(value: dict[str, Any]) -> None:
    text = write_tree(value)
    assert read_tree(text).value == value
    assert yaml.safe_load(text) == value
    assert write_tree(value) == text


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"[\[\]{}:,&*!|>'\"%@`#\- \na-c0-9]{0,60}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_tree(text)
    except DocumentError as error:
        told = str(error)
    else:
        return
    assert told


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1e3", "1e3"),
        ("2026-11-21", "2026-11-21"),
        ("10.0.0.1:3260", "10.0.0.1:3260"),
        ("true", True),
        ("null", None),
        ("", None),
        ("-7", -7),
        ("2.5", 2.5),
        ("'7'", "7"),
        ('"true"', "true"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    found = read_tree(f"a: {text}\n").value["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("a: &x 1\n", 1, "Anchors"),
        ("a:\n  - 1\n  - *x\n", 3, "Aliases"),
        ("a: !!python/object:os.system {}\n", 1, "Tags"),
        ("a: !!binary aGk=\n", 1, "Tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("? [a]\n: 1\n", 1, "key"),
        ("a: [1\n", 2, "no YAML"),
        ("a:\n\t- 1\n", 2, "no YAML"),
        ("a: \x07\n", 0, "no YAML"),
        ("a: " + "9" * 30, 1, "digits"),
        ("\n" + "[" * (MAX_DEPTH + 1), 2, "nested"),
    ],
)
def test_what_is_no_document_of_ours_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_tree(text)
    assert (caught.value.line, said in str(caught.value)) == (line, True), str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a: [" + "1," * (MAX_NODES + 1) + "]",
        "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n",
        "a: " + "x" * 1_000_000 + "\n" + "b" * 1_000_000,
    ],
    ids=["flow", "maps", "blocks", "many", "bomb", "long"],
)
def test_bombs_are_refused_soon(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(DocumentError):
        read_tree(text)
    assert time.monotonic() - began < 10


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    items: list[_Inner]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("items:\n  - name: x\n    cuont: 1\n", 3, "cuont"),
        ("items:\n  - name: 5\n", 2, "quotes"),
        ("items:\n  - count: 5\n", 2, "name"),
        ("items:\n  - name: x\n  - name: y\n    count: many\n", 4, "count"),
        ("items: 3\n", 1, "array"),
        ("{}\n", 1, "items"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_tree(text).converted(_Outer)
    assert (caught.value.line, said in str(caught.value)) == (line, True), str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: '\ud800'", 2, "no text"),
        ("a: 9223372036854775808", 1, "so large"),
        ("a: -99999999999999999999", 1, "so "),
    ],
)
def test_what_could_be_read_and_not_be_kept(text: str, line: int, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as error:
        read_tree(text)
    assert error.value.line == line
