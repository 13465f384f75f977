"""The table model: filtering, sorting and batches, checked by Qt's own tester."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from PySide6.QtCore import QAbstractItemModel, QPersistentModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from san_console.console.replica import ObjectChange
from san_console.gui.models.columns import Column
from san_console.gui.models.object_model import ObjectTableModel
from san_console.gui.models.terms import parse_terms

pytestmark = pytest.mark.gui


@dataclass(frozen=True)
class Thing:
    id: str
    name: str
    size: int = 0


COLUMNS = (
    Column("name", "Name", lambda t: t.name),
    Column("size", "Size", lambda t: f"{t.size} GiB", sort=lambda t: t.size, right=True),
)


def watched_by_qt(model: QAbstractItemModel) -> QAbstractItemModelTester:
    return QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal, model)


def make(*things: Thing) -> ObjectTableModel:
    model = ObjectTableModel(COLUMNS, fields={"upper": lambda t: t.name.upper()})
    watched_by_qt(model)
    model.set_objects(things)
    return model


def names(model: ObjectTableModel) -> list[str]:
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def test_sorts_by_the_key_and_not_by_the_text(qtbot: QtBot) -> None:
    model = make(Thing("1", "a", 9), Thing("2", "b", 100), Thing("3", "c", 20))
    model.sort(1, Qt.SortOrder.DescendingOrder)
    assert names(model) == ["b", "c", "a"]


def test_filters_by_words_and_by_terms(qtbot: QtBot) -> None:
    model = make(Thing("1", "prod-db", 9), Thing("2", "prod-vm", 100), Thing("3", "lab", 9))
    assert model.set_filter("prod size:9") == ""
    assert names(model) == ["prod-db"]
    model.set_filter("-lab -vm")
    assert names(model) == ["prod-db"]
    model.set_filter("")
    assert len(names(model)) == 3


def test_an_unknown_term_says_what_there_is_and_changes_nothing(qtbot: QtBot) -> None:
    model = make(Thing("1", "prod-db"), Thing("2", "lab"))
    model.set_filter("lab")
    error = model.set_filter("stat:up")
    assert "size" in error
    assert "upper" in error
    assert names(model) == ["lab"]


def test_a_name_with_colons_is_no_term() -> None:
    terms = parse_terms("iqn.2026-11.org.example:prod-db [fd00::5]:3260", {"state"})
    assert terms.error == ""
    assert terms.words == ("iqn.2026-11.org.example:prod-db", "[fd00::5]:3260")


@pytest.mark.parametrize(
    "line", ["localhost:3260", "abcd::1", "siz", "size:", "stat:", "naa.52004567ba64678d"]
)
def test_addresses_and_half_typed_terms_are_no_errors(line: str) -> None:
    assert parse_terms(line, {"state", "size"}).error == ""


def test_a_change_that_fits_no_more_leaves_the_rows(qtbot: QtBot) -> None:
    first = Thing("1", "prod-db")
    model = make(first, Thing("2", "prod-vm"))
    model.set_filter("prod")
    model.apply([ObjectChange("1", first, replace(first, name="other"))])
    assert names(model) == ["prod-vm"]
    assert model.get("1").name == "other"


def test_random_batches_keep_qt_and_the_order_content(qtbot: QtBot) -> None:
    """Any mix of new, changed and gone objects: Qt's tester aborts on a wrong signal, we compare the rows."""
    chance = random.Random(7)
    model = make(*(Thing(str(n), f"n{n % 5}", n % 11) for n in range(40)))
    model.sort(1)
    model.set_filter("n1")
    kept = QPersistentModelIndex(model.index(0, 0))
    for turn in range(60):
        changes = []
        for _ in range(chance.choice((1, 3, 90))):
            key = str(chance.randrange(120))
            old = model.get(key)
            new = (
                None if chance.random() < 0.3 else Thing(key, f"n{chance.randrange(5)}", chance.randrange(20))
            )
            changes.append(ObjectChange(key, old, new))
        model.apply({change.id: change for change in changes}.values())
        if turn % 7 == 0:
            model.set_filter(chance.choice(("n1", "", "n2 size:1", "-n3")))
        sizes = [model.object_at(row).size for row in range(model.rowCount())]
        assert sizes == sorted(sizes)
        assert all(model.row_of(model.id_at(row)) == row for row in range(model.rowCount()))
    assert kept.model() in (None, model)


def test_text_of_a_peer_is_made_visible(qtbot: QtBot) -> None:
    model = make(Thing("1", "right\u202eleft\nnext"))
    assert model.index(0, 0).data() == "right\\u{202e}left\\u{a}next"
    marked = make(Thing("1", "<b>x</b>"))
    assert "<b>" not in marked.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
