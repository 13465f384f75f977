"""The page Serve on a real engine process: a target made, mapped, guarded, exported, and taken back."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from san_console.api.methods import Login, SaveIdentity
from san_console.api.serving_objects import LocalTarget
from san_console.console.engine_process import start_engine_process
from san_console.gui.bridge.engine_backend import EngineBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.context import Context
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.views.serve import ServePage
from san_console.gui.views.serve_access import AccessTab
from san_console.gui.views.serve_settings import SettingsTab
from san_console.gui.widgets.numbers import NumberField
from tests.gui.page_bench import FakeWindow

pytestmark = [pytest.mark.gui, pytest.mark.e2e]

PATIENCE_MS = 20_000
NAME = "iqn.2026-11.org.example:real"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Served:
    """The page on a host, with ways to wait for the engine."""

    def __init__(self, page: ServePage, host: QtHost, window: FakeWindow, bot: QtBot) -> None:
        self.page, self.host, self.window, self.bot = page, host, window, bot

    def until(self, condition: Callable[[], object]) -> None:
        self.bot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    @property
    def target(self) -> LocalTarget:
        found = self.host.get("local_targets", NAME)
        assert isinstance(found, LocalTarget)
        return found

    def dialog(self) -> Any:
        """The open dialog, waited for."""

        def found() -> list[QDialog]:
            return [one for one in self.page.findChildren(QDialog) if one.isVisible()]

        self.until(found)
        return found()[-1]

    def agree(self, condition: Callable[[], object]) -> None:
        """Wait for `condition`; say yes where the page asks first, since a session is hit."""

        def settled() -> bool:
            for one in self.page.findChildren(QDialog):
                if one.isVisible() and one.accept_button.isEnabled():  # type: ignore[attr-defined]  # ours
                    one.accept_button.click()  # type: ignore[attr-defined]  # ours
            return bool(condition())

        self.until(settled)


@pytest.fixture
def served(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("SAN_CONSOLE_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("SAN_CONSOLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SAN_CONSOLE_CONFIG_DIR", str(tmp_path / "config"))
    started: list[subprocess.Popen[bytes]] = []
    host = QtHost(EngineBackend(lambda: started.append(start_engine_process(memory_secrets=True))))
    window = FakeWindow()
    host.start()
    qtbot.waitUntil(lambda: host.connected, timeout=PATIENCE_MS)
    page = ServePage(Context(host, MemoryPreferences(), window))
    qtbot.addWidget(page)
    page.resize(1080, 724)
    page.show()
    yield Served(page, host, window, qtbot)
    host.close()
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=15)


def create(served: Served, folder: Path, port: int) -> None:
    """By the wizard: two portal groups, a thin file, a group of whoever comes from this machine."""
    served.page.create_target()
    wizard = served.dialog()
    wizard.name.line.setText(NAME)
    for box in wizard.portals.boxes.values():
        box.setChecked(False)
    wizard.portals.line.setText(f"127.0.0.1:{port}")
    wizard.portals.second.setChecked(True)
    wizard.portals.second_line.setText(f"127.0.0.2:{port}")
    fields = wizard.luns.fields
    fields.path.line.setText(str(folder / "one.img"))
    fields.size_line.setText("16M")
    fields.thin.setChecked(True)
    wizard.luns.add()
    wizard.access.names.setPlainText("iqn.1991-05.com.example:cluster-*\n127.0.0.0/8")
    wizard.access.grouped.setChecked(True)
    wizard.access.group.setText("locals")
    wizard.open_step(5)
    wizard.accept_button.click()
    served.until(lambda: served.host.get("local_targets", NAME))
    served.until(lambda: served.target.state == "serving")


def test_from_the_wizard_to_an_undoing(served: Served, tmp_path: Path) -> None:
    port, host, page = free_port(), served.host, served.page
    host.call("identities.save", SaveIdentity(user="hosts", secret="sixteen-or-more"))
    create(served, tmp_path, port)
    assert [group.access_state for group in served.target.portal_groups] == [
        "active/optimized",
        "active/non-optimized",
    ]
    host.call("sessions.login", Login(target=NAME, portal=f"127.0.0.1:{port}"))
    served.until(lambda: any(one.own for one in host.values("target_sessions")))

    served.until(lambda: page.current() is not None)
    page.add_initiator()
    dialog = served.dialog()
    dialog.line.setText("127.0.0.1")
    assert "Connected now: 1." in dialog._hint.text()
    dialog.accept_button.click()
    served.until(lambda: "127.0.0.1" in served.target.initiators)
    matrix = page.mapping.model
    served.until(lambda: "127.0.0.1" in matrix.rows)
    matrix.set_access(matrix.index(matrix.rows.index("127.0.0.1"), 1), "read-only")
    served.until(lambda: any(line.session_ids for line in page.mapping.plan))
    page.mapping.apply()
    served.agree(lambda: any(rule.initiator == "127.0.0.1" for rule in served.target.mappings))

    page.details.open("access")
    tab = page.details.current
    assert isinstance(tab, AccessTab)
    tab.open("effective")
    served.until(lambda: list(tab.effective.model.objects()))
    assert tab.effective.verdict.text() == "may log in"
    assert [(row.number, row.read_only) for row in tab.effective.model.objects()] == [(0, True)]
    identity = host.values("identities")[0].id
    tab.open("rules")
    tab.rules.discovery_button.click()
    dialog = served.dialog()
    dialog.boxes[identity].setChecked(True)
    dialog.accept_button.click()
    served.until(lambda: host.engine is not None and host.engine.discovery_identity_ids == [identity])

    page.details.open("settings")
    settings = page.details.current
    assert isinstance(settings, SettingsTab)
    field = settings.limits.fields["max_connections"]
    assert isinstance(field, NumberField)
    field.setValue(2)
    settings.apply_button.click()
    served.agree(lambda: served.target.limits.max_connections == 2)

    path = tmp_path / "all.yaml"
    page.documents.export_to(str(path))
    served.until(lambda: path.exists() and path.read_text())
    text = path.read_text()
    assert "sixteen" not in text
    path.write_text(text.replace("max_connections: 2", "max_connections: 5"))
    served.until(lambda: not page.documents.files.busy)
    page.documents.apply_from(str(path))
    dialog = served.dialog()
    assert dialog.view.summary.text() == "1 changed"
    dialog.accept_button.click()
    served.until(lambda: served.target.limits.max_connections == 5)
    served.until(lambda: any("was applied" in said for said, _tone in served.window.said))
    served.window.offered[-1]()
    served.until(lambda: served.target.limits.max_connections == 2)
    page.documents.history()
    dialog = served.dialog()
    assert dialog.list.count() >= 4
