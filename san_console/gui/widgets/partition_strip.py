"""What lies on a LUN, from left to right: partitions and free space, with name, size and kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from san_console.gui import words
from san_console.gui.models.partitions import Piece
from san_console.gui.theme.theme import Theme, tokens
from san_console.gui.theme.tokens import CONTROL_RADIUS_PX, Tone
from san_console.gui.widgets.labels import tooltip_text
from san_console.names.display import visible

HEIGHT_PX: Final = 44
_GAP_PX: Final = 3
MIN_PIECE_PX: Final = 96
"""A small partition beside a huge one is still to be read; the strip is a table more than a scale."""

_TONES: Final[tuple[Tone, ...]] = ("accent", "good", "warning")


class PartitionStrip(QWidget):
    """Hidden while there is nothing to show."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pieces: list[Piece] = []
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("Partitions"))
        self.hide()

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT_PX)

    def show_pieces(self, pieces: Sequence[Piece]) -> None:
        self.pieces = list(pieces)
        described = "; ".join(f"{piece.name}, {_second_line(piece)}" for piece in self.pieces)
        self.setAccessibleDescription(visible(described, 2000))
        self.setVisible(bool(self.pieces))
        self.update()

    def _boxes(self) -> list[QRectF]:
        """Proportional to size, but no piece under its minimum where there is room for all minima."""
        count = len(self.pieces)
        room = self.width() - _GAP_PX * (count - 1)
        least = min(float(MIN_PIECE_PX), room / count)
        total = sum(piece.size_bytes for piece in self.pieces) or 1
        spare = room - least * count
        boxes, left = [], 0.0
        for piece in self.pieces:
            width = least + spare * piece.size_bytes / total
            boxes.append(QRectF(left, 0, width, HEIGHT_PX))
            left += width + _GAP_PX
        return boxes

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = tokens()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        strong = QFont(Theme.of().font)
        strong.setPixelSize(max(strong.pixelSize() - 1, 10))
        strong.setWeight(QFont.Weight.DemiBold)
        small = QFont(strong)
        small.setWeight(QFont.Weight.Normal)
        used = 0
        for piece, box in zip(self.pieces, self._boxes(), strict=True):
            tone: Tone = "muted"
            if not piece.free:
                tone = _TONES[used % len(_TONES)]
                used += 1
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.soft(tone)))
            painter.drawRoundedRect(box, CONTROL_RADIUS_PX - 2, CONTROL_RADIUS_PX - 2)
            painter.setPen(QColor(colors.tone(tone)))
            inner = box.adjusted(8, 4, -6, -4)
            for font, text, rect in (
                (strong, piece.name, QRectF(inner.left(), inner.top(), inner.width(), 18)),
                (small, _second_line(piece), QRectF(inner.left(), inner.top() + 17, inner.width(), 18)),
            ):
                painter.setFont(font)
                shown = QFontMetrics(font).elidedText(
                    visible(text), Qt.TextElideMode.ElideRight, int(rect.width())
                )
                painter.drawText(rect, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), shown)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            for piece, box in zip(self.pieces, self._boxes(), strict=True):
                if box.contains(event.pos().toPointF()):
                    text = self.tr("{name}\n{second_line}\nfrom byte {start_bytes:,}").format(
                        name=piece.name, second_line=_second_line(piece), start_bytes=piece.start_bytes
                    )
                    QToolTip.showText(event.globalPos(), tooltip_text(text), self)
                    return True
        return super().event(event)


def _second_line(piece: Piece) -> str:
    size = words.size(piece.size_bytes)
    return f"{size} · {piece.kind}" if piece.kind and piece.kind != piece.name else size
