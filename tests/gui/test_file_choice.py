"""Choosing a file without a loop of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from san_console.gui.widgets.file_choice import PathField, choose_file

pytestmark = pytest.mark.gui


def test_the_answer_comes_later_and_the_window_goes_on(qtbot: QtBot, tmp_path: Path) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    parent.show()
    chosen: list[str] = []
    dialog = choose_file(
        parent,
        "Export",
        chosen.append,
        save=True,
        suggested=str(tmp_path / "events.csv"),
        filters=["CSV (*.csv)"],
    )
    assert dialog.isVisible()
    assert chosen == []
    assert dialog.acceptMode() == QFileDialog.AcceptMode.AcceptSave
    assert dialog.directory().path() == str(tmp_path)
    with qtbot.waitSignal(dialog.finished):
        dialog.accept()
    assert chosen == [str(tmp_path / "events.csv")]


def test_a_path_may_begin_at_home(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/admin")
    field = PathField("File", suggested="~/disk.img")
    qtbot.addWidget(field)
    assert field.path == "/home/admin/disk.img"
    field.line.setText("  ")
    assert field.path == ""
