"""Targets as a file: export them, apply a file after a look at what it changes, take changes back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from san_console.api.methods import ApplyTargets, ExportTargets, PlanTargets, UndoTargets
from san_console.api.plan_objects import ChangePlan, TargetDocument, UndoStep
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.bridge.files import Files
from san_console.gui.dialogs.target_plan import PlanDialog, RefusedDialog, UndoHistoryDialog
from san_console.gui.translation import translate
from san_console.gui.views.page import Page
from san_console.gui.widgets.file_choice import choose_file
from san_console.names.display import visible

FILTERS: Final = ("YAML (*.yaml *.yml)",)


class Documents:
    """The actions behind the page's menu. Files are read and written off the window's thread."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._host = page.host
        self._window = page.context.window
        self.files = Files()

    # export

    def export(self, target_id: str = "") -> None:
        """Ask where to, then write one target, or all of them with the CHAP of discovery."""
        name = words.short_name(target_id) if target_id else "targets"
        plain = "".join(one if one.isalnum() or one in "-_." else "-" for one in name)[:64]
        choose_file(
            self._page,
            translate("serve_documents", "Export {name}").format(name=visible(name, 64))
            if target_id
            else translate("serve_documents", "Export all targets"),
            lambda path: self.export_to(path, target_id),
            save=True,
            suggested=str(Path.home() / f"san-console-{plain}.yaml"),
            filters=FILTERS,
        )

    def export_to(self, path: str, target_id: str = "") -> None:
        """Write the document to `path`."""
        self._host.call(
            "serving.export_targets",
            ExportTargets(targets=[target_id] if target_id else []),
            lambda document: self._write(path, document),
            self._say,
            owner=self._page,
        )

    def _write(self, path: str, document: TargetDocument) -> None:
        def written(_nothing: object) -> None:
            self._window.say(
                translate("serve_documents", "Written to {path}.").format(path=visible(path, 200)), "good"
            )

        self.files.write(path, document.text, written, self._say, owner=self._page)

    # apply

    def choose(self) -> None:
        """Ask for a file, then show what it would change."""
        choose_file(
            self._page,
            translate("serve_documents", "Apply a file of targets"),
            self.apply_from,
            suggested=str(Path.home()) + "/",
            filters=FILTERS,
        )

    def apply_from(self, path: str) -> None:
        """Read the file and show the plan; nothing is changed before the user says so."""
        self.files.read(path, lambda text: self._plan(path, text), self._refused, owner=self._page)

    def _plan(self, path: str, text: str) -> None:
        def planned(plan: ChangePlan) -> None:
            if not plan.changes:
                self._window.say(
                    translate("serve_documents", "Nothing differs: all is as the file has it."), "text"
                )
                return
            name = visible(Path(path).name, 120)
            PlanDialog(
                translate("serve_documents", "Apply {name}?").format(name=name),
                plan,
                lambda dialog, shown: self._apply(dialog, name, text, shown),
                again,
                parent=self._page,
            ).open()

        def again(dialog: PlanDialog) -> None:
            self._host.call("serving.plan_targets", PlanTargets(text=text), dialog.show_plan, owner=dialog)

        self._host.call(
            "serving.plan_targets", PlanTargets(text=text), planned, self._refused, owner=self._page
        )

    def _apply(self, dialog: PlanDialog, name: str, text: str, plan: ChangePlan) -> None:
        def applied(made: ChangePlan) -> None:
            dialog.finished_ok()
            self._offer_undo(
                translate("serve_documents", "{name} was applied: {count}.").format(
                    name=name, count=words.counted(len(made.changes), "change")
                )
            )

        self._host.call(
            "serving.apply_targets",
            ApplyTargets(text=text, base=plan.base),
            applied,
            dialog.finished_badly,
            owner=dialog,
        )

    # undo

    def _offer_undo(self, said: str) -> None:
        """A toast whose Undo takes back just this change, or shows the list where others came after it."""

        def know(steps: list[UndoStep]) -> None:
            made = steps[0].at if steps else None
            self._window.say(
                said, "good", translate("serve_documents", "Undo"), lambda: self._undo_if_newest(made)
            )

        self._host.call("serving.undo_steps", None, know, self._say, owner=self._page)

    def _undo_if_newest(self, made: float | None) -> None:
        def know(steps: list[UndoStep]) -> None:
            if steps and steps[0].at == made:
                self._host.call(
                    "serving.undo_targets",
                    UndoTargets(),
                    lambda _plan: self._undone(1),
                    self._say,
                    owner=self._page,
                )
            else:
                self._show_history(steps)

        self._host.call("serving.undo_steps", None, know, self._say, owner=self._page)

    def history(self) -> None:
        """Show what can be taken back."""
        self._host.call("serving.undo_steps", None, self._show_history, self._say, owner=self._page)

    def _show_history(self, steps: list[UndoStep]) -> None:
        UndoHistoryDialog(self._host, steps, self._page.context.now(), self._undone, parent=self._page).open()

    def _undone(self, steps: int) -> None:
        self._window.say(
            translate("serve_documents", "{count} undone.").format(count=words.counted(steps, "change")),
            "text",
        )

    def _say(self, problem: Problem) -> None:
        self._page.context.say_problem(problem)

    def _refused(self, problem: Problem) -> None:
        """A file that cannot be used is told with its line until somebody has read it."""
        RefusedDialog(problem, self.choose, parent=self._page).open()
