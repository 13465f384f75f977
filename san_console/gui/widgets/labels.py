"""Labels that show text as text. Nothing from a peer is ever read as markup."""

from __future__ import annotations

from typing import Final, Literal

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from san_console.gui.theme.tokens import Tone
from san_console.names.display import visible

TextStyle = Literal["body", "title", "heading", "strong", "muted", "small", "section"]
TOOLTIP_LIMIT: Final = 512


def restyle(widget: QWidget) -> None:
    """Make the style sheet look at changed properties again."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()


def tooltip_text(text: str) -> str:
    """Text for a tooltip. Qt guesses markup in tooltips and has no switch against it, so it is escaped."""
    lines = [visible(line, TOOLTIP_LIMIT) for line in text.split("\n")]
    plain = "\n".join(lines)
    if "<" in plain or "&" in plain:
        escaped = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
        return f"<span>{escaped}</span>"
    return plain


class PlainLabel(QLabel):
    """A label whose text format is PlainText from the first to the last moment."""

    def __init__(
        self,
        text: str = "",
        *,
        style: TextStyle = "body",
        tone: Tone | None = None,
        mono: bool = False,
        wrap: bool = False,
        selectable: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)
        if style != "body":
            # Not "text": that is the QLabel's own.
            self.setProperty("textStyle", style)
        if mono:
            self.setProperty("mono", True)
        if tone is not None:
            self.setProperty("tone", tone)
        if wrap:
            self.setWordWrap(True)
            # Preferred, not Minimum: Qt guesses a narrow, high shape for wrapped text and would insist on it.
            policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        if selectable:
            self.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )

    def setText(self, text: str) -> None:  # Qt's name
        super().setText("\n".join(visible(line, 4096) for line in text.split("\n")))

    def set_tone(self, tone: Tone) -> None:
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            restyle(self)


class ElidedLabel(PlainLabel):
    """One line that gives up its middle (or its end) when there is no room; whole in the tooltip."""

    def __init__(
        self,
        text: str = "",
        *,
        style: TextStyle = "body",
        tone: Tone | None = None,
        mono: bool = False,
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle,
        parent: QWidget | None = None,
    ) -> None:
        self._whole = ""
        self._elide = elide
        super().__init__(text, style=style, tone=tone, mono=mono, parent=parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:  # Qt's name
        self._whole = visible(text, 4096)
        self.setAccessibleName(self._whole)
        super().setText(self._whole)
        self._refresh()
        self.updateGeometry()

    def text(self) -> str:
        return self._whole

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        margins = self.contentsMargins()
        width = metrics.horizontalAdvance(self._whole) + margins.left() + margins.right() + 2
        return QSize(width, metrics.height() + margins.top() + margins.bottom() + 2)

    def minimumSizeHint(self) -> QSize:
        return QSize(
            min(self.sizeHint().width(), self.fontMetrics().averageCharWidth() * 8), self.sizeHint().height()
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._refresh()

    def paintEvent(self, event: QPaintEvent) -> None:
        # The font is known for sure only now: a style sheet sets it at the first polish.
        self._refresh()
        super().paintEvent(event)

    def _refresh(self) -> None:
        width = self.contentsRect().width()
        shown = (
            self.fontMetrics().elidedText(self._whole, self._elide, max(width, 0))
            if width > 0
            else self._whole
        )
        if QLabel.text(self) != shown:
            QLabel.setText(self, shown)
        tip = tooltip_text(self._whole) if shown != self._whole else ""
        if self.toolTip() != tip:
            self.setToolTip(tip)
