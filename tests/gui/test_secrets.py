"""The page Secrets on the simulated host: identities, and never a secret."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QApplication, QLineEdit

from san_console.api.engine_objects import Keyring
from san_console.gui.dialogs.identity import IdentityDialog
from san_console.gui.views.secrets import SecretsPage
from tests.gui.page_bench import PageBench, harmful, nameless, open_page

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


def fixed(count: int) -> bytes:
    return b"\xa5" * (count - 1) + b"\x01"


def texts(dialog: IdentityDialog) -> str:
    box = dialog._box
    return " ".join(label.text() for label in box.findChildren(type(dialog._place)))


def new_dialog(bench: PageBench[SecretsPage]) -> IdentityDialog:
    bench.page.new_button.click()
    dialog = bench.dialog()
    assert isinstance(dialog, IdentityDialog)
    return dialog


def test_the_table_says_where_secrets_are_and_what_to_look_at() -> None:
    with open_page(SecretsPage) as bench:
        page = bench.page
        assert "6 identities, 3 to look at" in page.summary.text()
        page.filter.chips["missing"].click()
        assert page.model.shown_ids() == ["id-old"]
        assert not page.keyring_banner.isVisible()


def test_a_generated_secret_is_saved_copied_once_and_never_shown() -> None:
    with open_page(SecretsPage) as bench:
        dialog = new_dialog(bench)
        dialog.user.setText("esx-new")
        assert not dialog.accept_button.isEnabled()
        dialog.generate_button.click()
        secret = dialog.current_secret()
        assert secret is not None
        plain = secret.reveal().decode()
        assert len(plain) == 16
        assert dialog.secret.echoMode() == QLineEdit.EchoMode.Password
        shown = [dialog.secret.text(), dialog.secret.displayText()]
        interface = QAccessible.queryAccessibleInterface(dialog.secret)
        assert interface is not None
        shown += [interface.text(kind) for kind in QAccessible.Text]
        assert not any(plain in text for text in shown)
        assert "16 bytes" in texts(dialog)
        dialog.copy_button.click()
        assert QApplication.clipboard().text() == plain
        assert not dialog.copy_button.isEnabled()
        QApplication.clipboard().clear()
        dialog.accept_button.click()
        bench.settle()
        assert bench.dialogs() == []
        made = [one for one in bench.host.values("identities") if one.user == "esx-new"]
        assert len(made) == 1
        assert made[0].place == "keyring"


def test_the_rules_are_live_and_follow_the_other_side() -> None:
    with open_page(SecretsPage) as bench:
        dialog = new_dialog(bench)
        dialog.user.setText("db")
        dialog.secret.setText("short")
        dialog.secret.textEdited.emit("short")
        assert "5 bytes" in texts(dialog)
        assert not dialog.accept_button.isEnabled()
        long = "abcdefghijklmnopqrst"
        dialog.secret.setText(long)
        dialog.secret.textEdited.emit(long)
        assert dialog.accept_button.isEnabled()
        assert "at most 16" in texts(dialog)
        dialog.peer.setCurrentIndex(dialog.peer.findData("windows"))
        bench.settle()
        assert not dialog.accept_button.isEnabled()
        dialog.peer.setCurrentIndex(dialog.peer.findData("ceph-iscsi"))
        bench.settle()
        assert "CHAP names of 8 to 64" in texts(dialog)


def test_typing_into_a_generated_secret_starts_anew() -> None:
    with open_page(SecretsPage) as bench:
        dialog = IdentityDialog(bench.context, random=fixed, parent=bench.page)
        dialog.open()
        dialog.generate()
        dialog.secret.setText("•" * 16 + "x")
        dialog.secret.textEdited.emit("•" * 16 + "x")
        assert dialog.secret.text() == "x"
        assert not dialog.copy_button.isEnabled()


def test_changing_the_note_leaves_the_secret_alone() -> None:
    with open_page(SecretsPage) as bench:
        bench.page.select("id-backup")
        bench.page.change_button.click()
        dialog = bench.dialog()
        assert dialog.secret.text() == ""
        dialog.note.setText("nightly")
        dialog.accept_button.click()
        bench.settle()
        identity = bench.host.get("identities", "id-backup")
        assert (identity.note, identity.place) == ("nightly", "keyring")


def test_an_identity_in_use_is_not_deleted_and_the_dialog_says_where() -> None:
    with open_page(SecretsPage) as bench:
        bench.page.select("id-backup")
        bench.page.table.delete_asked.emit()
        dialog = bench.dialog()
        dialog.accept_button.click()
        bench.settle()
        assert dialog.isVisible()
        assert dialog.problem.isVisible()
        assert "logs in to iqn.2026-11.org.example:backup" in dialog.problem.message.text()
        assert bench.host.get("identities", "id-backup") is not None


def test_an_unused_identity_is_deleted() -> None:
    with open_page(SecretsPage) as bench:
        bench.page.select("id-old")
        bench.page.delete_button.click()
        bench.dialog().accept_button.click()
        bench.settle()
        assert bench.host.get("identities", "id-old") is None
        assert bench.dialogs() == []


def test_a_test_against_a_target_shows_the_answer_inside() -> None:
    with open_page(SecretsPage) as bench:
        bench.page.select("id-esx-lab")
        bench.page.test_button.click()
        dialog = bench.dialog()
        assert dialog.target.currentText().startswith("iqn.2026-11.org.example:prod")
        dialog.accept_button.click()
        bench.settle(5)
        assert dialog.outcome.isVisible()
        assert "It works" in dialog.outcome.message.text()
        dialog.portal.setCurrentText("nowhere.invalid:3260")
        dialog.accept_button.click()
        bench.settle(8)
        assert dialog.problem.isVisible()
        assert dialog.accept_button.isEnabled()


def test_a_locked_keyring_is_said_with_its_fix_and_a_way_out() -> None:
    with open_page(SecretsPage) as bench:
        locked = Keyring(state="locked", backend="GNOME Keyring", fix="Log in to the desktop to unlock it.")
        bench.backend.world.change("engine", "engine", keyring=locked)
        bench.settle()
        banner = bench.page.keyring_banner
        assert banner.isVisible()
        assert "Log in to the desktop" in banner.check.text()
        bench.page._use_memory(True)
        bench.settle()
        assert bench.host.engine is not None
        assert bench.host.engine.keyring.state == "memory"
        assert "gone when the engine ends" in banner.message.text()


@pytest.mark.parametrize("scenario", ["demo", "empty", "hostile"])
def test_every_control_has_a_name_and_no_text_acts(scenario: str) -> None:
    with open_page(SecretsPage, scenario) as bench:
        assert nameless(bench.shell) == []
        assert harmful(bench.shell) == []
        bench.page.new_button.click()
        assert nameless(bench.dialog()) == []
        bench.dialog().reject()
        if scenario != "empty":
            for button in (bench.page.test_button, bench.page.change_button, bench.page.delete_button):
                button.click()
                bench.settle()
                assert nameless(bench.dialog()) == []
                assert harmful(bench.dialog()) == []
                bench.dialog().reject()
                bench.settle(0.3)
