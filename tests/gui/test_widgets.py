"""Labels, tooltips, charts, bytes and exports."""

from __future__ import annotations

import csv
import io
import json

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from san_console.gui.models.columns import Column
from san_console.gui.models.export import export
from san_console.gui.widgets.chart import Mark, Series, TimeChart
from san_console.gui.widgets.chart_scale import reduce_columns, round_top, span_ticks
from san_console.gui.widgets.hex_view import hex_lines
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel, tooltip_text

pytestmark = pytest.mark.gui


def test_a_label_never_takes_text_for_markup(qtbot: QtBot) -> None:
    for label in (PlainLabel("<b>x</b>"), ElidedLabel("<b>x</b>")):
        qtbot.addWidget(label)
        assert label.textFormat() == Qt.TextFormat.PlainText
        assert label.text() == "<b>x</b>"


def test_an_elided_label_keeps_both_ends_and_the_whole_name_in_the_tooltip(qtbot: QtBot) -> None:
    label = ElidedLabel("iqn.2026-11.org.example:a-very-long-name-of-a-target-that-does-not-fit")
    qtbot.addWidget(label)
    label.setFixedWidth(160)
    label.show()
    shown = QLabel.text(label)
    assert shown.startswith("iqn.")
    assert shown.endswith("fit")
    assert "…" in shown
    assert label.toolTip() == label.text()


@pytest.mark.parametrize("text", ["<img src=http://127.0.0.1:9/x>", "a & b < c", "&lt;b&gt;"])
def test_a_tooltip_shows_markup_as_text(text: str) -> None:
    tip = tooltip_text(text)
    assert "<img" not in tip
    assert tip == "<span>" + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</span>"


def test_an_export_disarms_formulas_and_keeps_one_line_per_row() -> None:
    columns = (Column("name", "Name", lambda t: t),)
    rows = list(csv.reader(io.StringIO(export("csv", columns, ["=cmd|'/c calc'!A1", "two\nlines", "a,b"]))))
    assert rows == [["Name"], ["'=cmd|'/c calc'!A1"], ["two\\u{a}lines"], ["a,b"]]
    assert json.loads(export("json", columns, ["x"])) == [{"name": "x"}]
    assert export("tsv", columns, ["tab\there"]).splitlines()[1] == "tab\\u{9}here"


@pytest.mark.parametrize(("largest", "top"), [(0, 3), (1, 1.5), (435, 600), (61_870, 75_000), (0.29, 0.3)])
def test_a_scale_ends_on_a_round_number(largest: float, top: float) -> None:
    assert round_top(largest) == pytest.approx(top)


def test_the_time_axis_ends_now() -> None:
    assert [text for _before, text in span_ticks(60)] == ["-60 s", "-45", "-30", "-15", "now"]
    assert span_ticks(600)[0] == (600.0, "-10 min")


def test_reduction_keeps_the_extremes_of_every_pixel_column() -> None:
    points = [(x / 100, float(x % 97)) for x in range(10_000)]
    reduced = reduce_columns(points, 100)
    assert len(reduced) <= 400
    assert max(y for _x, y in reduced) == 96.0
    assert [x for x, _y in reduced] == sorted(x for x, _y in reduced)


def test_a_chart_says_in_words_what_it_shows(qtbot: QtBot) -> None:
    chart = TimeChart("Throughput", "MB/s", [Series("read", "chart_read"), Series("write", "chart_write")])
    qtbot.addWidget(chart)
    chart.resize(400, 140)
    chart.show()
    points = [(float(at), 100.0 + at) for at in range(100)]
    chart.show_figures(99.0, (points, []), [Mark(70.0, "connection lost")])
    chart.repaint()
    words = chart.accessibleDescription()
    assert "read now 199 MB/s, at most 199 MB/s" in words
    assert "connection lost 29 s ago" in words


def test_bytes_are_shown_with_offset_and_characters() -> None:
    assert hex_lines(b"EFI PART" + bytes(8), 512) == [
        "00000200  45 46 49 20 50 41 52 54 00 00 00 00 00 00 00 00  EFI PART........"
    ]
    assert hex_lines(b"ab") == ["00000000  61 62" + " " * 42 + "  ab"]
