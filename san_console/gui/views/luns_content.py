"""What is on a LUN: its partitions, and the bytes of any block. Only reads are sent."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLineEdit

from san_console.api.initiator_objects import Lun, LunData
from san_console.api.methods import ReadLun
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.partitions import Piece, read_partitions, table_bytes
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.buttons import Button, IconButton
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.hex_view import HexView
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel, restyle
from san_console.gui.widgets.partition_strip import PartitionStrip
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible

LOADING_AFTER_MS: Final = 200
MAX_SHOWN_BYTES: Final = 65_536
"""Of one block: no disk has larger ones, a hostile one may claim to."""

_HEADER_AT: Final = (("GPT", 512), ("ext", 1024), ("ISO 9660", 32768), ("btrfs", 65536))
"""Contents whose header is not in block 0: where it is (a GPT's is in block 1, whatever its size)."""


class ContentTab(DetailTab):
    """Strip of partitions, block field with first, previous, next and last, hexdump, facts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lun: Lun | None = None
        self._shown: tuple[str, str, int] | None = None
        self.block = 0
        column = vertical(self, margin=12, gap=10)
        self.strip = PartitionStrip()
        column.addWidget(self.strip)
        column.addLayout(self._navigation())
        self.failure = InlineProblem()
        column.addWidget(self.failure)
        row = horizontal(gap=16)
        self.hex = HexView(self.tr("Bytes of the block"))
        self.hex.setMinimumWidth(min(self.hex.fitting_width(), 640))
        self.hex.setMaximumWidth(self.hex.fitting_width() + 40)
        row.addWidget(self.hex, 3)
        self.facts = KeyValues()
        row.addWidget(self.facts, 2, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row, 1)
        # Takes the room of the hexdump while that is hidden.
        column.addStretch(0)

    def _navigation(self) -> QHBoxLayout:
        row = horizontal(gap=6)
        row.addWidget(PlainLabel(self.tr("Block"), style="muted"))
        self.line = QLineEdit("0")
        self.line.setProperty("mono", True)
        self.line.setFixedWidth(150)
        self.line.setAccessibleName(self.tr("Block number"))
        self.line.setToolTip(self.tr("A block number, also as 0x…; Enter reads it"))
        self.line.returnPressed.connect(self._typed)
        self.line.textEdited.connect(lambda _text: self._mark(""))
        self.first = Button(self.tr("First"), lambda: self.go(0))
        self.previous = IconButton("arrow-left", self.tr("Previous block"), lambda: self.go(self.block - 1))
        self.next = IconButton("arrow-right", self.tr("Next block"), lambda: self.go(self.block + 1))
        self.last = Button(self.tr("Last"), lambda: self.go(self.blocks() - 1))
        self.where = PlainLabel("", style="muted")
        for widget in (self.line, self.first, self.previous, self.next, self.last):
            row.addWidget(widget)
        row.addSpacing(8)
        row.addWidget(self.where)
        row.addStretch(1)
        return row

    # what is shown

    def show_object(self, item: Any) -> None:
        lun = item if isinstance(item, Lun) else None
        self._lun = lun
        ready = lun is not None and lun.state == "ready"
        self.hex.setVisible(ready)
        self.line.setEnabled(ready)
        self._enable_steps(ready)
        if lun is None or not ready:
            self._shown = None
            self._show_unready(lun)
            return
        self._show_facts(lun)
        key = (lun.id, lun.identity, lun.size_bytes)
        if self._shown is None or self._shown != key:
            self._shown = key
            self._show_whole(lun)
            self._ask_partitions(lun)
            self.go(worth_a_look(lun))

    def _show_unready(self, lun: Lun | None) -> None:
        self.strip.show_pieces([])
        self.hex.clear()
        self.where.setText("")
        self.facts.show_pairs([])
        if lun is not None and lun.problem is not None:
            self.failure.show_problem(lun.problem)
        else:
            self.failure.hide()
            if lun is not None:
                self.where.setText(self.tr("The LUN is still being read…"))

    def _show_facts(self, lun: Lun) -> None:
        used_by = _users(self.context, lun)
        physical = (
            self.tr(" on {physical_block_bytes:,} physical").format(
                physical_block_bytes=lun.physical_block_bytes
            )
            if lun.physical_block_bytes
            else ""
        )
        self.facts.show_pairs(
            [
                Pair(self.tr("Content"), visible(lun.content) or words.NONE),
                Pair(self.tr("Block size"), f"{lun.block_bytes:,}{physical}"),
                Pair(self.tr("Blocks"), f"{self.blocks():,}"),
                Pair(self.tr("Read-only view"), self.tr("no write is sent to this LUN"), wrap=True),
                Pair(self.tr("Used by"), used_by, wrap=True),
            ]
        )

    def _show_whole(self, lun: Lun) -> None:
        """Until a partition table is found: the LUN as one piece, where something is known of it."""
        known = lun.content and not lun.content.startswith(("unknown", "GPT", "MBR"))
        piece = Piece(lun.content, "", 0, lun.size_bytes, free=lun.content == "empty")
        self.strip.show_pieces([piece] if known else [])

    def _ask_partitions(self, lun: Lun) -> None:
        length = min(table_bytes(lun.block_bytes), lun.size_bytes)
        asked = self._shown

        def take(answer: LunData) -> None:
            if asked == self._shown:
                pieces = read_partitions(answer.data, lun.block_bytes, lun.size_bytes)
                if pieces:
                    self.strip.show_pieces(pieces)

        def failed(_problem: Problem) -> None:
            """The read of the shown block says the same, with more room to say it."""

        if 0 < lun.block_bytes <= MAX_SHOWN_BYTES and length > 0:
            self.host.call(
                "luns.read",
                ReadLun(id=lun.id, offset_bytes=0, length_bytes=length),
                take,
                failed,
                owner=self,
            )

    # blocks

    def blocks(self) -> int:
        lun = self._lun
        return lun.size_bytes // lun.block_bytes if lun is not None and lun.block_bytes > 0 else 0

    def go(self, block: int) -> None:
        """Read and show a block; one outside of the LUN is taken for its first or last."""
        lun = self._lun
        if lun is None or lun.state != "ready" or not self.blocks():
            return
        block = max(0, min(block, self.blocks() - 1))
        self.block = block
        if not self.line.hasFocus() or self.line.text() != str(block):
            self.line.setText(str(block))
        self._mark("")
        self._enable_steps(True)
        offset = block * lun.block_bytes
        key = self._shown
        length = min(lun.block_bytes, MAX_SHOWN_BYTES, lun.size_bytes - offset)
        waiting = True

        def is_current() -> bool:
            return self._shown == key and self.block == block

        def take(answer: LunData) -> None:
            nonlocal waiting
            waiting = False
            if is_current():
                self.failure.hide()
                self.hex.show_bytes(answer.data, answer.offset_bytes)
                self.where.setText(
                    self.tr("of {blocks:,} · byte {offset:,} · 0x{offset:x}").format(
                        blocks=self.blocks(), offset=offset
                    )
                )

        def failed(problem: Problem) -> None:
            nonlocal waiting
            waiting = False
            if is_current():
                self.hex.clear()
                self.where.setText("")
                self.failure.show_problem(problem, (self.tr("Try again"), lambda: self.go(block)))

        def still_waiting() -> None:
            if waiting and is_current():
                self.where.setText(self.tr("reading block {block:,}…").format(block=block))

        QTimer.singleShot(LOADING_AFTER_MS, self, still_waiting)
        self.host.call(
            "luns.read",
            ReadLun(id=lun.id, offset_bytes=offset, length_bytes=length),
            take,
            failed,
            owner=self,
        )

    def _enable_steps(self, ready: bool) -> None:
        for back in (self.first, self.previous):
            back.setEnabled(ready and self.block > 0)
        for forward in (self.next, self.last):
            forward.setEnabled(ready and self.block < self.blocks() - 1)

    def _typed(self) -> None:
        text = self.line.text().strip().replace(",", "")
        try:
            block = int(text, 16) if text.lower().startswith("0x") else int(text)
        except ValueError:
            self._mark(self.tr("Write a block number, such as 2048 or 0x800"))
            return
        if not 0 <= block < self.blocks():
            self._mark(self.tr("The last block is {blocks:,}").format(blocks=self.blocks() - 1))
            return
        self.go(block)

    def _mark(self, error: str) -> None:
        if bool(self.line.property("invalid")) != bool(error):
            self.line.setProperty("invalid", bool(error))
            restyle(self.line)
        if error:
            self.where.setText(error)
        self.where.set_tone("bad" if error else "muted")


def worth_a_look(lun: Lun) -> int:
    """The block to begin with: where the content was recognised, not the empty boot blocks before it."""
    for word, offset_bytes in _HEADER_AT:
        if lun.content.startswith(word):
            return 1 if word == "GPT" else offset_bytes // max(lun.block_bytes, 1)
    return 0


def _users(context: Context, lun: Lun) -> str:
    """Who else may have the LUN open, as far as this engine can know."""
    others = {
        session.initiator
        for session in context.host.values("target_sessions")
        if session.target == lun.target and lun.lun in session.luns and not session.own
    }
    if others:
        return translate("luns_content", "this computer and {others} of others").format(
            others=words.counted(len(others), "initiator")
        )
    served_here = context.host.get("local_targets", lun.target) is not None
    return (
        translate("luns_content", "this computer only")
        if served_here
        else translate("luns_content", "this computer; the target may serve it to others too")
    )
