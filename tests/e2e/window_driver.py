"""The real window on the real engine, driven by keys and clicks as a user would. Run as a program of its own.

    python window_driver.py watch REPORT      open, write what is seen to REPORT as JSON, stay open
    python window_driver.py job               the main job; the plan is one JSON object on standard input

The plan holds portal, target, user, secret, mutual_user, mutual_secret, source, copy, pictures. Each step is
printed as it holds; the exit code is 0 only if all did.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from PySide6.QtCore import QDeadlineTimer, QEventLoop, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLineEdit, QWidget

from san_console.gui.bridge.engine_backend import EngineBackend
from san_console.gui.bridge.host import QtHost
from san_console.gui.pictures import grab
from san_console.gui.preferences import MemoryPreferences
from san_console.gui.shell.main_window import MainWindow
from san_console.gui.theme.theme import Theme

STEP_TIMEOUT_MS = 30_000

W = TypeVar("W", bound=QWidget)


class Driver:
    def __init__(self) -> None:
        self.app = QApplication(["san-console"])
        Theme.of().apply("light")
        self.host = QtHost(EngineBackend())
        self.window = MainWindow(self.host, MemoryPreferences({"quit.silently": True}))
        self.window.show()
        self.host.start()
        self.until("the window is connected", lambda: self.host.connected)

    def until(self, what: str, holds: Callable[[], object], timeout_ms: int = STEP_TIMEOUT_MS) -> None:
        deadline = QDeadlineTimer(timeout_ms)
        while not holds():
            if deadline.hasExpired():
                raise SystemExit(f"did not come about: {what}")
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
        print(what, flush=True)

    def shown(self, kind: type[W], accept: Callable[[W], bool], root: QWidget | None = None) -> W:
        """The one visible widget of that kind that `accept` takes."""
        found = [
            widget
            for top in ([root] if root is not None else QApplication.topLevelWidgets())
            for widget in cast("list[W]", top.findChildren(kind))
            if widget.isVisible() and accept(widget)
        ]
        if not found:
            raise SystemExit(f"no visible {kind.__name__} fits")
        return found[0]

    def click(self, text: str, root: QWidget | None = None) -> None:
        """Click the visible button of that text."""
        button = self.shown(
            QAbstractButton, lambda one: one.text().replace("&", "") == text and one.isEnabled(), root
        )
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def type_into(self, accessible_name: str, text: str, root: QWidget | None = None) -> None:
        """Replace the text of the visible field of that accessible name, key by key."""
        field = self.shown(QLineEdit, lambda one: one.accessibleName() == accessible_name, root)
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, text)

    def dialog(self) -> QWidget:
        QApplication.processEvents()
        top = QApplication.activeModalWidget()
        if top is None:
            raise SystemExit("no dialog is open")
        return top


def watch(report: Path) -> None:
    driver = Driver()
    driver.window.go("sessions")
    driver.until("a session is seen", lambda: driver.host.values("sessions"))
    seen = [{"id": one.id, "state": one.state} for one in driver.host.values("sessions")]
    partial = report.with_suffix(".part")
    partial.write_text(json.dumps({"sessions": seen}))
    partial.rename(report)
    driver.app.exec()


def enter_chap(driver: Driver, plan: dict[str, str], secret: str, mutual_secret: str) -> None:
    form = driver.window._panel().form
    for field, user, what in (
        (form.identity, plan["user"], secret),
        (form.mutual, plan["mutual_user"], mutual_secret),
    ):
        # The last entry of each list is "type a name and a secret".
        field.choice.setFocus()
        QTest.keyClick(field.choice, Qt.Key.Key_End)
        name = field.choice.accessibleName()
        driver.type_into(f"{name}: name", user)
        driver.type_into(f"{name}: secret", what)


def job(plan: dict[str, Any]) -> None:
    driver = Driver()
    pictures = Path(plan["pictures"])
    pictures.mkdir(exist_ok=True)
    window, host = driver.window, driver.host

    QTest.keyClick(window, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(window.top_bar.quick, plan["portal"])
    QTest.keyClick(window.top_bar.quick, Qt.Key.Key_Return)
    panel = window._panel()
    driver.until("the target is found and its log-in is offered", lambda: panel.step == "login")

    enter_chap(driver, plan, "certainly-not-it", plan["mutual_secret"])
    driver.click("Log in", panel)
    driver.until("a wrong secret is refused", lambda: panel.problem.isVisible())
    said = " ".join(label.text() for label in panel.problem.findChildren(QWidget) if hasattr(label, "text"))
    if "target refused" not in said:
        raise SystemExit(f"the direction is not named: {said}")
    grab(window, pictures / "wrong-secret.png")

    enter_chap(driver, plan, plan["secret"], "certainly-not-it")
    driver.click("Log in", panel)
    driver.until(
        "the target with a wrong secret is refused", lambda: "failed to prove" in problem_text(panel)
    )

    enter_chap(driver, plan, plan["secret"], plan["mutual_secret"])
    driver.click("Log in", panel)
    driver.until("the session is logged in", lambda: states(host) == ["logged_in"])
    driver.until("its LUNs are shown", lambda: window.page_key == "luns" and len(ready(host)) >= 2)
    grab(window, pictures / "luns.png")

    lun = min(ready(host), key=lambda one: one.lun)
    window.pages["luns"].select(lun.id)
    driver.click("Write from file…", window.pages["luns"])
    dialog = driver.dialog()
    driver.type_into("File to write", plan["source"], dialog)
    driver.type_into("Identity of the LUN to overwrite", lun.identity or lun.id, dialog)
    grab(window, pictures / "confirm.png")
    driver.click("Overwrite LUN", dialog)
    driver.until("the file was written to the LUN", lambda: ended(host, "from_file"), 60_000)

    driver.click("Save to file…", window.pages["luns"])
    dialog = driver.dialog()
    driver.type_into("File", plan["copy"], dialog)
    driver.type_into("Length", str(Path(plan["source"]).stat().st_size), dialog)
    driver.click("Save to file", dialog)
    driver.until("the LUN was read to a file", lambda: ended(host, "to_file"), 60_000)

    window.go("sessions")
    window.pages["sessions"].select(host.values("sessions")[0].id)
    driver.until("figures are there", lambda: host.replica.samples.get(host.values("sessions")[0].id))
    grab(window, pictures / "sessions.png")
    driver.click("Log out", window.pages["sessions"])
    driver.click("Log out", driver.dialog())
    driver.until("the session is gone", lambda: not host.values("sessions"))
    window.leave()
    driver.until("the window is closed", lambda: not window.isVisible())


def states(host: QtHost) -> list[str]:
    return [session.state for session in host.values("sessions")]


def ready(host: QtHost) -> list[Any]:
    return [lun for lun in host.values("luns") if lun.state == "ready" and lun.size_bytes > 1 << 20]


def ended(host: QtHost, kind: str) -> bool:
    for one in host.values("jobs"):
        if kind in one.kind and one.state in ("failed", "cancelled"):
            raise SystemExit(f"{one.title}: {one.state} {one.problem}")
        if kind in one.kind and one.state == "done":
            return True
    return False


def problem_text(panel: Any) -> str:
    if not panel.problem.isVisible():
        return ""
    return " ".join(one.text() for one in panel.problem.findChildren(QWidget) if hasattr(one, "text"))


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(Path(sys.argv[2]))
    else:
        job(json.load(sys.stdin))
