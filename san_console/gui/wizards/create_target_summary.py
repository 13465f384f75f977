"""The last step: what will be created, and the command line that does nearly the same."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit

from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.console.commands import quoted
from san_console.gui import words
from san_console.gui.models.subjects import ANYONE
from san_console.gui.translation import translate
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import horizontal
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.wizards.create_target_parts import Step


def lun_spec(lun: LocalLun) -> str:
    """A LUN as `target serve --lun` takes it: `file:PATH,size=1073741824,thin`, `memory:1073741824`."""
    options = []
    if lun.kind == "memory":
        place = str(lun.size_bytes)
    else:
        place = lun.path
        if lun.size_bytes:
            options.append(f"size={lun.size_bytes}")
    if lun.block_bytes != 512:
        options.append(f"block={lun.block_bytes}")
    options += [
        text
        for text, on in (("ro", lun.read_only), (translate("create_target_summary", "thin"), lun.thin))
        if on
    ]
    return ",".join([f"{lun.kind}:{place}", *options])


def serve_command(target: LocalTarget) -> str:
    """`san-console target serve …`. Raises ValueError where a name cannot stand in a command."""
    words_ = ["san-console", "target", "serve", "--name", target.id]
    for portal in target.portals:
        words_ += ["--portal", portal]
    for lun in target.luns:
        words_ += ["--lun", lun_spec(lun)]
    for name in target.initiators:
        if name != ANYONE:
            words_ += ["--acl", name]
    return quoted(words_)


class SummaryStep(Step):
    """Read once more, then create."""

    def __init__(self) -> None:
        super().__init__(
            self.tr("Summary"), self.tr("Nothing has been written yet. “Create target” does it.")
        )
        self.facts = KeyValues()
        self.column.addWidget(self.facts)
        self.column.addSpacing(6)
        row = horizontal(gap=8)
        row.addWidget(PlainLabel(self.tr("The same for a terminal"), style="muted"), 1)
        self.copy_button = Button(self.tr("Copy"), self._copy, icon="copy")
        row.addWidget(self.copy_button)
        self.column.addLayout(row)
        self.command = QPlainTextEdit()
        self.command.setReadOnly(True)
        self.command.setProperty("mono", True)
        self.command.setAccessibleName(self.tr("Equivalent command"))
        self.command.setMaximumHeight(84)
        self.command.setTabChangesFocus(True)
        self.column.addWidget(self.command)
        self.column.addStretch(1)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.command.toPlainText())

    def show_target(self, target: LocalTarget) -> None:
        open_to_all = ANYONE in target.initiators
        count = words.counted(len(target.identity_ids), "identity", "identities")
        chap = self.tr("{count}, {value}").format(
            count=count,
            value=self.tr("both directions") if target.mutual_identity_id else self.tr("one direction"),
        )
        pairs = [
            Pair(self.tr("Name"), target.id, mono=True, wrap=True),
            Pair(self.tr("Portals"), ", ".join(target.portals), mono=True, wrap=True),
        ]
        for number, lun in enumerate(target.luns):
            size = words.size(lun.size_bytes) if lun.size_bytes else self.tr("as large as it is")
            extra = self.tr(" · will be created when missing") if lun.create else ""
            where = f" {lun.path}" if lun.path else ""
            pairs.append(Pair(f"LUN {number}", f"{lun.name} · {lun.kind}{where} · {size}{extra}", wrap=True))
        who = (
            self.tr("anyone")
            if open_to_all
            else ", ".join(words.short_name(name) for name in target.initiators)
        )
        unproved = not target.identity_ids
        pairs += [
            Pair(self.tr("Initiators"), who, "bad" if open_to_all and unproved else None, wrap=True),
            Pair(
                "CHAP",
                self.tr("none: no proof is asked for") if unproved else chap,
                "warning" if unproved else "good",
            ),
        ]
        if target.register_with:
            pairs.append(Pair("iSNS", ", ".join(target.register_with), wrap=True))
        self.facts.show_pairs(pairs)
        try:
            self.command.setPlainText(serve_command(target))
        except ValueError as error:
            self.command.setPlainText(f"# {error}")
