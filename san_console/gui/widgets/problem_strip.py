"""A problem above other content: as high as its text needs at the width that it has."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent

from san_console.gui.widgets.problems import InlineProblem


class ProblemStrip(InlineProblem):
    """Wrapped labels ask for the height of a narrow column; here that would push the page off the screen."""

    def minimumSizeHint(self) -> QSize:
        return QSize(super().minimumSizeHint().width(), self._height())

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self._height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self.updateGeometry()

    def _height(self) -> int:
        layout = self.layout()
        assert layout is not None
        parent = self.parentWidget()
        width = parent.width() if parent is not None else self.width()
        return layout.heightForWidth(width) if layout.hasHeightForWidth() else layout.sizeHint().height()
