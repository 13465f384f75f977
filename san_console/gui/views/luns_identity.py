"""Who a LUN is and what it can do: INQUIRY, capacity, and its VPD pages as the target sent them."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFrame, QScrollArea, QSplitter, QWidget

from san_console.api.initiator_objects import Lun, VpdPage
from san_console.api.methods import ById
from san_console.api.problems import Problem
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.theme.tokens import GAP_PX
from san_console.gui.translation import translate
from san_console.gui.views.page import DetailTab
from san_console.gui.widgets.cards import horizontal, vertical
from san_console.gui.widgets.hex_view import HexView
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.names.display import visible

MAX_FIELDS_SHOWN: Final = 64
MAX_RAW_BYTES: Final = 4096
_IDENTIFICATION: Final = 0x83


class IdentityTab(DetailTab):
    """Facts at the left, the VPD pages at the right."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._asked: tuple[str, str] | None = None
        self.pages: list[VpdPage] = []
        outer = vertical(self, margin=12, gap=10)
        self.failure = InlineProblem()
        outer.addWidget(self.failure)
        row = QSplitter(Qt.Orientation.Horizontal)
        row.setHandleWidth(GAP_PX)
        row.setChildrenCollapsible(False)
        outer.addWidget(row, 1)
        self.facts = KeyValues()
        row.addWidget(_scrolled(self.facts, self.tr("Identity and limits")))
        right = QWidget()
        column = vertical(right, gap=8)
        chooser = horizontal(gap=8)
        chooser.addWidget(PlainLabel(self.tr("VPD page"), style="muted"))
        self.list = QComboBox()
        self.list.setAccessibleName(self.tr("VPD page"))
        self.list.setMinimumWidth(260)
        self.list.currentIndexChanged.connect(lambda _row: self._show_page())
        chooser.addWidget(self.list)
        self.page_size = PlainLabel("", style="muted")
        chooser.addWidget(self.page_size)
        chooser.addStretch(1)
        column.addLayout(chooser)
        self.fields = KeyValues()
        self.raw = HexView(self.tr("Bytes of the VPD page"))
        column.addWidget(_scrolled(self.fields, self.tr("Fields of the VPD page")), 3)
        column.addWidget(self.raw, 2)
        row.addWidget(right)
        row.setSizes([330, 690])
        row.setStretchFactor(0, 1)
        row.setStretchFactor(1, 2)

    def show_object(self, item: Any) -> None:
        lun = item if isinstance(item, Lun) else None
        self.facts.show_pairs(_facts(lun) if lun is not None else [])
        if lun is None or lun.state != "ready":
            self._asked = None
            self._take([])
            self.failure.show_problem(lun.problem if lun is not None else None)
            return
        key = (lun.id, lun.identity)
        if key == self._asked:
            return
        self._asked = key
        self.failure.hide()
        self.host.call(
            "luns.vpd",
            ById(id=lun.id),
            lambda pages: self._take(pages) if key == self._asked else None,
            lambda problem: self._failed(problem) if key == self._asked else None,
            owner=self,
        )

    def _failed(self, problem: Problem) -> None:
        self._take([])
        self.failure.show_problem(problem)

    def _take(self, pages: list[VpdPage]) -> None:
        keep = self.list.currentData()
        self.pages = pages
        self.list.blockSignals(True)
        self.list.clear()
        for page in pages:
            self.list.addItem(f"{page.code:02x}h  {visible(page.name, 80)}", page.code)
        self.list.setCurrentIndex(max(self.list.findData(keep if keep is not None else _IDENTIFICATION), 0))
        self.list.blockSignals(False)
        self.list.setEnabled(bool(pages))
        self._show_page()

    def _show_page(self) -> None:
        wanted = self.list.currentData()
        page = next((page for page in self.pages if page.code == wanted), None)
        self.raw.setVisible(page is not None)
        if page is None:
            self.page_size.setText("" if self.pages else self.tr("none"))
            self.fields.show_pairs([])
            return
        self.page_size.setText(words.counted(len(page.raw), "byte"))
        self.fields.show_pairs(
            Pair(visible(name, 80), visible(value) or words.NONE, wrap=True)
            for name, value in page.fields[:MAX_FIELDS_SHOWN]
        )
        self.raw.show_bytes(page.raw[:MAX_RAW_BYTES])


def _scrolled(widget: QWidget, name: str) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setAccessibleName(name)
    holder = QWidget()
    holder.setObjectName("scrolled")
    column = vertical(holder, gap=8)
    column.addWidget(widget)
    column.addStretch(1)
    area.setWidget(holder)
    return area


def _facts(lun: Lun) -> list[Pair]:
    cache = {
        True: translate("luns_identity", "on"),
        False: translate("luns_identity", "off"),
        None: translate("luns_identity", "not told"),
    }[lun.write_cache]
    pairs = [
        Pair(
            translate("luns_identity", "Identity"),
            visible(lun.identity) or translate("luns_identity", "none: VPD page 83h names nothing"),
            mono=True,
            wrap=True,
        ),
        Pair(translate("luns_identity", "Vendor"), lun.vendor or words.NONE),
        Pair(translate("luns_identity", "Product"), lun.product or words.NONE),
        Pair(translate("luns_identity", "Revision"), lun.revision or words.NONE),
        Pair(
            translate("luns_identity", "Serial number"),
            visible(lun.serial) or words.NONE,
            mono=True,
            wrap=True,
        ),
        Pair(translate("luns_identity", "Device type"), lun.device_type),
        Pair(
            translate("luns_identity", "Size"),
            translate("luns_identity", "{size_bytes} · {size_bytes_2:,} bytes").format(
                size_bytes=words.size(lun.size_bytes), size_bytes_2=lun.size_bytes
            ),
            wrap=True,
        ),
        Pair(
            translate("luns_identity", "Block size"),
            translate("luns_identity", "{block_bytes:,} on {physical_block_bytes:,} physical").format(
                block_bytes=lun.block_bytes, physical_block_bytes=lun.physical_block_bytes
            ),
        ),
        Pair(
            translate("luns_identity", "Provisioning"),
            translate("luns_identity", "thin") if lun.thin else translate("luns_identity", "full"),
        ),
        Pair(
            translate("luns_identity", "Writing"),
            translate("luns_identity", "read-only")
            if lun.read_only
            else translate("luns_identity", "allowed"),
            "warning" if lun.read_only else None,
        ),
        Pair(translate("luns_identity", "Write cache"), cache),
    ]
    if lun.identity_changed_from:
        pairs.insert(
            1,
            Pair(
                translate("luns_identity", "It was"),
                visible(lun.identity_changed_from),
                "bad",
                mono=True,
                wrap=True,
            ),
        )
    # A relative port or a group number is a designator too, but no name of the unit.
    others = [text for text in lun.designators if text != lun.identity and not text.isdecimal()]
    pairs += [
        Pair(translate("luns_identity", "Also known as"), visible(text), mono=True, wrap=True)
        for text in others[:8]
    ]
    return pairs
