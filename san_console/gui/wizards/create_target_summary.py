"""The last step: what will be created, and the command line that does nearly the same."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit

from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.console.commands import quoted
from san_console.gui import words
from san_console.gui.dialogs.portal_group import state_name
from san_console.gui.models.subjects import ANYONE, GROUP_PREFIX, subject_title
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
    if lun.physical_block_bytes:
        options.append(f"physical={lun.physical_block_bytes}")
    if lun.read_only:
        options.append("ro")
    if lun.thin:
        options.append("thin")
    if lun.thin and lun.soft_threshold_percent:
        options.append(f"threshold={lun.soft_threshold_percent}")
    if not lun.write_cache:
        options.append("wce=off")
    return ",".join([f"{lun.kind}:{place}", *options])


def serve_command(target: LocalTarget) -> str:
    """`san-console target serve …`. Raises ValueError where a name cannot stand in a command."""
    words_ = ["san-console", "target", "serve", "--name", target.id]
    several = len(target.portal_groups) > 1
    for group in target.portal_groups:
        for portal in group.portals:
            words_ += ["--portal", f"{portal},{group.tag}" if several else portal]
        if group.access_state != "active/optimized":
            words_ += ["--access-state", f"{group.tag}={group.access_state}"]
    for lun in target.luns:
        words_ += ["--lun", lun_spec(lun)]
    members = {f"{GROUP_PREFIX}{group.name}": group.members for group in target.initiator_groups}
    for subject in target.initiators:
        for name in members.get(subject, [subject]):
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
        self.command.setFixedHeight(104)
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
        ]
        for group in target.portal_groups:
            several = len(target.portal_groups) > 1
            label = self.tr("Group {tag}").format(tag=group.tag) if several else self.tr("Portals")
            pairs.append(Pair(label, ", ".join(group.portals), mono=True, wrap=True))
            if group.access_state != "active/optimized":
                pairs.append(Pair("", state_name(group.access_state)))
        for number, lun in enumerate(target.luns):
            size = words.size(lun.size_bytes) if lun.size_bytes else self.tr("as large as it is")
            extra = self.tr(" · will be created when missing") if lun.create else ""
            where = f" {lun.path}" if lun.path else ""
            pairs.append(Pair(f"LUN {number}", f"{lun.name} · {lun.kind}{where} · {size}{extra}", wrap=True))
        who = (
            self.tr("anyone")
            if open_to_all
            else ", ".join(subject_title(name, target.initiator_groups) for name in target.initiators)
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
