"""Every text of the window goes through Qt's translation: a pseudo-language shows those that do not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from PySide6.QtCore import QCoreApplication, QLocale, Qt, QTranslator
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTabBar,
    QTableView,
    QWidget,
)

from san_console.api.plan_objects import ChangePlan, FieldChange, ObjectChange, UndoStep
from san_console.console.simulated import SimulatedBackend
from san_console.gui import translation, words
from san_console.gui.context import Context
from san_console.gui.dialogs.add_source import AddSourceDialog, AddTargetDialog
from san_console.gui.dialogs.chap_choice import ChapDialog
from san_console.gui.dialogs.identity import IdentityDialog
from san_console.gui.dialogs.initiator import InitiatorDialog
from san_console.gui.dialogs.initiator_group import GroupDialog
from san_console.gui.dialogs.initiator_name import InitiatorNameDialog
from san_console.gui.dialogs.target_plan import PlanDialog, UndoHistoryDialog
from san_console.gui.views.page import Details
from san_console.gui.views.registry import PAGES
from san_console.gui.views.serve_access import AccessTab
from san_console.gui.widgets.candidates import candidates
from san_console.gui.wizards.create_target import CreateTargetWizard
from san_console.names.credentials import PEER_RULES
from tests.gui.driving import Driven, MakeWindow

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

NAMES = re.compile(
    r"\b(LUNs?|CHAP|IOPS|iSNS|iSCSI|CID|ISID|TSIH|SAN Console|CSV|JSON|SendTargets|RFC|GPT|CRC32C|None|"
    r"Ctrl|Shift|Alt|Del|Enter|F\d|p50|p99|VPD|NAA|EUI|SHA-?\w*|MD5|"
    r"[KMGT]?i?B(/s)?|[kMG]B/s|[kmµ]?s|k/s|min|ms)\b"
)
"""Names of the field, of keys and of units: the same in every language."""

MACHINE = re.compile(
    r"(iqn|eui|naa)\.\S+|\S+://\S+|/\S+|[\w-]+(\.[\w-]+)+(:\d+)?|\[[0-9a-f:]+\](:\d+)?|\b(?=\w*\d)[0-9a-fA-Fx]{4,}\b|\S+=\S+"
)
"""Names of targets, addresses, paths, figures in hexadecimal digits."""

ELSEWHERE = ("EFI system", "backup-pool", "An address is missing.")
"""Names in the partition table of a LUN, and a sentence of another package."""

PRODUCTS = tuple(rule.title for rule in PEER_RULES.values())


class Pseudo(QTranslator):
    """Puts each text between « and »."""

    def translate(
        self, context: str, source_text: str, disambiguation: str | None = None, n: int = -1
    ) -> str:
        return f"«{source_text}»" if source_text else ""

    def isEmpty(self) -> bool:
        return False


@pytest.fixture
def pseudo() -> Iterator[Pseudo]:
    translator = Pseudo()
    QCoreApplication.installTranslator(translator)
    yield translator
    QCoreApplication.removeTranslator(translator)


def outside(text: str) -> str:
    """What of `text` is not between « and »."""
    depth, kept = 0, []
    for character in text:
        if character == "«":
            depth += 1
        elif character == "»":
            depth -= 1
            kept.append(" ")
        elif not depth:
            kept.append(character)
    return "".join(kept)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from strings(inner)


def told(driven: Driven, answers: list[Any]) -> set[str]:
    """Every text that came from the engine: names, aliases, messages, contents."""
    found = {driven.backend.name, *ELSEWHERE, *PRODUCTS, *strings(msgspec.to_builtins(answers, enc_hook=str))}
    for collection in driven.host.replica.collections.values():
        for item in collection.values():
            for text in strings(msgspec.to_builtins(item)):
                found |= {text, words.short_name(text)}
    found |= set(strings(msgspec.to_builtins(driven.host.engine)))
    return found


def untranslated(text: str, known: set[str]) -> bool:
    left = outside(text)
    ordered = sorted((one for one in known if len(one) > 1), key=len, reverse=True)
    for sentence in ordered:
        if " " in sentence:
            left = left.replace(sentence, " ")
    left = MACHINE.sub(" ", left)
    for word in ordered:
        left = left.replace(word, " ")
    left = NAMES.sub(" ", left)
    return re.search(r"[A-Za-z]{2}", left) is not None


def texts_of(root: QWidget) -> Iterator[tuple[str, str]]:
    """Where a text is, and the text: of all widgets that are on screen, and of their tables."""
    for widget in [root, *root.findChildren(QWidget)]:
        if not widget.isVisible():
            continue
        where = f"{type(widget).__name__} {widget.objectName()}"
        if isinstance(widget, QLabel | QAbstractButton):
            yield where, widget.text()
        if isinstance(widget, QLineEdit):
            yield where, widget.placeholderText()
        if isinstance(widget, QComboBox):
            for number in range(widget.count()):
                yield where, widget.itemText(number)
        if isinstance(widget, QTabBar):
            for number in range(widget.count()):
                yield where, widget.tabText(number)
        if isinstance(widget, QTableView) and not isinstance(widget, QHeaderView):
            model = widget.model()
            for column in range(model.columnCount()):
                yield (
                    f"{where} header",
                    str(
                        model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole) or ""
                    ),
                )
                for row in range(min(model.rowCount(), 30)):
                    yield (
                        f"{where} column {column}",
                        str(model.index(row, column).data(Qt.ItemDataRole.DisplayRole) or ""),
                    )
        for text in (widget.toolTip(), widget.accessibleName(), widget.accessibleDescription()):
            yield f"{where} described", re.sub(r"<[^>]+>", "", text)


def found_in(driven: Driven, answers: list[Any], root: QWidget | None = None) -> dict[str, str]:
    known = told(driven, answers)
    return {text: where for where, text in texts_of(root or driven.window) if untranslated(text, known)}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the simulated host answers: a text of the engine is no text of the window."""
    heard: list[Any] = []
    call = SimulatedBackend.call

    def listening(
        self: SimulatedBackend,
        method: str,
        params: Any,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[Any], None] | None = None,
    ) -> Callable[[], None]:
        def hear(answer: Any) -> None:
            heard.append(answer)
            if done is not None:
                done(answer)

        return call(self, method, params, hear, failed)

    monkeypatch.setattr(SimulatedBackend, "call", listening)
    return heard


@pytest.mark.parametrize("page", [*(spec.key for spec in PAGES), "settings"])
@pytest.mark.usefixtures("pseudo")
def test_every_text_of_a_page_is_translated(make_window: MakeWindow, answers: list[Any], page: str) -> None:
    driven = make_window("demo", page=page)
    if page == "settings":
        driven.window.go("settings")
    driven.settle()
    left = found_in(driven, answers)
    for details in driven.window.stack.findChildren(Details):
        for key in details.keys:
            details.open(key)
            driven.settle()
            left |= found_in(driven, answers)
    assert left == {}


@pytest.mark.usefixtures("pseudo")
def test_the_first_page_is_translated(make_window: MakeWindow, answers: list[Any]) -> None:
    driven = make_window("empty")
    driven.settle()
    assert found_in(driven, answers) == {}


@pytest.mark.parametrize(
    "dialog",
    [
        lambda context: AddSourceDialog(context, "sendtargets"),
        lambda context: AddSourceDialog(context, "isns"),
        AddTargetDialog,
        IdentityDialog,
        InitiatorNameDialog,
        CreateTargetWizard,
    ],
    ids=["portal", "isns", "target", "identity", "name", "wizard"],
)
@pytest.mark.usefixtures("pseudo")
def test_dialogs_are_translated(
    make_window: MakeWindow, answers: list[Any], dialog: Callable[[Context], QWidget]
) -> None:
    driven = make_window("demo")
    opened = dialog(driven.window.context)
    opened.show()
    driven.settle()
    assert found_in(driven, answers, opened) == {}
    opened.close()
    opened.deleteLater()


def served(context: Context) -> Any:
    return context.host.get("local_targets", "iqn.2026-11.org.example:prod")


def plan_dialog(context: Context) -> QWidget:
    fields = [FieldChange(name="alias", before="db-1", after="db-2")]
    target = served(context).id
    changes = [
        ObjectChange(target=target, kind="lun", name="db-data", action="added", fields=fields),
        ObjectChange(target=target, kind="limits", name="", action="changed", fields=fields),
        ObjectChange(target=target, kind="access", name="*", action="removed"),
    ]
    return PlanDialog("prod", ChangePlan(base="", changes=changes), lambda *_both: None, lambda _dialog: None)


def undo_dialog(context: Context) -> QWidget:
    steps = [UndoStep(number=number, at=context.now(), text="db-1") for number in (1, 2)]
    return UndoHistoryDialog(context.host, steps, context.now(), lambda _steps: None)


def group_dialog(context: Context) -> QWidget:
    group = served(context).initiator_groups[0]
    return GroupDialog(group, [], candidates(context.host, []), [], lambda *_both: None)


def chap_dialog(context: Context) -> QWidget:
    identities = context.host.values("identities")
    return ChapDialog("prod", "db-1", identities, [], "", lambda *_all: None)


def initiator_dialog(context: Context) -> QWidget:
    return InitiatorDialog(
        served(context),
        candidates(context.host, []),
        context.host.values("target_sessions"),
        lambda *_b: None,
    )


@pytest.mark.parametrize("dialog", [plan_dialog, undo_dialog, group_dialog, chap_dialog, initiator_dialog])
@pytest.mark.usefixtures("pseudo")
def test_dialogs_about_served_targets_are_translated(
    make_window: MakeWindow, answers: list[Any], dialog: Callable[[Context], QWidget]
) -> None:
    driven = make_window("demo")
    opened = dialog(driven.window.context)
    opened.show()
    driven.settle()
    assert found_in(driven, answers, opened) == {}
    opened.close()
    opened.deleteLater()


@pytest.mark.parametrize("part", ["rules", "groups", "effective"])
@pytest.mark.usefixtures("pseudo")
def test_the_parts_of_access_are_translated(make_window: MakeWindow, answers: list[Any], part: str) -> None:
    driven = make_window("demo", page="serve")
    details = driven.window.stack.findChildren(Details)[0]
    details.open("access")
    tab = details.current
    assert isinstance(tab, AccessTab)
    tab.open(part)
    tab.effective.ask()
    driven.settle()
    assert found_in(driven, answers) == {}


@pytest.mark.usefixtures("pseudo")
def test_quick_connect_and_the_notifications_are_translated(
    make_window: MakeWindow, answers: list[Any]
) -> None:
    driven = make_window("demo")
    driven.window.quick_connect()
    driven.settle()
    assert found_in(driven, answers) == {}
    driven.window.open_notifications()
    driven.settle()
    assert found_in(driven, answers) == {}


def test_untranslated_texts_are_found() -> None:
    known = {"iqn.2026-11.org.example:prod-db", "Our array"}
    assert untranslated("Log out", known)
    assert untranslated("«6 «sessions»» and more", known)
    assert not untranslated("«Log out of {target}?» Our array", known)
    assert not untranslated("iqn.2026-11.org.example:prod-db 10.20.0.11:3260 · 12 MB/s", known)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> ET.Element:
    """What `pyside6-lupdate` finds in the package."""
    tool = Path(sys.executable).with_name("pyside6-lupdate")
    found = tmp_path_factory.mktemp("translation") / "san_console_xx.ts"
    sources = map(str, sorted(Path(translation.__file__).parent.rglob("*.py")))
    subprocess.run([tool, *sources, "-ts", found], check=True, capture_output=True, timeout=60)
    return ET.parse(found).getroot()  # noqa: S314 - written by the line above


def test_lupdate_finds_the_texts(extracted: ET.Element) -> None:
    found = {
        (context.findtext("name", ""), source.text or "")
        for context in extracted.iter("context")
        for source in context.iter("source")
    }
    assert len(found) > 1_000
    assert ("SessionsPage", "Stop retrying") in found
    assert (translation.TABLE, "Sessions") in found
    assert ("states", "Degraded") in found
    assert {noun for context, noun in found if context == translation.TABLE} >= set(words.NOUNS)


def test_every_counted_noun_is_marked() -> None:
    for path in Path(translation.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "counted":
                nouns = [ast.literal_eval(noun) for noun in node.args[1:]]
                both = nouns if len(nouns) == 2 else [nouns[0], f"{nouns[0]}s"]
                assert set(both) <= set(words.NOUNS), f"{path.name}:{node.lineno}"


def test_a_translation_file_is_installed(
    extracted: ET.Element, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp: QCoreApplication
) -> None:
    for message in extracted.iter("message"):
        part = message.find("translation")
        assert part is not None
        part.attrib.clear()
        part.text = f"»{message.findtext('source')}«"
    source = tmp_path / "san_console_de.ts"
    ET.ElementTree(extracted).write(source, encoding="utf-8", xml_declaration=True)
    (tmp_path / "translations").mkdir()
    tool = Path(sys.executable).with_name("pyside6-lrelease")
    target = tmp_path / "translations" / "san_console_de.qm"
    subprocess.run([tool, source, "-qm", target], check=True, capture_output=True, timeout=60)
    monkeypatch.setattr(translation, "resources_dir", lambda: tmp_path)
    installed = translation.install_translations(qapp, QLocale("de_DE"))
    try:
        assert installed
        assert words.counted(2, "target") == "»2 »targets««"
    finally:
        for translator in installed:
            qapp.removeTranslator(translator)
    assert words.counted(2, "target") == "2 targets"


def test_english_installs_nothing_of_ours(qapp: QCoreApplication) -> None:
    installed = translation.install_translations(qapp, QLocale("en_US"))
    for translator in installed:
        qapp.removeTranslator(translator)
    assert all("san_console" not in translator.filePath() for translator in installed)
