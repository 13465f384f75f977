"""Text from peers made safe: the corpus of hostile strings, through every function that shows text."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.names.display import (
    CSV_CELL_LIMIT,
    MAX_COMBINING_MARKS,
    csv_cell,
    elide_middle,
    has_mixed_scripts,
    visible,
)

HOSTILE = {
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "escape sequence": "\x1b[31mred\x1b[0m",
    "terminal title": "\x1b]0;owned\x07",
    "C1 control": "\x9b31m",
    "NUL": "a\x00b",
    "right-to-left override": "iqn.2001-04.com\u202emoc.live",
    "bidi isolates": "\u2066a\u2067b\u2068c\u2069",
    "Arabic letter mark": "a\u061cb",
    "zero-width joiner": "a\u200db\u200cc\u200bd\ufeffe",
    "combining flood": "e" + "\u0301" * 200 + "x",
    "combining flood at the end": "e" + "\u0488" * 200,
    "bold": "<b>bold</b>",
    "image": "<img src=http://127.0.0.1:9/x.png>",
    "link": "<a href=file:///etc/passwd>x</a>",
    "entity": "&lt;script&gt;",
    "printf": "%s%n",
    "SQL": "'; DROP TABLE sessions; --",
    "path": "../../etc/passwd",
    "option": "-rf",
    "formula": '=cmd|"/c calc"!A1',
    "223 bytes": "x" * 223,
    "10,000 bytes": "x" * 10_000,
    "10,000 controls": "\n" * 10_000,
    "lone surrogate": "a\ud800b",
    "Cyrillic look-alike": "iqn.2001-04.\u0441om.example",
    "tags": "a\U000e0041\U000e007fb",
    "variation selectors": "a\ufe0fb\U000e0100c",
    "private use": "\ue000\U0010ffff",
    "separators": "a\u2028b\u2029c",
    "odd spaces": "a\u00a0b\u3000c\u2003d",
    "blank letters": "a\u3164b\u115fc\u2800d",
    "unassigned": "\u0378",
    "invalid UTF-8": b"a\xff\xfeb".decode("utf-8", "surrogateescape"),
}

corpus = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


def assert_harmless(shown: str) -> None:
    assert shown.isprintable()
    shown.encode("utf-8")
    for character in shown:
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"}


@corpus
def test_nothing_acts_or_hides(text: str) -> None:
    shown = visible(text)
    assert_harmless(shown)
    assert len(shown) <= 512


@corpus
def test_a_csv_file_keeps_one_line_and_no_formula(text: str) -> None:
    cell = csv_cell(text)
    assert_harmless(cell)
    assert cell.lstrip(" ")[:1] not in set("=+-@|%\t＝＋－＠")
    out = io.StringIO()
    csv.writer(out).writerow([cell, "next"])
    assert out.getvalue().count("\n") == 1
    assert next(csv.reader([out.getvalue()])) == [cell, "next"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Gerät ディスク שלום", "Gerät ディスク שלום"),
        ("a\nb", r"a\u{a}b"),
        ("\x1b[31m", r"\u{1b}[31m"),
        ("x\u202ey", r"x\u{202e}y"),
        ("a\u00a0b", r"a\u{a0}b"),
        ("\ud800", r"\u{d800}"),
        ("\U000e0100", r"\u{e0100}"),
        ("a\ufe0f", r"a\u{fe0f}"),
        ("e" + "\u0301" * 4, "e" + "\u0301" * 4),
        ("e" + "\u0301" * 200 + "x", "e" + "\u0301" * MAX_COMBINING_MARKS + r"\u{+196}x"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * MAX_COMBINING_MARKS + r"\u{+1}"),
        ("", ""),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 0, "…"),
        ("éabcdef", 4, "éab…"),
        ("ab\ncd", 6, "ab…"),
        ("ab\ncd", 8, r"ab\u{a}…"),
        ("ab\ncd", 9, r"ab\u{a}cd"),
        ("é" + "\n" * 5, 11, r"é\u{a}…"),
    ],
)
def test_the_limit_cuts_between_escapes(text: str, limit: int, shown: str) -> None:
    assert visible(text, limit) == shown


@pytest.mark.parametrize(
    ("text", "width", "elided"),
    [
        ("iqn.2001-04.com.example:disk", 100, "iqn.2001-04.com.example:disk"),
        ("iqn.2001-04.com.example:disk", 11, "iqn.2…:disk"),
        ("abcdef", 4, "a…ef"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
    ],
)
def test_the_tail_is_kept(text: str, width: int, elided: str) -> None:
    assert elide_middle(text, width) == elided


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("disk 1", "disk 1"),
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("+41 44 000", "'+41 44 000"),
        ("@x", "'@x"),
        ("＝1", "'＝1"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("-5+cmd", "'-5+cmd"),
        ("", ""),
        ("\t=1", r"\u{9}=1"),
    ],
)
def test_csv_cells(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


@pytest.mark.parametrize(
    ("text", "mixed"),
    [
        ("iqn.2001-04.com.example", False),
        ("iqn.2001-04.\u0441om.example", True),
        ("iqn.2001-04.com.example:gr\u03bfup", True),
        ("Gerät", False),
        ("диск", False),
        ("iqn ディスク 磁盤", False),
        ("iqn 디스크", False),
        ("12345 — ’", False),
        ("ｉｑｎ.com", False),
        ("5 µm", False),
    ],
)
def test_mixed_scripts(text: str, mixed: bool) -> None:
    assert has_mixed_scripts(text) is mixed


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 60))
def test_any_text_is_shown_harmlessly(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert_harmless(shown)
    assert len(shown) <= limit
    assert_harmless(csv_cell(text))
    assert len(elide_middle(text, limit)) <= limit
    has_mixed_scripts(text)


def test_csv_cells_are_bounded() -> None:
    assert len(csv_cell("=" * 100_000)) == CSV_CELL_LIMIT
