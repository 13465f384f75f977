"""Tables, JSON and failures: they fit, and nothing a peer sends steers the terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.cli import output
from san_console.cli.output import Column
from san_console.console.simulated.scenarios import HOSTILE_TEXTS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: Sequence[str | Column], rows: Sequence[Sequence[object]]
) -> list[str]:
    """The lines of a table on a terminal of 60 columns."""
    screen = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        patch.setenv("COLUMNS", "60")
        patch.setenv("LINES", "24")
        patch.setenv("NO_COLOR", "1")
        output.print_table(columns, rows)
    return screen.getvalue().splitlines()


def test_a_pipe_gets_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    name = "iqn.2026-11.org.example:" + "x" * 200
    output.print_table(["target", Column("LUNs", right=True)], [[name, 3], ["short", 21]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("target ")
    assert lines[1] == f"{name}     3"
    assert lines[2].split() == ["short", "21"]
    assert len(lines[2]) == len(lines[1])


def test_a_terminal_gets_a_table_that_fits_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "iqn.2026-11.org.example:prod-database-0123456789"
    rows = [["logged in", name, "10.20.0.11:3260", 12], ["retrying", "short", "[::1]:3260", 0]]
    lines = on_terminal(monkeypatch, ["state", "target", "portal", Column("LUNs", right=True)], rows)
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) == 4
    start = lines[0].index("target")
    width = lines[0].index("portal") - start
    assert lines[1][start : start + width].strip() + lines[2][start : start + width].strip() == name


def test_spare_columns_go_before_cells_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    columns: list[str | Column] = [
        "state",
        Column("target", spare=0),
        Column("vendor", spare=1),
        Column("product", spare=2),
    ]
    lines = on_terminal(monkeypatch, columns, [["logged in", "t" * 35, "vendor", "product"]])
    assert lines[0].split() == ["state", "target", "vendor"]
    assert lines[1].split() == ["logged", "in", "t" * 35, "vendor"]


def test_wide_characters_keep_columns_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(monkeypatch, ["a", "b"], [["日本", "x"], ["abcd", "y"], ["e\u0301", "z"]])
    assert lines[1] == "日本  x"
    assert lines[2] == "abcd  y"
    assert lines[3] == "e\u0301     z"


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_is_shown_and_does_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name"], [[text]])
    output.print_failure(text, text, text)
    output.say(text)
    output.print_json("test/1", {"name": text})
    said = capsys.readouterr()
    table, _, document = said.out.partition("\n{")
    assert len(table.splitlines()) == 2
    assert len(said.err.splitlines()) == 4
    for line in (said.out + said.err).splitlines():
        assert line.isprintable()
    assert json.loads("{" + document) == {"schema": "test/1", "name": text}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.integers(4, 30))
def test_folding_keeps_every_character(text: str, width: int) -> None:
    lines = output.fold(text, width)
    assert all(output.display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=10), st.integers(20, 250))
def test_columns_are_cut_only_as_much_as_needed(widths: list[int], available: int) -> None:
    cut = output.fitted(widths, available)
    total = sum(cut) + 2 * (len(cut) - 1)
    assert all(
        new == old or output.NARROWEST_COLUMN <= new < old for new, old in zip(cut, widths, strict=True)
    )
    assert total <= available or all(
        new <= max(12, min(old, 12)) for new, old in zip(cut, widths, strict=True)
    )
    if cut != widths:
        assert total >= min(available, sum(min(old, 12) for old in widths))


def test_progress_is_one_line_that_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        monkeypatch.setattr(sys, "stderr", stream)
        with output.progress_line() as show:
            show("half\nof it")
    assert screen.getvalue() == "\r\x1b[Khalf\\u{a}of it\r\x1b[K"
    assert pipe.getvalue() == ""


def test_one_is_no_plural() -> None:
    assert [output.counted(number, "LUN") for number in (0, 1, 2)] == ["0 LUNs", "1 LUN", "2 LUNs"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (64 << 20, "64 MiB"), (3 << 29, "1.5 GiB"), (10 << 40, "10 TiB")],
)
def test_sizes_are_binary(size: int, text: str) -> None:
    assert output.size_text(size) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (812, "812 B/s"), (999_600, "1 MB/s"), (1.24e9, "1.24 GB/s"), (212e6, "212 MB/s")],
)
def test_rates_are_decimal(rate: float, text: str) -> None:
    assert output.rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (42.9, "42 s"), (3600, "1 h"), (42_000, "11 h 40 min"), (352_900, "4 d 2 h")],
)
def test_spans_have_two_units(seconds: float, text: str) -> None:
    assert output.span_text(seconds) == text


def test_a_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name"], [])
    assert capsys.readouterr().out == ""
